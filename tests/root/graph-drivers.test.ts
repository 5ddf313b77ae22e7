/** One contract for all graph drivers: the same layers come to the same files with all that belongs to them, whatever keeps them. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { after, before, describe, it } from 'node:test'
import { readTar } from '../../packages/graph/src/index.ts'
import { NOTHING, settledCensus } from '../census.ts'
import { capability, long, LOWER, seen, type Seen, sparseLayer, UPPER } from '../every-file.ts'
import { exec, ownClient, root as checkout, serveBeside, type TestDaemon, testDaemon } from '../harness.ts'
import { imageArchive, sha256, tarOf } from '../image-archive.ts'

const root = process.getuid?.() === 0
const have = async (program: string): Promise<boolean> => (await exec('sh', ['-c', `command -v ${program}`])).code === 0
const skipBtrfs = !root ? 'needs root' : !(await have('mkfs.btrfs')) ? 'needs btrfs-progs' : false

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
      const files = await seen(readFileSync(`${daemon.home}/export.tar`))
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
    it('a pull brings the same files', async () => {
      const registry = await serveBeside(daemon, `${checkout}/build/gantry-registry.cjs`, 'serve', '-l', '127.0.0.1:5000', '--root', `${daemon.home}/registry`)
      try {
        await ok('tag', 'all:1', '127.0.0.1:5000/all:1')
        await ok('push', '-q', '127.0.0.1:5000/all:1')
        await ok('rmi', '-f', 'all:1', '127.0.0.1:5000/all:1')
        const pulled = await ok('pull', '127.0.0.1:5000/all:1')
        assert.equal(pulled.match(/Pull complete/g)?.length, layers.length)
        await ok('create', '--name', 'look', '127.0.0.1:5000/all:1')
        await ok('export', '-o', `${daemon.home}/export.tar`, 'look')
        assert.deepEqual(await seen(readFileSync(`${daemon.home}/export.tar`)), results.get(driver))
        await ok('rm', 'look')
        await ok('tag', '127.0.0.1:5000/all:1', 'all:1')
        await ok('rmi', '127.0.0.1:5000/all:1')
        assert.deepEqual(readdirSync(`${daemon.home}/data/staging`), [])
      } finally {
        registry.kill('SIGTERM')
      }
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
