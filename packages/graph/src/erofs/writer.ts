import { FILE_TYPE } from '@gantry/linux'
import { BLOCK_BITS, COMPAT_MTIME, DEVICE, DIRENT_BYTES, INCOMPAT_DEVICE_TABLE, INODE, inodeFormat, LAYOUT, MAGIC, NO_BLOCK, SLOT_BYTES, SUPER, XATTR_HEADER_BYTES, XATTR_PREFIXES } from './format.ts'
import { BLOCK } from '../tar-header.ts'
import type { Inode } from './merge.ts'

const align = (value: number, to: number): number => Math.ceil(value / to) * to
const TYPE_OF: Readonly<Record<number, number>> = { [FILE_TYPE.regular]: 1, [FILE_TYPE.directory]: 2, [FILE_TYPE.character]: 3, [FILE_TYPE.block]: 4, [FILE_TYPE.fifo]: 5, [FILE_TYPE.link]: 7 }

/** Where an inode and its data go. */
interface Placed {
  readonly inode: Inode
  readonly at: number
  readonly xattrs: Buffer
  readonly number: number
  readonly parent: Placed | undefined
  links: number
  /** Blocks of data in the image itself: names of a directory, or a long link. */
  data: Buffer | undefined
  block: number
}

function encodeXattrs(xattrs: ReadonlyMap<string, Buffer>): Buffer {
  const parts: Buffer[] = []
  for (const [name, value] of xattrs) {
    const known = XATTR_PREFIXES.find(([prefix]) => name.startsWith(prefix))
    if (known === undefined) continue
    const rest = Buffer.from(name.slice(known[0].length), 'latin1')
    const head = Buffer.from([rest.length, known[1], value.length & 0xff, value.length >> 8])
    const entry = Buffer.concat([head, rest, value])
    parts.push(entry, Buffer.alloc(align(entry.length, 4) - entry.length))
  }
  return parts.length === 0 ? Buffer.alloc(0) : Buffer.concat([Buffer.alloc(XATTR_HEADER_BYTES), ...parts])
}

/** Names of a directory in blocks: fixed entries first, then their names; sorted by bytes over all of it. */
function encodeDirectory(entries: readonly (readonly [name: string, nid: number, type: number])[]): Buffer {
  const sorted = [...entries].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
  const blocks: Buffer[] = []
  for (let from = 0; from < sorted.length; ) {
    let [to, used] = [from, 0]
    for (; to < sorted.length; to++) {
      const more = DIRENT_BYTES + (sorted[to]?.[0].length ?? 0)
      if (used + more > BLOCK) break
      used += more
    }
    const block = Buffer.alloc(to < sorted.length ? BLOCK : used)
    let name = (to - from) * DIRENT_BYTES
    for (let n = from; n < to; n++) {
      const [text, nid, type] = sorted[n] ?? ['', 0, 0]
      const at = (n - from) * DIRENT_BYTES
      block.writeBigUInt64LE(BigInt(nid), at)
      block.writeUInt16LE(name, at + 8)
      block[at + 10] = type
      name += block.write(text, name, 'latin1')
    }
    blocks.push(block)
    from = to
  }
  return Buffer.concat(blocks)
}

const typeOf = (inode: Inode): number => TYPE_OF[inode.mode & FILE_TYPE.mask] ?? 0
const isLink = (inode: Inode): boolean => (inode.mode & FILE_TYPE.mask) === FILE_TYPE.link
const isInline = (inode: Inode, xattrs: Buffer): boolean => isLink(inode) && xattrs.length === 0 && inode.size > 0 && inode.size <= BLOCK - INODE.bytes

/** Gives every inode its place, directories before what is in them. Offsets count from the start of the inodes. */
function placeInodes(root: Inode): { readonly placed: readonly Placed[]; readonly of: ReadonlyMap<Inode, Placed>; readonly bytes: number } {
  const of = new Map<Inode, Placed>()
  const placed: Placed[] = []
  // Number 0 means "no file" to whoever reads a directory.
  let cursor: number = INODE.bytes
  const place = (inode: Inode, parent: Placed | undefined): Placed => {
    const known = of.get(inode)
    if (known !== undefined) {
      known.links++
      return known
    }
    const xattrs = encodeXattrs(inode.xattrs)
    let at = align(cursor, INODE.bytes)
    const tail = isInline(inode, xattrs) ? inode.size : 0
    // What follows an inode inside its block must not run over the block's end.
    if (tail > 0 && (at % BLOCK) + INODE.bytes + tail > BLOCK) at = align(at, BLOCK)
    cursor = at + INODE.bytes + xattrs.length + tail
    const one: Placed = { inode, at, xattrs, number: placed.length + 1, parent, links: inode.children === undefined ? 1 : 2, data: undefined, block: NO_BLOCK }
    of.set(inode, one)
    placed.push(one)
    return one
  }
  const queue: Placed[] = [place(root, undefined)]
  for (let index = 0; index < queue.length; index++) {
    const directory = queue[index]
    for (const child of directory?.inode.children?.values() ?? []) {
      const one = place(child, directory)
      if (child.children === undefined || directory === undefined) continue
      queue.push(one)
      // Its `..` is one more name of this directory.
      directory.links++
    }
  }
  return { placed, of, bytes: align(cursor, BLOCK) }
}

