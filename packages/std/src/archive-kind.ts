/** How an archive is packed; `tar`: it is not. */
export type ArchiveKind = 'gzip' | 'zstd' | 'bzip2' | 'xz' | 'tar'

const MAGIC: readonly (readonly [kind: ArchiveKind, at: number, bytes: Buffer])[] = [
  ['gzip', 0, Buffer.from([0x1f, 0x8b])],
  ['zstd', 0, Buffer.from([0x28, 0xb5, 0x2f, 0xfd])],
  ['bzip2', 0, Buffer.from('BZh')],
  ['xz', 0, Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0])],
  ['tar', 257, Buffer.from('ustar')],
]

/** What an archive's first bytes say of it: 262 tell all kinds apart. Undefined: it is none that is known. */
export function archiveKind(head: Buffer): ArchiveKind | undefined {
  return MAGIC.find(([, at, bytes]) => head.length >= at + bytes.length && bytes.equals(head.subarray(at, at + bytes.length)))?.[0]
}
