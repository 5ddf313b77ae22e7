/** One contract for all graph drivers: the same layers come to the same files with all that belongs to them, whatever keeps them. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdirSync, readdirSync, truncateSync, writeFileSync } from 'node:fs'
import { after, before, describe, it } from 'node:test'
import { readTar, type TarEntry } from '../../packages/graph/src/index.ts'
import { NOTHING, settledCensus } from '../census.ts'
import { exec, ownClient, type TestDaemon, testDaemon } from '../harness.ts'
import { imageArchive, type Member, sha256, tarOf } from '../image-archive.ts'

const root = process.getuid?.() === 0
const have = async (program: string): Promise<boolean> => (await exec('sh', ['-c', `command -v ${program}`])).code === 0
const skipBtrfs = !root ? 'needs root' : !(await have('mkfs.btrfs')) ? 'needs btrfs-progs' : false

const dir = (path: string, mode = 0o755, more: Partial<TarEntry> = {}): Member => ({ path, type: 'directory', mode, ...more })
const long = `${'long-name/'.repeat(20)}and-a-file-at-its-end`
const capability = Buffer.from('0100000200040000000000000000000000000000', 'hex')

/** Everything that a layer can hold. */
const LOWER: readonly Member[] = [
  dir('bin'), { path: 'bin/busybox', mode: 0o755, content: await import('node:fs').then((fs) => fs.readFileSync('/bin/busybox')) }, { path: 'bin/sh', type: 'link', mode: 0o777, link: 'busybox' },
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
const UPPER: readonly Member[] = [
  dir('opaque', 0o700), { path: 'opaque/shown', content: 'above' }, { path: 'opaque/.wh..wh..opq' }, { path: '.wh.gone' }, { path: '.wh.gone-directory' },
  { path: 'replaced', content: 'above', mode: 0o600 }, { path: 'becomes-file', content: 'above' }, dir('becomes-directory'), { path: 'becomes-directory/x', content: 'above' },
  dir('kept', 0o711, { uid: 5 }), { path: 'kept/above', content: 'above' }, dir('d', 0o750, { uid: 12, gid: 34, mtimeSeconds: 1_600_000_000 }), { path: 'd/.wh.empty' },
]

/** A file of GNU tar's sparse kind, as tar itself writes it. */
async function sparseLayer(scratch: string): Promise<Buffer> {
  mkdirSync(`${scratch}/s`, { recursive: true })
  const holes = `${scratch}/s/holes`
  writeFileSync(holes, 'start')
  truncateSync(holes, 5_000_000)
  await exec('sh', ['-c', `printf middle | dd of=${holes} bs=1 seek=2500000 conv=notrunc 2>/dev/null; touch -d @1700000000 ${holes} ${scratch}/s`])
  const [posix, old] = [`${scratch}/posix.tar`, `${scratch}/gnu.tar`]
  await exec('sh', ['-c', `cd ${scratch} && tar --sparse --format=posix --owner=0 --group=0 -cf ${posix} s/holes && mv s/holes s/old && tar --sparse --format=gnu --owner=0 --group=0 -cf ${old} s/old`])
  const { readFileSync } = await import('node:fs')
  return Buffer.concat([readFileSync(posix).subarray(0, -10240 + (readFileSync(posix).length % 10240)), readFileSync(old)])
}

type Seen = Readonly<Record<string, string>>

/** All that an export says of each file, its content by digest. */
async function seen(tar: Buffer): Promise<Seen> {
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

const results = new Map<string, Seen>()

for (const [driver, options, skip] of [['erofs', [], root ? false : 'needs root'], ['overlay2', [], root ? false : 'needs root'], ['vfs', [], root ? false : 'needs root'], ['btrfs', [], skipBtrfs]] as const) {
  describe(`graph driver ${driver}`, { skip }, () => {
    let daemon: TestDaemon
    let layers: readonly Buffer[] = []
    let id = ''
    const { gantry, ok } = ownClient(() => daemon)
    before(async () => {
      daemon = await testDaemon(['--storage-driver', driver, ...options], async ({ home }) => {
        if (driver !== 'btrfs') return []
        writeFileSync(`${home}/disk`, '')
        truncateSync(`${home}/disk`, 1 << 30)
        mkdirSync(`${home}/data`)
        for (const command of [['mkfs.btrfs', '-q', `${home}/disk`], ['mount', '-o', 'loop', `${home}/disk`, `${home}/data`]]) assert.equal((await exec(command[0] ?? '', command.slice(1))).code, 0)
        return []
      })
      layers = [tarOf(...LOWER), tarOf(...UPPER), await sparseLayer(`${daemon.home}/scratch`)]
    })
    after(async () => {
      for (const one of (await ok('ps', '-aq')).split('\n').filter((text) => text !== '')) await ok('rm', '-f', one)
      const left = await settledCensus(daemon)
      if (driver === 'btrfs') {
        await daemon.stop()
        await exec('umount', [`${daemon.home}/data`])
      }
      await daemon.dispose()
      assert.deepEqual({ ...left, mounts: left.mounts.filter((line) => !line.includes(' - btrfs ')) }, NOTHING)
    })
    it('is what info and inspect say', async () => {
      assert.equal(await ok('info', '-f', '{{.Driver}}'), driver)
      assert.equal(await ok('image', 'inspect', '-f', '{{.GraphDriver.Name}}', 'busybox'), driver)
    })
    it('keeps owners, modes, times, links, devices, attributes, holes and long names; carries whiteouts out', async () => {
      const made = imageArchive('all:1', layers)
      id = made.id
      writeFileSync(`${daemon.home}/all.tar`, made.archive)
      assert.match(await ok('load', '-i', `${daemon.home}/all.tar`), /Loaded image: all:1/)
      await ok('create', '--name', 'look', 'all:1')
      await ok('export', '-o', `${daemon.home}/export.tar`, 'look')
      const files = await seen((await import('node:fs')).readFileSync(`${daemon.home}/export.tar`))
      results.set(driver, files)
      assert.deepEqual(['gone', 'gone-directory', 'opaque/hidden', 'opaque/also-hidden', 'd/empty', 'becomes-file/x'].filter((path) => files[path] !== undefined), [], 'what the upper layer took away')
      assert.deepEqual(['opaque/shown', 'becomes-directory/x', 'kept/below', 'kept/above', long, Buffer.from('d/ünïcode', 'utf8').toString('latin1')].filter((path) => files[path] === undefined), [])
      assert.match(files['d/setuid'] ?? '', /^file 4755 65534:0 /)
      assert.match(files['d/nanos'] ?? '', / 1700000000\.123456789 /)
      assert.match(files['d/capable'] ?? '', new RegExp(`security\\.capability=${capability.toString('hex')}`))
      assert.match(files['d/disk'] ?? '', /^block 660 .* 253:300 /)
      assert.match(files['d/id-beyond-octal'] ?? '', / 3000000000:4000000 /)
      assert.equal(files['d/second'], files['d/first'])
      assert.match(files['s/holes'] ?? '', / 5000000 /)
      assert.equal((files['s/holes'] ?? '').split(' ').at(-1), (files['s/old'] ?? '-').split(' ').at(-1))
      const first = results.get('erofs')
      if (first !== undefined) assert.deepEqual(files, first, 'the same as with the first driver')
      await ok('rm', 'look')
    })
    it('runs, and sees its files from inside', async () => {
      assert.equal(await ok('run', '--rm', 'all:1', 'sh', '-c', 'cat /d/plain /kept/below /opaque/shown; busybox stat -c %h /d/first; busybox ls /many | busybox wc -l; busybox rm -r /opaque /d/plain && busybox echo x > /d/plain; busybox cat /d/plain'), 'plainbelowabove3\n300\nx')
    })
    it('save gives the very layers back; commit keeps what changed, deletions too; diff names it', async () => {
      await ok('save', '-o', `${daemon.home}/saved.tar`, 'all:1')
      const digests = new Set<string>()
      const { createReadStream } = await import('node:fs')
      for await (const { entry, data } of readTar(createReadStream(`${daemon.home}/saved.tar`))) {
        const chunks: Buffer[] = []
        for await (const chunk of data()) chunks.push(chunk)
        if (entry.type === 'file') digests.add(sha256(Buffer.concat(chunks)))
      }
      for (const layer of layers) assert.ok(digests.has(sha256(layer)), 'each layer byte for byte')
      assert.ok(digests.has(id))
      await ok('run', '--name', 'change', 'all:1', 'sh', '-c', 'busybox rm /d/plain; busybox rm -r /many; echo new > /added; echo more >> /replaced')
      assert.deepEqual((await ok('diff', 'change')).split('\n').filter((line) => !/^. \/(many\/|dev|etc)/.test(line)).sort(), ['A /added', 'C /d', 'C /replaced', 'D /d/plain', 'D /many'])
      await ok('commit', 'change', 'changed:1')
      assert.equal(await ok('run', '--rm', 'changed:1', 'sh', '-c', 'cat /added /replaced; busybox ls /d/plain /many 2>&1 | busybox wc -l'), 'new\nabovemore\n2')
      await ok('rm', 'change')
    })
    it('127 layers and no more', { skip: driver === 'vfs' ? 'a copy of everything for each layer takes too long' : false }, async () => {
      const many = (count: number): Buffer => imageArchive(`many:${count}`, [layers[0] ?? tarOf(), ...Array.from({ length: count - 1 }, (_, n) => tarOf({ path: `layer-${n}`, content: randomBytes(4) }))]).archive
      writeFileSync(`${daemon.home}/many.tar`, many(127))
      await ok('load', '-i', `${daemon.home}/many.tar`)
      assert.equal(await ok('run', '--rm', 'many:127', 'sh', '-c', 'busybox ls / | busybox grep -c layer-'), '126')
      writeFileSync(`${daemon.home}/many.tar`, many(128))
      assert.match((await gantry('load', '-i', `${daemon.home}/many.tar`)).err, /max depth exceeded/)
    })
    it('removal leaves nothing; a restart sweeps what no record names', async () => {
      for (const name of ['changed:1', 'all:1', 'many:127']) await gantry('rmi', '-f', name)
      const home = { erofs: 'erofs', overlay2: 'overlay2', vfs: 'vfs/dir', btrfs: 'btrfs/subvolumes' }[driver]
      mkdirSync(`${daemon.home}/data/${home}/${'0'.repeat(26)}`)
      await daemon.stop()
      await daemon.start()
      const left = readdirSync(`${daemon.home}/data/${home}`).filter((name) => /^[0-9a-f]{26}/.test(name))
      assert.equal(left.length, 1, 'the layer of busybox')
      assert.equal(await ok('run', '--rm', 'busybox', 'echo', 'still'), 'still')
    })
  })
}

describe('graph drivers that cannot run', { skip: root ? false : 'needs root' }, () => {
  for (const [driver, message] of [['aufs', /storage driver aufs cannot be used: (this kernel has no aufs|Docker gave)/], ['devicemapper', /storage driver devicemapper cannot be used: (this kernel has no device-mapper|Docker gave)/], ['btrfs', /storage driver btrfs cannot be used: .* is not on btrfs/], ['zfs', /unknown storage driver "zfs": expected one of erofs, overlay2, btrfs, vfs/]] as const) {
    it(`${driver} says why in one line`, async () => {
      await assert.rejects(testDaemon(['--storage-driver', driver]), message)
    })
  }
})
