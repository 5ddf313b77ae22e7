import { encodeHeader, padding } from '@gantry/graph'
import { archiveKind, EngineError } from '@gantry/std'
import type { BuildContext } from '../context/store.ts'
import type { ContextTree } from '../context/tree.ts'
import { type Selected, toBytes } from '../copy/select.ts'
import type { Solver } from '../solver.ts'
import { digestOfSelected, fromContext, type Part } from './copy.ts'

/** How an ADD takes its sources. */
export interface AddOptions {
  readonly context: BuildContext | undefined
  /** Digest of what comes from an URL; empty: whatever it has. */
  readonly checksum: string
  /** Archives are unpacked: said so, or by the rule (local ones are, those of URLs are not). */
  readonly unpack: boolean | undefined
  readonly excludes: readonly string[]
  /** The repository's own files come along (`--keep-git-dir`). */
  readonly keepGitDirectory: boolean
  /** Contexts that the step needs until its end. */
  readonly held: Disposable[]
}

const BLOCK = 512
const FILE_MODE = 0o600

async function* asAsync(chunks: Iterable<Buffer>): AsyncGenerator<Buffer> {
  yield* chunks
}

/** The content of an archive as a part of its own, or undefined where the file is none. */
async function unpacked(solver: Solver, file: Iterable<Buffer>, again: () => Iterable<Buffer>, name: string, held: Disposable[]): Promise<Part | undefined> {
  const [head = Buffer.alloc(0)] = file
  if (archiveKind(head) === undefined) return undefined
  let inner: BuildContext
  try {
    inner = await solver.ports.contexts.receive(asAsync(again()))
  } catch (error) {
    // A compressed file that is no archive is a file.
    if (error instanceof EngineError && error.kind === 'invalid') return undefined
    throw error
  }
  held.push(inner)
  const selected: readonly Selected[] = [{ tree: inner.tree, path: '', name: toBytes(name), node: inner.tree.root }]
  return { selected, digest: ['unpacked', ...digestOfSelected(selected, []), owners(inner.tree)], content: { kind: 'blobs', read: (digest) => inner.read(digest) }, keepsOwners: true, unpacked: true }
}

/** Owners that are not root's count for the key of an archive that keeps them. */
function owners(tree: ContextTree): string {
  return [...tree.below('')].filter(([, node]) => node.uid !== 0 || node.gid !== 0).map(([path, node]) => `${path}:${node.uid}:${node.gid}`).join('\n')
}

/** A file that is fetched, as a context of its own. */
async function fetched(solver: Solver, url: string, options: AddOptions): Promise<Part> {
  const { ports, options: { signal } } = solver
  const remote = await ports.download(url, signal)
  const size = remote.bytes
  async function* asTar(): AsyncGenerator<Uint8Array> {
    yield encodeHeader({ path: toBytes(remote.name), type: 'file', mode: FILE_MODE, uid: 0, gid: 0, size, mtimeSeconds: remote.lastModified ?? solver.now, mtimeNanos: 0, link: '', major: 0, minor: 0, xattrs: new Map() })
    yield* remote.body
    yield padding(size)
    yield Buffer.alloc(2 * BLOCK)
  }
  const context = await ports.contexts.receive(asTar())
  options.held.push(context)
  const node = context.tree.get(toBytes(remote.name))
  if (node === undefined) throw new EngineError('unavailable', `${url}: nothing came`)
  if (options.checksum !== '' && node.digest !== options.checksum) throw new EngineError('invalid', `digest mismatch ${node.digest}: ${options.checksum}`)
  const read = (): Iterable<Buffer> => context.read(node.digest)
  if (options.unpack === true) {
    const archive = await unpacked(solver, read(), read, remote.name, options.held)
    if (archive !== undefined) return archive
  }
  const selected = fromContext(context, [remote.name.replace(/[*?[\]\\]/g, '\\$&')], false)
  return { selected, digest: ['url', ...digestOfSelected(selected, [])], content: { kind: 'blobs', read: (digest) => context.read(digest) }, keepsOwners: false }
}

export const isUrl = (source: string): boolean => /^https?:\/\//i.test(source)

/** What the sources of an ADD come to: files of the context, archives that are unpacked, files from URLs. */
export async function partsOfAdd(solver: Solver, sources: readonly string[], options: AddOptions): Promise<readonly Part[]> {
  const { context } = options
  const parts: Part[] = []
  for (const source of sources) {
    if (solver.ports.isGit(source)) {
      const files = await solver.ports.gitContext(source, { keepGitDirectory: options.keepGitDirectory, signal: solver.options.signal })
      options.held.push(files)
      const selected: readonly Selected[] = [{ tree: files.tree, path: '', name: '', node: files.tree.root }]
      parts.push({ selected, digest: ['git', ...digestOfSelected(selected, options.excludes)], content: { kind: 'blobs', read: (digest) => files.read(digest) }, keepsOwners: false })
      continue
    }
    if (isUrl(source)) {
      parts.push(await fetched(solver, source, options))
      continue
    }
    if (options.checksum !== '') throw new EngineError('invalid', "checksum can't be specified for non-HTTP(S) sources")
    if (context === undefined) throw new EngineError('invalid', `ADD ${source}: there is no build context to add from`)
    for (const one of fromContext(context, [source], false)) {
      const read = (): Iterable<Buffer> => context.read(one.node.digest)
      const archive = one.node.type === 'file' && one.node.size > 0 && options.unpack !== false ? await unpacked(solver, read(), read, one.name, options.held) : undefined
      parts.push(archive ?? { selected: [one], digest: digestOfSelected([one], options.excludes), content: { kind: 'blobs', read: (digest) => context.read(digest) }, keepsOwners: false })
    }
  }
  return parts
}
