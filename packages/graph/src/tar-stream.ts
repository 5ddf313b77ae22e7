import type { Socket } from 'node:net'
import { type ByteReader, EngineError, writePaced } from '@gantry/std'
import { encodeTreeEnd, encodeTreeEntry, readTreeEntry, type TreeEntry } from '@gantry/linux'
import { BLOCK, encodeHeader, padding, type TarEntry } from './tar-header.ts'
import { readTar, type TarObserver } from './tar-reader.ts'
import { isOpaque, isWhiteout, toTarEntry, toTreeEntries, type WhiteoutStyle, whiteoutEntry } from './whiteout.ts'

/** What a layer came to. */
export interface AppliedLayer {
  /** Bytes of file content. */
  readonly bytes: number
}

const CHUNK = 1 << 18

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

/** Feeds a tar archive to the helper; directories get their times once everything below them is there. */
export async function feedTar(source: AsyncIterable<Uint8Array>, socket: Socket, style: WhiteoutStyle, options: { readonly observer?: TarObserver; readonly owner?: { readonly uid: number; readonly gid: number } } = {}): Promise<AppliedLayer> {
  const out = buffered(socket)
  const directories: TreeEntry[] = []
  let bytes = 0
  for await (const { entry, data } of readTar(source, options.observer)) {
    bytes += entry.size
    const owned: TarEntry = options.owner === undefined ? entry : { ...entry, ...options.owner }
    let sent = false
    for (const change of toTreeEntries(owned, style)) {
      await out.write(encodeTreeEntry(change))
      if (change.action === 'make' && entry.type === 'directory') directories.push({ ...change, action: 'attributes' })
      if (change.size === 0) continue
      sent = true
      for await (const chunk of data()) await out.write(chunk)
    }
    if (!sent) for await (const _ of data()) continue
  }
  for (const directory of directories.reverse()) await out.write(encodeTreeEntry(directory))
  await out.write(encodeTreeEnd())
  await out.flush()
  return { bytes }
}

/** How tree entries become members. */
export interface TarOptions {
  /** Overlay's marks become whiteouts. */
  readonly whiteouts: boolean
  /** The member's path; undefined leaves it out, with all below it. */
  readonly rename: (path: string) => string | undefined
  /** Paths that are gone, for a tree that keeps no marks of its own. */
  readonly removed?: readonly string[]
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
    const first = isFile && entry.links > 1 ? seen.get(inode) : undefined
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
