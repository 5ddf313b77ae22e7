import { EngineError, type ByteReader } from '@gantry/std'

/** One file of a tree on its way from or to the helper (native/tree.c, struct entry). */
export interface TreeEntry {
  readonly path: string
  /** st_mode: type and permissions; 0 in an end mark. */
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly size: number
  readonly mtimeSeconds: number
  readonly mtimeNanos: number
  readonly major: number
  readonly minor: number
  readonly link: string
  readonly xattrs: ReadonlyMap<string, Buffer>
  readonly links: number
  readonly inode: bigint
  readonly device: bigint
  readonly action: 'make' | 'delete' | 'clear' | 'attributes' | 'hardlink' | 'xattrs'
}

/** File types in st_mode (`linux/stat.h`). */
export const FILE_TYPE = { mask: 0o170000, fifo: 0o010000, character: 0o020000, directory: 0o040000, block: 0o060000, regular: 0o100000, link: 0o120000, socket: 0o140000 } as const

const MAGIC = 0x45455254
const BYTES = 80
const ACTIONS = { make: 0, delete: 1, clear: 2, attributes: 4, hardlink: 8, xattrs: 16 } as const
const XATTR_LIMIT = 131072

/** An entry with the fields that a maker leaves out filled in. */
export function treeEntry(fields: Partial<TreeEntry> & { readonly path: string }): TreeEntry {
  return {
    mode: 0, uid: 0, gid: 0, size: 0, mtimeSeconds: 0, mtimeNanos: 0, major: 0, minor: 0, link: '', xattrs: new Map(), links: 1, inode: 0n, device: 0n, action: 'make', ...fields,
  }
}

function encodeXattrs(xattrs: ReadonlyMap<string, Buffer>): Buffer {
  if (xattrs.size === 0) return Buffer.alloc(0)
  const parts: Buffer[] = []
  for (const [name, value] of xattrs) {
    const head = Buffer.alloc(6)
    head.writeUInt16LE(Buffer.byteLength(name), 0)
    head.writeUInt32LE(value.length, 2)
    parts.push(head, Buffer.from(name), value)
  }
  const bytes = Buffer.concat(parts)
  if (bytes.length > XATTR_LIMIT) throw new EngineError('invalid', `extended attributes of ${bytes.length} bytes, more than ${XATTR_LIMIT}`)
  return bytes
}

/** Writes an entry; `size` bytes of data follow it on the stream. */
export function encodeTreeEntry(entry: TreeEntry): Buffer {
  const path = Buffer.from(entry.path, 'latin1')
  const link = Buffer.from(entry.link, 'latin1')
  const xattrs = encodeXattrs(entry.xattrs)
  if (path.length > 4096 || link.length > 4096) throw new EngineError('invalid', `path of ${path.length} bytes is too long`)
  const head = Buffer.alloc(BYTES)
  head.writeUInt32LE(MAGIC, 0)
  head.writeUInt32LE(entry.mode, 4)
  head.writeUInt32LE(entry.uid, 8)
  head.writeUInt32LE(entry.gid, 12)
  head.writeBigUInt64LE(BigInt(entry.size), 16)
  head.writeBigInt64LE(BigInt(entry.mtimeSeconds), 24)
  head.writeUInt32LE(entry.mtimeNanos, 32)
  head.writeUInt32LE(entry.major, 36)
  head.writeUInt32LE(entry.minor, 40)
  head.writeUInt32LE(entry.links, 44)
  head.writeUInt32LE(path.length, 48)
  head.writeUInt32LE(link.length, 52)
  head.writeUInt32LE(xattrs.length, 56)
  head.writeUInt32LE(ACTIONS[entry.action], 60)
  return Buffer.concat([head, path, link, xattrs])
}

/** The mark at the end of a stream of entries. */
export function encodeTreeEnd(): Buffer {
  return encodeTreeEntry(treeEntry({ path: '' }))
}

function decodeXattrs(bytes: Buffer): ReadonlyMap<string, Buffer> {
  const found = new Map<string, Buffer>()
  for (let at = 0; at + 6 <= bytes.length; ) {
    const name = bytes.readUInt16LE(at)
    const value = bytes.readUInt32LE(at + 2)
    found.set(bytes.toString('latin1', at + 6, at + 6 + name), Buffer.from(bytes.subarray(at + 6 + name, at + 6 + name + value)))
    at += 6 + name + value
  }
  return found
}

/** Reads the next entry; undefined at the end mark. The caller reads `size` bytes of data of a regular file itself. */
export async function readTreeEntry(reader: ByteReader): Promise<TreeEntry | undefined> {
  const head = await reader.read(BYTES)
  if (head === undefined) throw new EngineError('internal', 'the tree ended without its end mark')
  const pathLength = head.readUInt32LE(48)
  if (head.readUInt32LE(0) !== MAGIC) throw new EngineError('internal', 'not a tree entry')
  const [mode, uid, gid] = [head.readUInt32LE(4), head.readUInt32LE(8), head.readUInt32LE(12)]
  const fixed = {
    mode, uid, gid,
    size: Number(head.readBigUInt64LE(16)),
    mtimeSeconds: Number(head.readBigInt64LE(24)),
    mtimeNanos: head.readUInt32LE(32),
    major: head.readUInt32LE(36),
    minor: head.readUInt32LE(40),
    links: head.readUInt32LE(44),
    inode: head.readBigUInt64LE(64),
    device: head.readBigUInt64LE(72),
  }
  const [linkLength, xattrLength] = [head.readUInt32LE(52), head.readUInt32LE(56)]
  if (pathLength === 0) return undefined
  const rest = (await reader.read(pathLength + linkLength + xattrLength)) ?? Buffer.alloc(0)
  return {
    ...fixed,
    path: rest.toString('latin1', 0, pathLength),
    link: rest.toString('latin1', pathLength, pathLength + linkLength),
    xattrs: decodeXattrs(rest.subarray(pathLength + linkLength)),
    action: 'make',
  }
}
