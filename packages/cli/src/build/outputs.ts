import { createWriteStream, mkdirSync } from 'node:fs'
import type { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { Context } from '../command.ts'
import { tar } from '../commands/copy.ts'
import type { Parsed } from '../flags.ts'
import { UsageError } from '../flags.ts'

/** An output or a cache as the daemon takes it. */
interface OutputRequest {
  readonly Type: string
  readonly Attrs: Readonly<Record<string, string>>
}

/** Where what is built goes; `dest`: what the daemon does not need to know. */
interface Output extends OutputRequest {
  readonly dest: string
}

/** An output that the daemon holds for us. */
export interface WaitingOutput {
  readonly id: string
  readonly type: string
}

/** Fields that are separated by commas; quotes keep commas together (RFC 4180). */
function fieldsOf(spec: string): readonly string[] {
  return [...spec.matchAll(/(?:^|,)(?:"((?:[^"]|"")*)"|([^,]*))/g)].map(([, quoted, plain]) => quoted?.replaceAll('""', '"') ?? plain ?? '')
}

/** `key=value,…`; a text without `=` is what `short` makes of it. */
function attributesOf(flag: string, spec: string, short: (text: string) => Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  if (!spec.includes('=')) return short(spec)
  const fields = fieldsOf(spec).map((field) => [field.slice(0, field.indexOf('=')).trim().toLowerCase(), field.slice(field.indexOf('=') + 1)] as const)
  const wrong = fields.find(([name]) => name === '')
  if (wrong !== undefined) throw new UsageError(`invalid value ${JSON.stringify(spec)} for --${flag}: expected type=TYPE,KEY=VALUE,…`)
  const attributes = Object.fromEntries(fields)
  if ((attributes['type'] ?? '') === '') throw new UsageError(`invalid value ${JSON.stringify(spec)} for --${flag}: type is required`)
  return attributes
}

function outputOf(spec: string): Output {
  const { type = '', dest = '', ...Attrs } = attributesOf('output', spec, (text) => (text === '-' ? { type: 'tar', dest: '-' } : { type: 'local', dest: text }))
  if (type === 'registry') return { Type: 'image', Attrs: { ...Attrs, push: 'true' }, dest: '' }
  // The engine itself is where it is loaded.
  if (type === 'docker' && dest === '') return { Type: 'image', Attrs, dest: '' }
  if (type !== 'image' && dest === '') throw new UsageError(`dest is required for the output type ${type}`)
  if (type === 'local' && dest === '-') throw new UsageError('dest: a directory cannot go to standard output: use type=tar')
  if (dest === '-' && process.stdout.isTTY) throw new UsageError('dest: refusing to write an archive to a terminal')
  return { Type: type, Attrs, dest }
}

/** A cache of `--cache-from` and `--cache-to`; a name alone is one in a registry. */
export function cacheOf(flag: string, spec: string): OutputRequest {
  const { type: Type = '', ...Attrs } = attributesOf(flag, spec, (text) => ({ type: 'registry', ref: text }))
  if (Type === 'local') throw new UsageError(`--${flag}: caches of type local are buildx' (gantry buildx build)`)
  return { Type, Attrs }
}

/** What `--output`, `--push` and `--load` come to; none: an image with its names. */
export function outputsOf(parsed: Parsed): readonly Output[] {
  const named = parsed.list('output').map(outputOf)
  if (parsed.bool('push') && parsed.list('tag').length === 0 && !named.some((one) => one.Attrs['name'] !== undefined)) throw new UsageError('--push: expected a name to push to (--tag)')
  const hasImage = named.some((one) => one.Type === 'image')
  const image = { Type: 'image', Attrs: {}, dest: '' }
  const all = !hasImage && (parsed.bool('push') || (named.length > 0 && parsed.bool('load')) || (named.length === 0 && parsed.text('metadata-file') !== '')) ? [...named, image] : named
  return parsed.bool('push') ? all.map((one) => (one.Type === 'image' ? { ...one, Attrs: { ...one.Attrs, push: 'true' } } : one)) : all
}

async function into(response: Readable, { Type, dest }: Output): Promise<void> {
  if (Type !== 'local') return pipeline(response, dest === '-' ? process.stdout : createWriteStream(dest), { end: dest !== '-' })
  mkdirSync(dest, { recursive: true })
  // They are the user's own.
  const job = tar(['--extract', '--file=-', `--directory=${dest}`, '--no-same-owner', '--preserve-permissions'])
  await Promise.all([pipeline(response, job.input), job.done])
}

/** Fetches what waits for us, in the order in which it was asked for. */
export async function fetchOutputs(context: Context, outputs: readonly Output[], waiting: readonly WaitingOutput[]): Promise<void> {
  for (const [index, output] of outputs.filter((one) => one.Type !== 'image').entries()) {
    const { id } = waiting[index] ?? { id: '' }
    await into(await context.api.send('GET', `/build/outputs/${id}`), output)
  }
}
