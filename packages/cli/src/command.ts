import { DaemonError, type Transport } from '@gantry/api'
import { parseReference } from '@gantry/registry'
import { type JsonObject, messageOf } from '@gantry/std'
import type { Flag, Parsed } from './flags.ts'

/** What a command works with. */
export interface Context {
  readonly api: Transport
  readonly host: string
  /** The user's `config.json`. */
  readonly config: () => JsonObject
  /** A text of it, such as `psFormat`; empty where it is not set. */
  readonly setting: (name: string) => string
}

/** One command of the client. */
export interface Command {
  /** `run`, or `image inspect`; all its names. */
  readonly names: readonly string[]
  /** How it is called, its first name first; says how many words it takes, and what they name. */
  readonly usage: string
  readonly help: string
  readonly flags: readonly Flag[]
  /** The first word that is no flag ends the flags. */
  readonly stop?: boolean
  /** Not listed in the help. */
  readonly hidden?: boolean
  /** Needs no daemon. */
  readonly offline?: boolean
  /** The exit code. */
  readonly run: (context: Context, parsed: Parsed) => Promise<number>
}

const SYSTEM_ERRORS: Readonly<Record<string, string>> = { ENOENT: 'no such file or directory', EACCES: 'permission denied', EISDIR: 'is a directory', ENOTDIR: 'not a directory', EEXIST: 'file exists', ENOSPC: 'no space left on device', EROFS: 'read-only file system' }

/** The text of an error; of one of the system as other clients say it: `open /x: no such file or directory`. */
export function clientMessage(error: unknown): string {
  const { code = '', syscall, path } = error instanceof Error ? (error as NodeJS.ErrnoException) : {}
  const words = SYSTEM_ERRORS[code]
  return words === undefined || path === undefined ? messageOf(error) : `${syscall} ${path}: ${words}`
}

/** What is told of an error: what the daemon said is told as its words. */
export const told = (error: unknown): string => (error instanceof DaemonError ? `Error response from daemon: ${error.message}` : clientMessage(error))

/** Runs something for each name; failures are told one by one, and make the exit code 1. */
export async function each(names: readonly string[], work: (name: string) => Promise<string | undefined>): Promise<number> {
  let code = 0
  for (const name of names) {
    try {
      const line = await work(name)
      if (line !== undefined) process.stdout.write(`${line}\n`)
    } catch (error) {
      process.stderr.write(`${told(error)}\n`)
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

/** A name that an image is to have; what cannot be is told before the daemon is asked. */
export function checkName(name: string): void {
  parseReference(name)
}

/** Name and tag of an image; a colon before the last slash belongs to the host. */
export const splitTag = (name: string): readonly [string, string] => {
  const colon = name.lastIndexOf(':')
  return colon > name.lastIndexOf('/') ? [name.slice(0, colon), name.slice(colon + 1)] : [name, '']
}
