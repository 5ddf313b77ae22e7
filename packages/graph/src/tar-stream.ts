import type { Socket } from 'node:net'
import { type ByteReader, digester, EngineError, writePaced } from '@gantry/std'
import { encodeTreeEnd, encodeTreeEntry, readTreeEntry, type TreeEntry } from '@gantry/linux'
import type { WrittenLayer } from './apply/layer-writer.ts'
import type { SkeletonWriter } from './apply/skeleton.ts'
import { BLOCK, encodeHeader, padding, type TarEntry } from './tar-header.ts'
import { tarParser } from './tar-parser.ts'
import { isOpaque, isWhiteout, toTarEntry, toTreeEntries, type WhiteoutStyle, whiteoutEntry } from './whiteout.ts'

const CHUNK = 1 << 18
const ZEROS = Buffer.alloc(1 << 16)

/** Collects small writes. */
function buffered(socket: Socket): { write(bytes: Buffer): Promise<void>; flush(): Promise<void> } {
  let held: Buffer[] = []
  let length = 0
  const flush = async (): Promise<void> => {
    if (length === 0) return
    const all = Buffer.concat(held)
    held = []
    length = 0
    await writePaced(socket, all)
  }
  return {
    async write(bytes) {
      if (bytes.length >= CHUNK) {
        await flush()
        return writePaced(socket, bytes)
      }
      held.push(bytes)
      length += bytes.length
      return length >= CHUNK ? flush() : undefined
    },
    flush,
  }
}

/** What a layer takes away from those below it. Comes first of all: it never concerns the layer's own files, wherever in the archive it stands (image-spec, layer.md, "Opaque Whiteout"). */
export async function feedRemovals(source: AsyncIterable<Uint8Array>, socket: Socket): Promise<void> {
  const removals: Buffer[] = []
  const parser = tarParser({
    entry(entry) {
      for (const change of toTreeEntries(entry, 'apply')) if (change.action === 'delete' || change.action === 'clear') removals.push(encodeTreeEntry(change))
    },
    data: () => undefined, hole: () => undefined, finish: () => undefined,
  })
  for await (const chunk of source) parser.push(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength))
  for (const removal of removals) await writePaced(socket, removal)
}

/** Feeds a tar archive to the helper; directories get their times once everything below them is there. */
export async function feedTar(source: AsyncIterable<Uint8Array>, socket: Socket, style: WhiteoutStyle, options: { readonly skeleton?: SkeletonWriter; readonly removals?: 'done'; readonly owner?: { readonly uid: number; readonly gid: number } } = {}): Promise<WrittenLayer> {
  const out = buffered(socket)
  const directories: TreeEntry[] = []
  const digest = digester()
  /** What goes out: bytes, or a number of zeros. */
  let parts: (Buffer | number)[] = []
  let bytes = 0
  let wanted = false
  const parser = tarParser({
    entry(entry, _, packed) {
      bytes += entry.size
      if (entry.size > 0 && !packed) options.skeleton?.file(Buffer.from(entry.path, 'latin1'), entry.size)
      const owned: TarEntry = options.owner === undefined ? entry : { ...entry, ...options.owner }
      wanted = false
      for (const change of toTreeEntries(owned, style)) {
        if (options.removals === 'done' && (change.action === 'delete' || change.action === 'clear')) continue
        parts.push(encodeTreeEntry(change))
        if (change.action === 'make' && entry.type === 'directory') directories.push({ ...change, action: 'attributes' })
        if (change.size > 0) wanted = true
      }
    },
    data: (chunk) => void (wanted && parts.push(chunk)),
    hole: (length) => void (wanted && parts.push(length)),
    finish: () => undefined,
    raw: (chunk) => options.skeleton?.raw(chunk),
  })
  for await (const chunk of source) {
    digest.update(chunk)
    parser.push(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength))
    for (const part of parts) {
      if (typeof part !== 'number') await out.write(part)
      else for (let left = part; left > 0; left -= ZEROS.length) await out.write(ZEROS.subarray(0, left))
    }
    parts = []
  }
  parser.end()
  for (const directory of directories.reverse()) await out.write(encodeTreeEntry(directory))
  await out.write(encodeTreeEnd())
  await out.flush()
  return { diffId: digest.digest(), tarBytes: digest.bytes, bytes, rest: undefined }
}

/** How tree entries become members. */
export interface TarOptions {
  /** Overlay's marks become whiteouts. */
  readonly whiteouts: boolean
  /** The member's path; undefined leaves it out, with all below it. */
  readonly rename: (path: string) => string | undefined
  /** Paths that are gone, for a tree that keeps no marks of its own. */
  readonly removed?: readonly string[]
  /** False: each name of a file has its content. */
  readonly hardlinks?: boolean
}

/** Reads a tree from the helper and gives it as a tar archive. */
export async function* treeToTar(reader: ByteReader, options: TarOptions): AsyncGenerator<Buffer> {
  const seen = new Map<string, string>()
  for (;;) {
    const entry = await readTreeEntry(reader)
    if (entry === undefined) break
    const isFile = (entry.mode & 0o170000) === 0o100000
    const size = isFile ? entry.size : 0
    const path = options.rename(entry.path)
    if (path === undefined) {
      await reader.skip(size)
      continue
    }
    if (options.whiteouts && isWhiteout(entry)) {
      yield encodeHeader(whiteoutEntry(path, false, entry.mtimeSeconds))
      continue
    }
    const member = toTarEntry(entry, path)
    if (member === undefined) continue
    const inode = `${entry.device}:${entry.inode}`
    const first = isFile && entry.links > 1 && options.hardlinks !== false ? seen.get(inode) : undefined
    if (first !== undefined) {
      yield encodeHeader({ ...member, type: 'hardlink', link: first, size: 0 })
      await reader.skip(size)
      continue
    }
    if (isFile && entry.links > 1) seen.set(inode, path)
    yield encodeHeader(member)
    yield* fileData(reader, size)
    if (options.whiteouts && isOpaque(entry)) yield encodeHeader(whiteoutEntry(path, true, entry.mtimeSeconds))
  }
  for (const path of options.removed ?? []) yield encodeHeader(whiteoutEntry(path, false))
  yield Buffer.alloc(BLOCK * 2)
}

async function* fileData(reader: ByteReader, size: number): AsyncGenerator<Buffer> {
  let left = size
  while (left > 0) {
    const chunk = await reader.chunk(Math.min(left, 1 << 20))
    if (chunk === undefined) throw new EngineError('internal', 'the tree ended in the middle of a file')
    left -= chunk.length
    yield chunk
  }
  const rest = padding(size)
  if (rest.length > 0) yield rest
}
