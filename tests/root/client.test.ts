/** Our own client, where the genuine one is no judge: contexts of both in one store, questions before something is removed. */
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { after, before, describe, it } from 'node:test'
import { NOTHING, settledCensus } from '../census.ts'
import { dockerClient, exec, ownClient, type Ran, root, type TestDaemon, testDaemon, until } from '../harness.ts'

const skip = process.getuid?.() === 0 ? false : 'needs root'

describe('the client', { skip }, () => {
  let daemon: TestDaemon
  const { ok } = ownClient(() => daemon)
  const client = (words: readonly string[], input = ''): Promise<Ran> => exec(`${root}/build/node`, [`${root}/build/gantry.cjs`, ...words], { input, env: { PATH: process.env['PATH'] ?? '', DOCKER_CONFIG: `${daemon.home}/config` } })
  before(async () => {
    daemon = await testDaemon()
  })
  after(async () => {
    const left = await settledCensus(daemon)
    await daemon.dispose()
    assert.deepEqual(left, NOTHING)
  })
  it('contexts: by flag, by variable, as the current one; those of the genuine client are ours, too', async () => {
    assert.equal((await client(['context', 'create', 'mine', '--docker', `host=${daemon.host}`])).out, 'mine\n')
    assert.equal((await client(['--context', 'mine', 'images', '--format', '{{.Repository}}'])).out, 'busybox\n')
    assert.equal((await client(['context', 'use', 'mine'])).code, 0)
    assert.equal((await client(['images', '-q'])).out.length, 13)
    assert.match((await client(['context', 'ls'])).out, new RegExp(`^mine \\* +${daemon.host}`, 'm'))
    assert.match((await client(['--context', 'mine', '-H', daemon.host, 'ps'])).err, /cannot specify both --host and --context/)
    const docker = dockerClient()
    if (docker !== undefined) {
      const env = { PATH: process.env['PATH'] ?? '', DOCKER_CONFIG: `${daemon.home}/config` }
      assert.equal((await exec(docker, ['images', '--format', '{{.Repository}}'], { env })).out, 'busybox\n')
      assert.equal((await exec(docker, ['context', 'create', 'theirs', '--docker', `host=${daemon.host}`], { env })).code, 0)
      assert.equal((await client(['-c', 'theirs', 'images', '--format', '{{.Repository}}'])).out, 'busybox\n')
    }
    assert.match((await client(['context', 'rm', 'mine'])).err, /is in use, set -f flag/)
    assert.equal((await client(['context', 'rm', '-f', 'mine'])).out, 'mine\n')
    assert.equal((await client(['context', 'show'])).out, 'default\n')
  })
  it('prune asks first: no answer and no are no', async () => {
    const asked = (input: string, ...words: readonly string[]): Promise<Ran> => client(['-H', daemon.host, ...words], input)
    await ok('volume', 'create', 'kept')
    await ok('network', 'create', 'net')
    await ok('run', '--name', 'ended', 'busybox', 'true')
    for (const input of ['', 'n\n', 'maybe\n']) {
      const ran = await asked(input, 'system', 'prune')
      assert.equal(ran.code, 1)
      assert.match(ran.out, /^WARNING! This will remove:\n  - all stopped containers\n[\s\S]*\[y\/N\] $/)
      assert.match(ran.err, /canceled/)
    }
    assert.equal(await ok('ps', '-a', '--format', '{{.Names}}'), 'ended')
    const { code, out } = await asked('y\n', 'system', 'prune')
    assert.equal(code, 0)
    assert.match(out, /Deleted Containers:\n[0-9a-f]{64}\n\nDeleted Networks:\nnet\n\nTotal reclaimed space: /)
    assert.equal((await asked('', 'volume', 'prune', '-a')).code, 1)
    assert.match((await asked('', 'volume', 'prune', '-af')).out, /^Deleted Volumes:\nkept\n\nTotal reclaimed space: 0B\n$/)
    for (const what of ['container', 'image', 'network']) assert.equal((await asked('n\n', what, 'prune')).code, 1, what)
  })
})

describe('the configuration', { skip }, () => {
  it('is read again on SIGHUP: what may change does; a bad one changes nothing, and nothing stops', async () => {
    let file = ''
    const daemon = await testDaemon([], async ({ home }) => {
      file = `${home}/daemon.json`
      writeFileSync(file, JSON.stringify({ 'registry-mirrors': ['http://127.0.0.1:5001'] }))
      return ['--config-file', file]
    })
    const { ok } = ownClient(() => daemon)
    try {
      const shown = (): Promise<string> => ok('info', '-f', '{{json .RegistryConfig.Mirrors}} {{json .RegistryConfig.InsecureRegistryCIDRs}}')
      const log = (): string => readFileSync(`${daemon.home}/log`, 'utf8')
      assert.match(await shown(), /^\["http:\/\/127\.0\.0\.1:5001\/"\]/)
      await ok('run', '-d', '--name', 'stays', 'busybox', 'sleep', '1000')
      writeFileSync(file, JSON.stringify({ 'registry-mirrors': ['http://127.0.0.1:5002'], 'insecure-registries': ['10.1.0.0/16'], debug: true, 'max-concurrent-downloads': 7 }))
      process.kill(daemon.pid(), 'SIGHUP')
      await until('it has been read', () => log().includes('configuration reloaded'))
      assert.match(await shown(), /^\["http:\/\/127\.0\.0\.1:5002\/"\].*10\.1\.0\.0\/16/)
      await until('it says more', () => log().includes('debug daemon.engine'))
      for (const bad of ['{"registry-mirrors": ["ftp://x"]}', '{"colour": "red"}', '{', '{"default-runtime": "nosuch"}']) {
        writeFileSync(file, bad)
        const before = log().split('stays as it was').length
        process.kill(daemon.pid(), 'SIGHUP')
        await until(`${bad} is refused`, () => log().split('stays as it was').length > before)
        assert.match(await shown(), /127\.0\.0\.1:5002/)
      }
      assert.match(await ok('events', '--since', '60s', '--until', '0s', '--filter', 'type=daemon', '--format', '{{.Action}} {{index .Actor.Attributes "max-concurrent-downloads"}}'), /^reload 7$/)
      assert.equal(await ok('exec', 'stays', 'echo', 'here'), 'here')
      await ok('rm', '-f', 'stays')
    } finally {
      await daemon.dispose()
    }
  })
})
