import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, relative, resolve } from 'node:path'
import type { Readable } from 'node:stream'
import { EngineError, ignoreRules, type IgnoreRules } from '@gantry/std'
import { tar } from '../commands/copy.ts'

/** What goes to the daemon: an archive, or the name of a place from which it takes one. */
export interface SentContext {
  readonly remote: string
  /** Path of the Dockerfile in the archive. */
  readonly dockerfile: string
  readonly body: AsyncIterable<Uint8Array> | undefined
  /** Fails with what the host's tar said. */
  readonly done: Promise<void>
}

const DOCKERFILE_LIMIT = 4 << 20
const TEXT_HEAD = 512

async function* ofBytes(bytes: Buffer): AsyncGenerator<Buffer> {
  yield bytes
}

async function readAll(input: Readable): Promise<Buffer> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of input) {
    bytes += (chunk as Buffer).length
    if (bytes > DOCKERFILE_LIMIT) throw new EngineError('invalid', `the Dockerfile has more than ${DOCKERFILE_LIMIT} bytes`)
    chunks.push(chunk as Buffer)
  }
  return Buffer.concat(chunks)
}

/** Paths of a directory that are sent, below it. What is ignored is not looked into, unless something in it may be taken in again. */
export function* pathsOf(top: string, rules: IgnoreRules, always: ReadonlySet<string>, below = ''): Generator<string> {
  for (const entry of readdirSync(below === '' ? top : `${top}/${below}`, { withFileTypes: true })) {
    const path = below === '' ? entry.name : `${below}/${entry.name}`
    const ignored = rules.ignores(path) && !always.has(path)
    if (!ignored) yield path
    if (entry.isDirectory() && (!ignored || rules.hasExceptions)) yield* pathsOf(top, rules, always, path)
  }
}

/** Rules of a context: of a file beside the Dockerfile, else of the context's own `.dockerignore`. */
function rulesOf(top: string, dockerfile: string): IgnoreRules {
  const file = [`${dockerfile}.dockerignore`, `${top}/.dockerignore`].find((path) => existsSync(path))
  return ignoreRules(file === undefined ? '' : readFileSync(file, 'latin1'))
}

/** A directory as an archive that the host's tar makes, file by file as the rules leave them. */
function directory(top: string, given: string, text: Buffer | undefined): SentContext {
  const outside = mkdtempSync(`${tmpdir()}/gantry-build-`)
  const path = resolve(given === '' ? `${top}/Dockerfile` : given)
  const inside = relative(top, path)
  const isOutside = text !== undefined || inside.startsWith('..')
  let dockerfile = inside
  if (isOutside) {
    dockerfile = `.dockerfile.${basename(outside)}`
    writeFileSync(`${outside}/${dockerfile}`, text ?? readFileSync(path))
  } else if (!existsSync(path)) {
    rmSync(outside, { recursive: true })
    throw new EngineError('invalid', `unable to prepare context: unable to evaluate symlinks in Dockerfile path: lstat ${path}: no such file or directory`)
  }
  const rules = rulesOf(top, path)
  // The builder needs both; what it does with them is its matter.
  const always = new Set(['.dockerignore', ...(isOutside ? [] : [inside])])
  const names = `${[...pathsOf(top, rules, always)].join('\0')}\0`
  const list = `${outside}/list`
  writeFileSync(list, names)
  const job = tar(['--create', '--file=-', '--format=posix', '--pax-option=delete=atime,delete=ctime', '--numeric-owner', '--no-recursion', '--null', `--directory=${top}`, `--files-from=${list}`, ...(isOutside ? [`--directory=${outside}`, dockerfile] : [])])
  job.input.end()
  const done = job.done.finally(() => rmSync(outside, { recursive: true, force: true }))
  done.catch(() => undefined) // awaited by whoever sends
  return { remote: '', dockerfile, body: job.output as unknown as AsyncIterable<Uint8Array>, done }
}

/** Standard input: an archive, or a Dockerfile without a context. */
async function fromInput(dockerfile: string): Promise<SentContext> {
  const iterator = (process.stdin as AsyncIterable<Buffer>)[Symbol.asyncIterator]()
  let head: Buffer = Buffer.alloc(0)
  let ended = false
  while (head.length < TEXT_HEAD && !ended) {
    const { done, value } = await iterator.next()
    if (done === true) ended = true
    else head = Buffer.concat([head, value])
  }
  const packed = (head[0] === 0x1f && head[1] === 0x8b) || head.toString('latin1', 0, 3) === 'BZh' || head.toString('latin1', 0, 6) === '\u00fd7zXZ\0' || head.toString('latin1', 257, 262) === 'ustar' || (head.length > 3 && head.readUInt32LE(0) === 0xfd2fb528)
  async function* rest(): AsyncGenerator<Buffer> {
    yield head
    for (let next = await iterator.next(); next.done !== true; next = await iterator.next()) yield next.value
  }
  if (packed) return { remote: '', dockerfile, body: rest(), done: Promise.resolve() }
  const text: Buffer[] = []
  for await (const chunk of rest()) text.push(chunk)
  const folder = mkdtempSync(`${tmpdir()}/gantry-build-`)
  try {
    writeFileSync(`${folder}/Dockerfile`, Buffer.concat(text))
    const job = tar(['--create', '--file=-', `--directory=${folder}`, 'Dockerfile'])
    job.input.end()
    const archive = await readAll(job.output as Readable)
    await job.done
    return { remote: '', dockerfile: 'Dockerfile', body: ofBytes(archive), done: Promise.resolve() }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** What `build PATH|URL|-` sends. */
export async function contextOf(word: string, file: string): Promise<SentContext> {
  if (word === '-') {
    if (file === '-') throw new EngineError('invalid', "invalid argument: can't use stdin for both build context and dockerfile")
    return fromInput(file)
  }
  const isPlace = existsSync(word)
  if (!isPlace && /^(https?:\/\/|git:\/\/|git@|github\.com\/)/.test(word)) return { remote: word, dockerfile: file, body: undefined, done: Promise.resolve() }
  if (!isPlace) throw new EngineError('invalid', `unable to prepare context: path ${JSON.stringify(word)} not found`)
  if (!statSync(word).isDirectory()) throw new EngineError('invalid', `unable to prepare context: context must be a directory: ${resolve(word)}`)
  return directory(resolve(word), file === '-' ? '' : file, file === '-' ? await readAll(process.stdin) : undefined)
}
