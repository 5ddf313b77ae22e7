/** Mounts between the host and containers: what comes later, in which direction, and with which flags. */
import assert from 'node:assert/strict'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { after, before, describe, it } from 'node:test'
import { disposeClean } from '../census.ts'
import { exec, ownClient, root, type TestDaemon, testDaemon } from '../harness.ts'

const skip = process.getuid?.() !== 0 ? 'needs root' : false

describe('mounts', { skip }, () => {
  let daemon: TestDaemon
  let shared = ''
  const { gantry, ok } = ownClient(() => daemon)
  const host = async (...args: readonly string[]): Promise<void> => {
    const ran = await exec(args[0] ?? '', args.slice(1))
    assert.equal(ran.code, 0, ran.err)
  }
  before(async () => {
    daemon = await testDaemon()
    shared = `${daemon.home}/shared`
    mkdirSync(shared)
    // Mounted after the daemon has started: containers see it all the same.
    await host('mount', '-t', 'tmpfs', 'gtest', shared)
    await host('mount', '--make-shared', shared)
    mkdirSync(`${shared}/a`)
    mkdirSync(`${shared}/b`)
  })
  after(async () => {
    for (const id of (await ok('ps', '-aq')).split('\n').filter((one) => one !== '')) await ok('rm', '-f', id)
    await exec('umount', ['-R', shared])
    await disposeClean(daemon)
  })

  it('a mount that is younger than the daemon', async () => {
    writeFileSync(`${shared}/file`, 'young')
    assert.equal(await ok('run', '--rm', '-v', `${shared}:/s`, 'busybox', 'cat', '/s/file'), 'young')
  })
  it('rprivate: nothing passes either way', async () => {
    await ok('run', '-d', '--name', 'private', '--privileged', '-v', `${shared}:/s`, 'busybox', 'sleep', '100')
    await ok('exec', 'private', 'sh', '-c', 'mount -t tmpfs x /s/b && touch /s/b/inside')
    assert.equal(existsSync(`${shared}/b/inside`), false)
    await ok('rm', '-f', 'private')
  })
  it('rslave: the host’s mounts come in, none goes out', async () => {
    await ok('run', '-d', '--name', 'slave', '--privileged', '-v', `${shared}:/s:rslave`, 'busybox', 'sleep', '100')
    await host('mount', '-t', 'tmpfs', 'gtest', `${shared}/a`)
    writeFileSync(`${shared}/a/late`, 'late')
    assert.equal(await ok('exec', 'slave', 'cat', '/s/a/late'), 'late')
    await ok('exec', 'slave', 'sh', '-c', 'mount -t tmpfs x /s/b && touch /s/b/inside')
    assert.equal(existsSync(`${shared}/b/inside`), false)
    await ok('rm', '-f', 'slave')
    await host('umount', `${shared}/a`)
  })
  it('rshared: what is mounted inside is there on the host, also after the container', async () => {
    await ok('run', '--rm', '--privileged', '-v', `${shared}:/s:rshared`, 'busybox', 'sh', '-c', 'mount -t tmpfs x /s/b && touch /s/b/inside')
    assert.equal(existsSync(`${shared}/b/inside`), true)
    await host('umount', `${shared}/b`)
  })
  it('--ipc container: shares memory and /dev/shm of a donor that agrees', async () => {
    await ok('run', '-d', '--name', 'donor', '--ipc', 'shareable', 'busybox', 'sh', '-c', 'echo given > /dev/shm/file; sleep 100')
    await ok('run', '-d', '--name', 'selfish', 'busybox', 'sleep', '100')
    assert.equal(await ok('run', '--rm', '--ipc', 'container:donor', 'busybox', 'sh', '-c', 'cat /dev/shm/file; echo back > /dev/shm/back'), 'given')
    assert.equal(await ok('exec', 'donor', 'cat', '/dev/shm/back'), 'back')
    assert.equal(await ok('run', '--rm', '--ipc', 'container:donor', '--pid', 'container:donor', 'busybox', 'readlink', '/proc/self/ns/ipc'), await ok('exec', 'donor', 'readlink', '/proc/self/ns/ipc'))
    assert.match((await gantry('run', '--rm', '--ipc', 'container:selfish', 'busybox', 'true')).err, /non-shareable IPC/)
    assert.match((await gantry('run', '--rm', '--ipc', 'container:nobody', 'busybox', 'true')).err, /No such container: nobody/)
    await ok('rm', '-f', 'donor', 'selfish')
  })
  it('--mount with bind-propagation', async () => {
    await ok('run', '--rm', '--privileged', '--mount', `type=bind,source=${shared},target=/s,bind-propagation=rshared`, 'busybox', 'sh', '-c', 'mount -t tmpfs x /s/b && touch /s/b/inside')
    assert.equal(existsSync(`${shared}/b/inside`), true)
    await host('umount', `${shared}/b`)
  })
  it('a source that is not shared is an error that says so', async () => {
    const own = `${daemon.home}/own`
    mkdirSync(own)
    await host('mount', '-t', 'tmpfs', 'gtest', own)
    await host('mount', '--make-private', own)
    const ran = await gantry('run', '--rm', '-v', `${own}:/s:rshared`, 'busybox', 'true')
    assert.equal(ran.code, 125)
    assert.match(ran.err, new RegExp(`path ${own} is mounted on ${own} but it is not a shared mount`))
    await host('umount', own)
  })
})
