import { existsSync, lstatSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { hostname, tmpdir } from 'node:os'
import { basename, relative, resolve } from 'node:path'
import type { Readable } from 'node:stream'
import { FILE_TYPE, fileRow } from '@gantry/api'
import { archiveKind, collect, EngineError, ignoreRules, type IgnoreRules } from '@gantry/std'
import { tar } from '../commands/copy.ts'

/** An archive on its way. */
export interface SentArchive {
  readonly body: AsyncIterable<Uint8Array>
  /** Fails with what the host's tar said. */
  readonly done: Promise<void>
}

/** What goes to the daemon: an archive, or the name of a place from which it takes one. */
export interface SentContext extends Disposable {
  readonly remote: string
  /** Path of the Dockerfile in the archive. */
  readonly dockerfile: string
  /** Files of a directory: the daemon may have them already. */
  readonly files?: { readonly from: string; list(): Buffer }
  /** The archive, or of a directory only the files at these places of the list; undefined: there is none. */
  archive(wanted?: readonly number[]): SentArchive | undefined
}

const DOCKERFILE_LIMIT = 4 << 20
const TEXT_HEAD = 512

const sent = (remote: string, dockerfile: string, body: AsyncIterable<Uint8Array> | undefined): SentContext => ({ remote, dockerfile, archive: () => (body === undefined ? undefined : { body, done: Promise.resolve() }), [Symbol.dispose]: () => undefined })

async function* ofBytes(bytes: Buffer): AsyncGenerator<Buffer> {
  yield bytes
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

/** Writes rows of a list; a file that comes again by another name says so. */
function rowWriter(): (top: string, path: string) => string {
  const names = new Map<string, string>()
  return (top, path) => {
    const { mode, uid, gid, size, mtimeNs, nlink, dev, ino } = lstatSync(`${top}/${path}`, { bigint: true })
    const type = Number(mode) & FILE_TYPE.mask
    const known = nlink > 1n && type === FILE_TYPE.file ? `${dev}:${ino}` : undefined
    const link = type === FILE_TYPE.link ? readlinkSync(`${top}/${path}`) : known === undefined ? '' : (names.get(known) ?? '')
    if (known !== undefined && link === '') names.set(known, path)
    return fileRow({ path, mode: Number(mode), uid: Number(uid), gid: Number(gid), size: Number(size), modTime: mtimeNs, link })
  }
}

function tarOf(top: string, list: string, more: readonly string[]): SentArchive {
  const job = tar(['--create', '--file=-', '--format=posix', '--pax-option=delete=atime,delete=ctime', '--numeric-owner', '--no-recursion', '--null', `--directory=${top}`, `--files-from=${list}`, ...more])
  job.input.end()
  job.done.catch(() => undefined) // awaited by whoever sends
  return { body: job.output as unknown as AsyncIterable<Uint8Array>, done: job.done }
}

/** A directory as an archive that the host's tar makes, file by file as the rules leave them. */
function directory(top: string, given: string, text: Buffer | undefined, needed: boolean): SentContext {
  const outside = mkdtempSync(`${tmpdir()}/gantry-build-`)
  const path = resolve(given === '' ? `${top}/Dockerfile` : given)
  const inside = relative(top, path)
  const isOutside = text !== undefined || inside.startsWith('..')
  let dockerfile = inside
  if (isOutside) {
    dockerfile = `.dockerfile.${basename(outside)}`
    writeFileSync(`${outside}/${dockerfile}`, text ?? readFileSync(path))
  } else if (needed && !existsSync(path)) {
    rmSync(outside, { recursive: true })
    throw new EngineError('invalid', `unable to prepare context: unable to evaluate symlinks in Dockerfile path: lstat ${path}: no such file or directory`)
  }
  const rules = rulesOf(top, path)
  // The builder needs both; what it does with them is its matter.
  const always = new Set(['.dockerignore', ...(isOutside ? [] : [inside])])
  const names = [...pathsOf(top, rules, always)]
  const row = rowWriter()
  const own = isOutside ? [dockerfile] : []
  const archive = (wanted = [...names, ...own].keys().toArray()): SentArchive => {
    const list = `${outside}/list`
    writeFileSync(list, wanted.filter((place) => place < names.length).map((place) => `${names[place]}\0`).join(''))
    return tarOf(top, list, wanted.some((place) => place >= names.length) ? [`--directory=${outside}`, ...own] : [])
  }
  return {
    remote: '', dockerfile, archive,
    files: { from: `${hostname()} ${top}`, list: () => Buffer.from([...names.map((name) => [top, name] as const), ...own.map((name) => [outside, name] as const)].map(([folder, name]) => row(folder, name)).join('')) },
    [Symbol.dispose]: () => rmSync(outside, { recursive: true, force: true }),
  }
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
  const packed = archiveKind(head) !== undefined
  async function* rest(): AsyncGenerator<Buffer> {
    yield head
    for (let next = await iterator.next(); next.done !== true; next = await iterator.next()) yield next.value
  }
  if (packed) return sent('', dockerfile, rest())
  const text: Buffer[] = []
  for await (const chunk of rest()) text.push(chunk)
  const folder = mkdtempSync(`${tmpdir()}/gantry-build-`)
  try {
    writeFileSync(`${folder}/Dockerfile`, Buffer.concat(text))
    const job = tar(['--create', '--file=-', `--directory=${folder}`, 'Dockerfile'])
    job.input.end()
    const archive = await collect(job.output as Readable, DOCKERFILE_LIMIT)
    await job.done
    return sent('', 'Dockerfile', ofBytes(archive))
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** What `build PATH|URL|-` sends. `dockerfile: false`: it needs none. */
export async function contextOf(word: string, file: string, { dockerfile = true }: { readonly dockerfile?: boolean } = {}): Promise<SentContext> {
  if (word === '-') {
    if (file === '-') throw new EngineError('invalid', "invalid argument: can't use stdin for both build context and dockerfile")
    return fromInput(file)
  }
  const isPlace = existsSync(word)
  if (!isPlace && /^(https?:\/\/|git:\/\/|git@|github\.com\/)/.test(word)) return sent(word, file, undefined)
  if (!isPlace) throw new EngineError('invalid', `unable to prepare context: path ${JSON.stringify(word)} not found`)
  if (!statSync(word).isDirectory()) throw new EngineError('invalid', `unable to prepare context: context must be a directory: ${resolve(word)}`)
  return directory(resolve(word), file === '-' ? '' : file, file === '-' ? await collect(process.stdin, DOCKERFILE_LIMIT) : undefined, dockerfile)
}
