/** Limits of size (`--storage-opt size=…`) on a file system that keeps quotas, and the error on one that does not. */
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, truncateSync, writeFileSync } from 'node:fs'
import { after, before, describe, it } from 'node:test'
import { disposeClean, NOTHING, settledCensus } from '../census.ts'
import { exec, ownClient, type TestDaemon, testDaemon } from '../harness.ts'

const root = process.getuid?.() === 0
const MIB = 1 << 20

/** Makes a file system in a file and mounts it; gives what went wrong. */
async function mounted(kind: 'ext4' | 'btrfs', home: string): Promise<string> {
  writeFileSync(`${home}/disk`, '')
  truncateSync(`${home}/disk`, 512 * MIB)
  mkdirSync(`${home}/data`, { recursive: true })
  const make = kind === 'ext4' ? ['mkfs.ext4', '-q', '-O', 'quota,project', '-E', 'quotatype=prjquota', `${home}/disk`] : ['mkfs.btrfs', '-q', `${home}/disk`]
  for (const command of [make, ['mount', '-o', kind === 'ext4' ? 'loop,prjquota' : 'loop', `${home}/disk`, `${home}/data`]]) {
    const ran = await exec(command[0] ?? '', command.slice(1))
    if (ran.code !== 0) return ran.err
  }
  return ''
}

/** Whether this kernel mounts it at all: its modules may be missing. */
async function missing(kind: 'ext4' | 'btrfs'): Promise<string | false> {
  if (!root) return 'needs root'
  if ((await exec('sh', ['-c', `command -v mkfs.${kind}`])).code !== 0) return `needs mkfs.${kind}`
  const home = mkdtempSync('/tmp/gtest-')
  const why = await mounted(kind, home)
  await exec('umount', [`${home}/data`])
  await exec('rm', ['-rf', home])
  return why === '' ? false : `this kernel keeps no quotas on ${kind}`
}

for (const [driver, kind] of [['overlay2', 'ext4'], ['btrfs', 'btrfs']] as const) {
  describe(`limits of size: ${driver} on ${kind}`, { skip: await missing(kind) }, () => {
    let daemon: TestDaemon
    const { gantry, ok } = ownClient(() => daemon)
    const write = (mebibytes: number): readonly string[] => ['sh', '-c', `dd if=/dev/zero of=/file bs=1M count=${mebibytes} 2>&1 && sync && stat -c %s /file`]
    before(async () => {
      daemon = await testDaemon(['--storage-driver', driver, '--storage-opt', `${driver}.size=64m`], async ({ home }) => (assert.equal(await mounted(kind, home), ''), []))
    })
    after(async () => {
      const left = await settledCensus(daemon)
      await daemon.stop()
      await exec('umount', [`${daemon.home}/data`])
      await daemon.dispose()
      assert.deepEqual({ ...left, mounts: left.mounts.filter((line) => !/ - (btrfs|ext4) /.test(line)) }, NOTHING)
    })
    it('a container writes as much as it may, and no more', async () => {
      assert.match(await ok('run', '--rm', '--storage-opt', 'size=40m', 'busybox', ...write(20)), /20971520/)
      assert.match((await gantry('run', '--rm', '--storage-opt', 'size=40m', 'busybox', ...write(60))).out, /[Qq]uota exceeded|No space left/)
    })
    it('each has its own limit; the daemon gives one to those that name none', async () => {
      await ok('create', '--name', 'small', '--storage-opt', 'size=30m', 'busybox', ...write(40))
      await ok('create', '--name', 'large', '--storage-opt', 'size=100m', 'busybox', ...write(80))
      assert.match((await gantry('start', '-a', 'small')).out, /[Qq]uota exceeded|No space left/)
      assert.match(await ok('start', '-a', 'large'), /83886080/)
      assert.match((await gantry('run', '--rm', 'busybox', ...write(80))).out, /[Qq]uota exceeded|No space left/)
      assert.equal(await ok('inspect', '-f', '{{index .HostConfig.StorageOpt "size"}}', 'small'), '30m')
      await ok('rm', 'small', 'large')
    })
    it('commit takes what was written, and its container has a limit again', async () => {
      await ok('run', '--name', 'one', '--storage-opt', 'size=50m', 'busybox', ...write(10))
      await ok('commit', 'one', 'kept')
      await ok('rm', 'one')
      assert.match((await gantry('run', '--rm', '--storage-opt', 'size=30m', 'kept', 'dd', 'if=/dev/zero', 'of=/more', 'bs=1M', 'count=40')).err, /[Qq]uota exceeded|No space left/)
      await ok('rmi', 'kept')
    })
  })
}

describe('limits of size where there are none', { skip: root ? false : 'needs root' }, () => {
  let daemon: TestDaemon
  const { gantry } = ownClient(() => daemon)
  before(async () => {
    daemon = await testDaemon(['--storage-driver', 'vfs'])
  })
  after(() => disposeClean(daemon))
  it('are refused, and nothing is left', async () => {
    assert.match((await gantry('create', '--storage-opt', 'size=1g', 'busybox')).err, /storage driver vfs has no limits of size/)
    assert.match((await gantry('create', '--storage-opt', 'colour=red', 'busybox')).err, /unknown storage option "colour": expected size/)
    assert.equal((await gantry('ps', '-aq')).out, '')
  })
})
