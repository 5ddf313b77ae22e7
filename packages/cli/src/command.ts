import type { Transport } from '@gantry/api'
import type { Flag, Parsed } from './flags.ts'

/** What a command works with. */
export interface Context {
  readonly api: Transport
  readonly host: string
}

/** One command of the client. */
export interface Command {
  /** `run`, or `image inspect`; all its names. */
  readonly names: readonly string[]
  readonly usage: string
  readonly help: string
  readonly flags: readonly Flag[]
  /** The first word that is no flag ends the flags. */
  readonly stop?: boolean
  readonly minimum?: number
  /** Needs no daemon. */
  readonly offline?: boolean
  /** The exit code. */
  readonly run: (context: Context, parsed: Parsed) => Promise<number>
}

/** Runs something for each name; failures are told one by one, and make the exit code 1. */
export async function each(names: readonly string[], work: (name: string) => Promise<string | undefined>): Promise<number> {
  let code = 0
  for (const name of names) {
    try {
      const line = await work(name)
      if (line !== undefined) process.stdout.write(`${line}\n`)
    } catch (error) {
      process.stderr.write(`Error response from daemon: ${error instanceof Error ? error.message : String(error)}\n`)
      code = 1
    }
  }
  return code
}

/** `key=value` filters as the API takes them. */
export function filterQuery(filters: readonly string[]): string | undefined {
  if (filters.length === 0) return undefined
  const map: Record<string, string[]> = {}
  for (const filter of filters) {
    const at = filter.indexOf('=')
    const [key, value] = at < 0 ? [filter, ''] : [filter.slice(0, at), filter.slice(at + 1)]
    map[key] = [...(map[key] ?? []), value]
  }
  return JSON.stringify(map)
}

/** Name and tag of an image; a colon before the last slash belongs to the host. */
export const splitTag = (name: string): readonly [string, string] => {
  const colon = name.lastIndexOf(':')
  return colon > name.lastIndexOf('/') ? [name.slice(0, colon), name.slice(colon + 1)] : [name, '']
}
