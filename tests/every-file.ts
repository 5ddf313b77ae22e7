/** Layers with every kind of file, and how to see whether an engine kept them. */
import { mkdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { readTar, type TarEntry } from '../packages/graph/src/index.ts'
import { exec } from './harness.ts'
import { type Member, sha256 } from './image-archive.ts'

const dir = (path: string, mode = 0o755, more: Partial<TarEntry> = {}): Member => ({ path, type: 'directory', mode, ...more })
export const long = `${'long-name/'.repeat(20)}and-a-file-at-its-end`
export const capability = Buffer.from('0100000200040000000000000000000000000000', 'hex')

/** Everything that a layer can hold. */
export const LOWER: readonly Member[] = [
  dir('bin'), { path: 'bin/busybox', mode: 0o755, content: readFileSync('/bin/busybox') }, { path: 'bin/sh', type: 'link', mode: 0o777, link: 'busybox' },
  dir('d', 0o750, { uid: 12, gid: 34, mtimeSeconds: 1_600_000_000 }), { path: 'd/plain', content: 'plain', uid: 1000, gid: 1001, mode: 0o640, mtimeSeconds: 1_500_000_000 },
  { path: 'd/setuid', content: 'x', mode: 0o4755, uid: 65534 }, { path: 'd/setgid', content: 'x', mode: 0o2755, gid: 65534 }, dir('d/sticky', 0o1777),
  { path: 'd/nanos', content: 'exact', mtimeSeconds: 1_700_000_000, mtimeNanos: 123_456_789 }, { path: 'd/before-1970', content: 'old', mtimeSeconds: -1000 },
  { path: 'd/first', content: 'linked' }, { path: 'd/second', type: 'hardlink', link: 'd/first' }, { path: 'other-place', type: 'hardlink', link: 'd/first' },
  { path: 'd/link', type: 'link', mode: 0o777, link: '../d/plain', uid: 7, mtimeSeconds: 1_400_000_000 }, { path: 'd/far', type: 'link', mode: 0o777, link: `/${'a-long-target/'.repeat(60)}end` },
  { path: 'd/null', type: 'character', mode: 0o666, major: 1, minor: 3 }, { path: 'd/disk', type: 'block', mode: 0o660, major: 253, minor: 300 }, { path: 'd/fifo', type: 'fifo', mode: 0o622 },
  { path: 'd/capable', content: 'x', mode: 0o755, xattrs: new Map([['security.capability', capability]]) }, { path: 'd/noted', content: 'x', xattrs: new Map([['user.note', Buffer.from('some text')]]) },
  { path: long, content: 'deep' }, { path: Buffer.from('d/ünïcode', 'utf8').toString('latin1'), content: 'bytes' }, { path: 'd/empty' },
  { path: 'd/big', content: Buffer.alloc(3_000_000, 'big ') }, ...Array.from({ length: 300 }, (_, n): Member => ({ path: `many/${n}`, content: String(n) })),
  { path: 'd/id-beyond-octal', content: 'x', uid: 3_000_000_000, gid: 4_000_000 },
  dir('opaque'), { path: 'opaque/hidden', content: 'below' }, dir('opaque/also-hidden'), { path: 'opaque/also-hidden/x', content: 'below' },
  { path: 'gone', content: 'below' }, dir('gone-directory'), { path: 'gone-directory/x', content: 'below' }, { path: 'replaced', content: 'below' }, dir('becomes-file'), { path: 'becomes-file/x', content: 'below' }, { path: 'becomes-directory', content: 'below' },
  dir('kept', 0o711, { uid: 5 }), { path: 'kept/below', content: 'below' },
]
export const UPPER: readonly Member[] = [
  dir('opaque', 0o700), { path: 'opaque/shown', content: 'above' }, { path: 'opaque/.wh..wh..opq' }, { path: '.wh.gone' }, { path: '.wh.gone-directory' },
  { path: 'replaced', content: 'above', mode: 0o600 }, { path: 'becomes-file', content: 'above' }, dir('becomes-directory'), { path: 'becomes-directory/x', content: 'above' },
  dir('kept', 0o711, { uid: 5 }), { path: 'kept/above', content: 'above' }, dir('d', 0o750, { uid: 12, gid: 34, mtimeSeconds: 1_600_000_000 }), { path: 'd/.wh.empty' },
]

/** A file of GNU tar's sparse kind, as tar itself writes it. */
export async function sparseLayer(scratch: string): Promise<Buffer> {
  mkdirSync(`${scratch}/s`, { recursive: true })
  const holes = `${scratch}/s/holes`
  writeFileSync(holes, 'start')
  truncateSync(holes, 5_000_000)
  await exec('sh', ['-c', `printf middle | dd of=${holes} bs=1 seek=2500000 conv=notrunc 2>/dev/null; touch -d @1700000000 ${holes} ${scratch}/s`])
  const [posix, old] = [`${scratch}/posix.tar`, `${scratch}/gnu.tar`]
  await exec('sh', ['-c', `cd ${scratch} && tar --sparse --format=posix --owner=0 --group=0 -cf ${posix} s/holes && mv s/holes s/old && tar --sparse --format=gnu --owner=0 --group=0 -cf ${old} s/old`])
  return Buffer.concat([readFileSync(posix).subarray(0, -10240 + (readFileSync(posix).length % 10240)), readFileSync(old)])
}

/** What is seen of each file, by its path. */
export type Seen = Readonly<Record<string, string>>

/** All that an export says of each file, its content by digest. */
export async function seen(tar: Buffer): Promise<Seen> {
  const files: Record<string, string> = {}
  const inodes = new Map<string, string>()
  for await (const { entry, data } of readTar((async function* () { yield tar })())) {
    const chunks: Buffer[] = []
    for await (const chunk of data()) chunks.push(chunk)
    const path = entry.path.replace(/^\.\//, '').replace(/\/$/, '')
    if (/^(dev|proc|sys|etc|\.dockerenv)(\/|$)/.test(path) || path === '' || path === '.') continue
    const content = entry.type === 'file' ? sha256(Buffer.concat(chunks)) : ''
    const link = entry.type === 'hardlink' ? '' : entry.link
    const same = entry.type === 'hardlink' ? (inodes.get(entry.link.replace(/^\.\//, '')) ?? '?') : `${entry.type} ${entry.mode.toString(8)} ${entry.uid}:${entry.gid} ${entry.size} ${entry.mtimeSeconds}.${entry.mtimeNanos} ${link} ${entry.major}:${entry.minor} ${[...entry.xattrs].map(([name, value]) => `${name}=${value.toString('hex')}`).join(',')} ${content}`
    inodes.set(path, same)
    // Directories that no layer tells of have the time at which they were made.
    files[path] = /^(long-name|many$|s$)/.test(path) && entry.type === 'directory' ? 'implied' : same
  }
  return files
}
