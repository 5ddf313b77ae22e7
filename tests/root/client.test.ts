/** Our own client, where the genuine one is no judge: contexts of both in one store, questions before something is removed. */
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { NOTHING, settledCensus } from '../census.ts'
import { dockerClient, exec, ownClient, type Ran, root, type TestDaemon, testDaemon } from '../harness.ts'

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
