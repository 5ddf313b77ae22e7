import { closeSync, openSync, readFileSync, readSync } from 'node:fs'
import { FILE_TYPE } from '@gantry/linux'
import { EngineError } from '@gantry/std'
import type { LayerView, SeenFile } from '../layered-fs.ts'
import { DEVICE, DIRENT_BYTES, INODE, MAGIC, SLOT_BYTES, SUPER, XATTR_HEADER_BYTES } from './format.ts'
import { BLOCK } from '../tar-header.ts'

interface Found {
  readonly at: number
  readonly mode: number
  readonly size: number
  readonly start: number
  readonly layout: number
}

/** Looks into an image that `writeErofs` made. `files` are those of its layers, in the order of its devices. */
export function erofsView(path: string, files: readonly string[]): LayerView {
  const image = readFileSync(path)
  if (image.length < SUPER.at + SUPER.bytes || image.readUInt32LE(SUPER.at + SUPER.magic) !== MAGIC) throw new EngineError('internal', `${path} is no EROFS image`)
  const inodes = image.readUInt32LE(SUPER.at + SUPER.metaBlock) * BLOCK
  const inode = (nid: number): Found => {
    const at = inodes + nid * SLOT_BYTES
    return { at, mode: image.readUInt16LE(at + INODE.mode), size: Number(image.readBigUInt64LE(at + INODE.size)), start: image.readUInt32LE(at + INODE.start), layout: (image.readUInt16LE(at + INODE.format) >> 1) & 7 }
  }
  const inlineAt = (found: Found): number => {
    const count = image.readUInt16LE(found.at + INODE.xattrCount)
    return found.at + INODE.bytes + (count === 0 ? 0 : XATTR_HEADER_BYTES + (count - 1) * 4)
  }
  const content = (found: Found): Buffer => {
    const from = found.layout === 0 ? found.start * BLOCK : inlineAt(found)
    return image.subarray(from, from + found.size)
  }
  function* names(found: Found): Generator<readonly [name: string, nid: number]> {
    const data = content(found)
    for (let from = 0; from < data.length; from += BLOCK) {
      const block = data.subarray(from, from + BLOCK)
      const count = block.readUInt16LE(8) / DIRENT_BYTES
      for (let n = 0; n < count; n++) {
        const begin = block.readUInt16LE(n * DIRENT_BYTES + 8)
        const end = n + 1 < count ? block.readUInt16LE((n + 1) * DIRENT_BYTES + 8) : block.length
        yield [block.toString('latin1', begin, end).replace(/\0+$/, ''), Number(block.readBigUInt64LE(n * DIRENT_BYTES))]
      }
    }
  }
  const isDirectory = (found: Found): boolean => (found.mode & FILE_TYPE.mask) === FILE_TYPE.directory
  const find = (at: string): Found | undefined => {
    let found = inode(image.readUInt16LE(SUPER.at + SUPER.root))
    for (const part of at.split('/')) {
      if (part === '' || part === '.') continue
      const wanted = Buffer.from(part, 'utf8').toString('latin1')
      if (!isDirectory(found)) return undefined
      const next = names(found).find(([name]) => name === wanted)
      if (next === undefined) return undefined
      found = inode(next[1])
    }
    return found
  }
  const known = (at: string): Found => {
    const found = find(at)
    if (found === undefined) throw new EngineError('not-found', `${at} is not in the image`)
    return found
  }
  const kindOf = ({ mode }: Found): SeenFile['kind'] => {
    const type = mode & FILE_TYPE.mask
    return type === FILE_TYPE.directory ? 'directory' : type === FILE_TYPE.regular ? 'file' : type === FILE_TYPE.link ? 'link' : 'other'
  }
  return {
    look(at) {
      const found = find(at)
      if (found === undefined) return undefined
      const { at: place, size, mode } = found
      return {
        kind: kindOf(found), size, mode: mode & 0o7777, uid: image.readUInt32LE(place + INODE.uid), gid: image.readUInt32LE(place + INODE.gid),
        mtimeSeconds: Number(image.readBigInt64LE(place + INODE.mtime)), mtimeNanos: image.readUInt32LE(place + INODE.mtimeNanos),
      }
    },
    link: (at) => Buffer.from(content(known(at))).toString('utf8'),
    names: (at) => [...names(known(at))].map(([name]) => Buffer.from(name, 'latin1').toString('utf8')).filter((name) => name !== '.' && name !== '..'),
    read(at) {
      const found = known(at)
      const bytes = Buffer.alloc(found.size)
      if (found.size === 0) return bytes
      const device = files.findIndex((_, index) => {
        const slot = SUPER.at + SUPER.bytes + index * DEVICE.bytes
        const first = image.readUInt32LE(slot + DEVICE.start)
        return found.start >= first && found.start < first + image.readUInt32LE(slot + DEVICE.blocks)
      })
      const slot = SUPER.at + SUPER.bytes + device * DEVICE.bytes
      const fd = openSync(files[device] ?? '', 'r')
      try {
        readSync(fd, bytes, 0, bytes.length, (found.start - image.readUInt32LE(slot + DEVICE.start)) * BLOCK)
      } finally {
        closeSync(fd)
      }
      return bytes
    },
  }
}
