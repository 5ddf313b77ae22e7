/** On-disk format of EROFS (linux/fs/erofs/erofs_fs.h). Numbers are little-endian, offsets in bytes. */
export const MAGIC = 0xe0f5e1e2
export const BLOCK_BITS = 9
export const SUPER = { at: 1024, bytes: 128, magic: 0, compat: 8, blockBits: 12, root: 14, inodes: 16, buildTime: 24, blocks: 36, metaBlock: 40, incompat: 80, devices: 86, deviceSlot: 88 } as const
/** `mtime` in inodes is the time of change of the content. */
export const COMPAT_MTIME = 2
export const INCOMPAT_DEVICE_TABLE = 8
export const DEVICE = { bytes: 128, blocks: 64, start: 68 } as const
/** Inodes are numbered by where they lie. */
export const SLOT_BYTES = 32
export const INODE = { bytes: 64, format: 0, xattrCount: 2, mode: 4, size: 8, start: 16, number: 20, uid: 24, gid: 28, mtime: 32, mtimeNanos: 40, links: 44 } as const
export const LAYOUT = { plain: 0, inline: 2 } as const
/** Bit 0: the long form of an inode; bits 1 to 3: its layout. */
export const inodeFormat = (layout: number): number => 1 | (layout << 1)
export const NO_BLOCK = 0xffffffff
export const DIRENT_BYTES = 12
export const XATTR_HEADER_BYTES = 12
/** Names of attributes are kept without these. */
export const XATTR_PREFIXES: readonly (readonly [prefix: string, index: number])[] = [['user.', 1], ['system.posix_acl_access', 2], ['system.posix_acl_default', 3], ['trusted.', 4], ['security.', 6]]