/** Where one layer's file lies in the numbering of blocks that all share. */
interface LayerBlocks {
  readonly blocks: number
}

/** Writes the metadata of a file system whose content is the layers' own archives, one device each. */
export function writeErofs(root: Inode, layers: readonly LayerBlocks[]): Buffer {
  const { placed, of, bytes } = placeInodes(root)
  const metaBlock = Math.ceil((SUPER.at + SUPER.bytes + layers.length * DEVICE.bytes) / BLOCK)
  const nid = (one: Placed): number => one.at / SLOT_BYTES
  let block = metaBlock + bytes / BLOCK
  for (const one of placed) {
    const { inode } = one
    if (inode.children !== undefined) {
      const entries = [...inode.children].map(([name, child]) => [name, nid(of.get(child) ?? one), typeOf(child)] as const)
      one.data = encodeDirectory([['.', nid(one), 2], ['..', nid(one.parent ?? one), 2], ...entries])
    } else if (isLink(inode) && !isInline(inode, one.xattrs)) one.data = Buffer.from(inode.link, 'latin1')
    if (one.data === undefined) continue
    one.block = block
    block += Math.ceil(one.data.length / BLOCK)
  }
  const starts: number[] = []
  let start = block
  for (const layer of layers) {
    starts.push(start)
    start += layer.blocks
  }
  const image = Buffer.alloc(block * BLOCK)
  writeSuper(image, { root: nid(of.get(root) ?? (placed[0] as Placed)), inodes: placed.length, blocks: block, metaBlock, devices: layers.length })
  layers.forEach((layer, index) => {
    const at = SUPER.at + SUPER.bytes + index * DEVICE.bytes
    image.writeUInt32LE(layer.blocks, at + DEVICE.blocks)
    image.writeUInt32LE(starts[index] ?? 0, at + DEVICE.start)
  })
  for (const one of placed) writeInode(image, metaBlock * BLOCK + one.at, one, starts)
  return image
}

function writeSuper(image: Buffer, fields: { readonly root: number; readonly inodes: number; readonly blocks: number; readonly metaBlock: number; readonly devices: number }): void {
  const at = SUPER.at
  image.writeUInt32LE(MAGIC, at + SUPER.magic)
  image.writeUInt32LE(COMPAT_MTIME, at + SUPER.compat)
  image[at + SUPER.blockBits] = BLOCK_BITS
  image.writeUInt16LE(fields.root, at + SUPER.root)
  image.writeBigUInt64LE(BigInt(fields.inodes), at + SUPER.inodes)
  image.writeUInt32LE(fields.blocks, at + SUPER.blocks)
  image.writeUInt32LE(fields.metaBlock, at + SUPER.metaBlock)
  image.writeUInt32LE(fields.devices === 0 ? 0 : INCOMPAT_DEVICE_TABLE, at + SUPER.incompat)
  image.writeUInt16LE(fields.devices, at + SUPER.devices)
  image.writeUInt16LE((SUPER.at + SUPER.bytes) / DEVICE.bytes, at + SUPER.deviceSlot)
}

function startOf(one: Placed, starts: readonly number[]): number {
  const { inode } = one
  const type = inode.mode & FILE_TYPE.mask
  if (type === FILE_TYPE.character || type === FILE_TYPE.block) return ((inode.minor & 0xff) | (inode.major << 8) | ((inode.minor & ~0xff) << 12)) >>> 0
  if (one.data !== undefined) return one.block
  return type === FILE_TYPE.regular && inode.size > 0 ? (starts[inode.layer] ?? 0) + inode.block : NO_BLOCK
}

function writeInode(image: Buffer, at: number, one: Placed, starts: readonly number[]): void {
  const { inode, xattrs } = one
  const inline = isInline(inode, xattrs)
  const type = inode.mode & FILE_TYPE.mask
  image.writeUInt16LE(inodeFormat(inline ? LAYOUT.inline : LAYOUT.plain), at + INODE.format)
  image.writeUInt16LE(xattrs.length === 0 ? 0 : 1 + (xattrs.length - XATTR_HEADER_BYTES) / 4, at + INODE.xattrCount)
  image.writeUInt16LE(inode.mode, at + INODE.mode)
  image.writeBigUInt64LE(BigInt(one.data?.length ?? (type === FILE_TYPE.regular || type === FILE_TYPE.link ? inode.size : 0)), at + INODE.size)
  image.writeUInt32LE(startOf(one, starts), at + INODE.start)
  image.writeUInt32LE(one.number, at + INODE.number)
  image.writeUInt32LE(inode.uid, at + INODE.uid)
  image.writeUInt32LE(inode.gid, at + INODE.gid)
  image.writeBigInt64LE(BigInt(inode.mtimeSeconds), at + INODE.mtime)
  image.writeUInt32LE(inode.mtimeNanos, at + INODE.mtimeNanos)
  image.writeUInt32LE(one.links, at + INODE.links)
  xattrs.copy(image, at + INODE.bytes)
  if (inline) image.write(inode.link, at + INODE.bytes, 'latin1')
  one.data?.copy(image, one.block * BLOCK)
}
