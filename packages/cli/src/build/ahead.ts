import { readFileSync, statSync } from 'node:fs'
import { resolve } from 'node:path'
import { EngineError } from '@gantry/std'
import type { Context } from '../command.ts'
import { type Parsed, UsageError } from '../flags.ts'
import { offerAgents } from './agents.ts'
import { contextOf, type SentContext } from './context.ts'

/** What the daemon says to a list of files. */
export interface Offer {
  readonly id: string
  /** Places of the files that it does not have. */
  readonly wanted: readonly number[]
}

/** Asks which files of a directory the daemon does not have; undefined: it wants all, or is none of ours. */
export async function offerOf(context: Context, { files }: Pick<SentContext, 'files'>): Promise<Offer | undefined> {
  if (files === undefined) return undefined
  try {
    return await context.api.json('POST', '/build/context', { query: { from: files.from }, body: files.list(), contentType: 'application/octet-stream' })
  } catch (error) {
    if (error instanceof EngineError && error.kind === 'not-found') return undefined
    throw error
  }
}

async function sendDirectory(context: Context, name: string, path: string): Promise<string> {
  using sent = await contextOf(path, '', { dockerfile: false })
  const offer = await offerOf(context, sent)
  if (offer === undefined) throw new EngineError('unsupported', `--build-context ${name}: this daemon takes no further directories`)
  const archive = offer.wanted.length === 0 ? undefined : sent.archive(offer.wanted)
  const response = await context.api.send('POST', `/build/context/${offer.id}`, { body: archive?.body ?? Buffer.alloc(0), contentType: 'application/x-tar' })
  response.resume()
  await archive?.done
  return `offer:${offer.id}`
}

/** Sends further contexts (`--build-context NAME=…`) ahead; gives what the build is told of each. */
async function namedContexts(context: Context, specs: readonly string[]): Promise<Readonly<Record<string, string>>> {
  const all: Record<string, string> = {}
  for (const spec of specs) {
    const [, name = '', value = ''] = /^([^=]+)=(.+)$/s.exec(spec) ?? []
    if (name === '') throw new UsageError(`invalid context value: ${spec}, expected key=value`)
    all[name] = statSync(value, { throwIfNoEntry: false })?.isDirectory() === true ? await sendDirectory(context, name, resolve(value)) : value
  }
  return all
}

/** Value of `id=NAME,src=PATH` or `id=NAME,env=VARIABLE`; a name alone is a variable or a file of that name. */
function secretOf(spec: string): readonly [id: string, value: Buffer] {
  const fields = new Map(spec.split(',').map((field) => [field.slice(0, field.indexOf('=')), field.slice(field.indexOf('=') + 1)] as const))
  const id = fields.get('id')
  if (id === undefined || id === '') throw new UsageError(`invalid secret ${JSON.stringify(spec)}: expected id=NAME,src=PATH or id=NAME,env=VARIABLE`)
  const variable = fields.get('env') ?? (fields.has('src') || fields.has('source') ? undefined : process.env[id] === undefined ? undefined : id)
  if (variable !== undefined) return [id, Buffer.from(process.env[variable] ?? '')]
  return [id, readFileSync(fields.get('src') ?? fields.get('source') ?? id)]
}

/** Sends secrets ahead; gives what the build names them by. */
async function sendSecrets(context: Context, specs: readonly string[]): Promise<string | undefined> {
  if (specs.length === 0) return undefined
  const { id } = await context.api.json<{ readonly id: string }>('POST', '/build/secrets', { json: Object.fromEntries(specs.map(secretOf).map(([name, value]) => [name, value.toString('base64')])) })
  return id
}

/** What a build is told of all that went ahead of it; agents are let go behind it. */
export interface SentAhead extends Disposable {
  readonly query: { readonly contexts: string; readonly secrets: string | undefined; readonly agents: string | undefined; readonly nocachefilter: readonly string[] }
}

/** Sends what a build needs beside its context: further contexts, secrets, connections to agents. */
export async function sendAhead(context: Context, parsed: Parsed): Promise<SentAhead> {
  const contexts = JSON.stringify(await namedContexts(context, parsed.list('build-context')))
  const secrets = await sendSecrets(context, parsed.list('secret'))
  const agents = await offerAgents(context, parsed.list('ssh'))
  return { query: { contexts, secrets, agents: agents.token, nocachefilter: parsed.list('no-cache-filter').flatMap((names) => names.split(',')) }, [Symbol.dispose]: () => agents[Symbol.dispose]() }
}
