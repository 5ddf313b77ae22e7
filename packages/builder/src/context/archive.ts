import { decompressed, type TarEntry, tarParser } from '@gantry/graph'
import { digester, digestOf, EngineError } from '@gantry/std'
import { SMALL } from './pack.ts'
import type { LargeContent, Shelf } from './shelf.ts'
import { type ContextNode, contextTree, type ContextTree } from './tree.ts'

const READ = 1 << 20
export const MAX_FILES = 2_000_000

/** A path of a context without what does not count; one that leads out is refused. */
export function cleanPath(path: string): string {
  const parts: string[] = []
  for (const part of path.split('/')) {
    if (part === '' || part === '.') continue
    if (part === '..') throw new EngineError('invalid', `the context holds the path ${JSON.stringify(path)}, which leads outside of it`)
    parts.push(part)
  }
  return parts.join('/')
}

function nodeOf(entry: TarEntry, digest: string): ContextNode | undefined {
  if (entry.type === 'hardlink') return undefined
  const device = entry.type === 'character' || entry.type === 'block' ? { device: { major: entry.major, minor: entry.minor } } : undefined
  return { ...device, type: entry.type, mode: entry.mode & 0o7777, uid: entry.uid, gid: entry.gid, size: entry.size, mtimeSeconds: entry.mtimeSeconds, mtimeNanos: entry.mtimeNanos, link: entry.link, digest, xattrs: entry.xattrs }
}

/** Where contents of an archive go. */
export type ArchiveContents = Pick<Shelf, 'whole' | 'large'>

/** Hashes contents, and keeps none. */
export const UNKEPT: ArchiveContents = {
  whole: () => undefined,
  large() {
    const hash = digester()
    let size = 0
    return {
      write(chunk) {
        hash.update(chunk)
        size += chunk.length
      },
      end: () => ({ digest: hash.digest(), size }),
    }
  },
}

/** Reads an archive into a tree; each file is hashed as it comes. */
export async function readArchive(source: AsyncIterable<Uint8Array>, contents: ArchiveContents): Promise<ContextTree> {
  const files = new Map<string, ContextNode>()
  let entry: TarEntry | undefined
  let small: Buffer[] = []
  let large: LargeContent | undefined
  const take = (chunk: Buffer): void => {
    if (large === undefined) small.push(chunk)
    else large.write(chunk)
  }
  const settled = (): string => {
    if (large !== undefined) return large.end().digest
    const bytes = small.length === 1 && small[0] !== undefined ? small[0] : Buffer.concat(small)
    const digest = digestOf(bytes)
    contents.whole(bytes, digest)
    return digest
  }
  const parser = tarParser({
    entry(next) {
      entry = next
      small = []
      large = next.type === 'file' && next.size > SMALL ? contents.large(next.size) : undefined
      if (files.size >= MAX_FILES) throw new EngineError('invalid', `the context has more than ${MAX_FILES} files`)
      if (next.type === 'file') return
      const node = next.type === 'hardlink' ? files.get(cleanPath(next.link)) : nodeOf(next, '')
      if (node !== undefined) files.set(cleanPath(next.path), node)
    },
    data(chunk) {
      // A file that ends beyond this chunk is copied: its pieces wait.
      if (entry?.type === 'file') take(large === undefined && chunk.length < entry.size ? Buffer.from(chunk) : chunk)
    },
    hole(length) {
      for (let left = length; left > 0 && entry?.type === 'file'; left -= READ) take(Buffer.alloc(Math.min(left, READ)))
    },
    finish() {
      if (entry?.type !== 'file') return
      const node = nodeOf(entry, settled())
      if (node !== undefined) files.set(cleanPath(entry.path), node)
      entry = undefined
    },
  })
  for await (const chunk of await decompressed(source)) parser.push(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength))
  parser.end()
  return contextTree(files)
}
