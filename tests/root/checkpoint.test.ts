/** Checkpoints through CRIU, where it is installed and takes this kernel; a clear error where it is not. */
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { after, before, describe, it } from 'node:test'
import { disposeClean } from '../census.ts'
import { dockerClient, exec, ownClient, type TestDaemon, testDaemon, until } from '../harness.ts'

const root = process.getuid?.() === 0
const criu = (process.env['PATH'] ?? '').split(':').some((directory) => existsSync(`${directory}/criu`))
const works = root && criu && (await exec('criu', ['check'])).code === 0
const skip = !root ? 'needs root' : !criu ? 'needs criu (Debian package)' : !works ? 'this criu does not take this kernel (criu check)' : false
const COUNTER = 'i=0; while :; do echo tick $i; i=$((i+1)); sleep 0.1; done'

describe('checkpoints', { skip }, () => {
  let daemon: TestDaemon
  const { gantry, ok } = ownClient(() => daemon)
  before(async () => {
    daemon = await testDaemon(['--experimental'])
  })
  after(async () => {
    for (const id of (await ok('ps', '-aq')).split('\n').filter((one) => one !== '')) await ok('rm', '-f', id)
    await disposeClean(daemon)
  })
  const ticks = async (name: string): Promise<readonly number[]> => [...(await gantry('logs', name)).out.matchAll(/^tick (\d+)$/gm)].map((match) => Number(match[1]))

  it('a container is frozen, ends, and goes on where it was: memory, files, log', async () => {
    await ok('run', '-d', '--name', 'box', '-m', '64m', 'busybox', 'sh', '-c', `echo kept > /file; ${COUNTER}`)
    await until('it counts', async () => (await ticks('box')).length > 3)
    await ok('checkpoint', 'create', 'box', 'one')
    assert.equal(await ok('inspect', '-f', '{{.State.Status}}', 'box'), 'exited')
    const before = await ticks('box')
    assert.match(await ok('checkpoint', 'ls', 'box'), /one/)
    await ok('start', '--checkpoint', 'one', 'box')
    await until('it goes on', async () => (await ticks('box')).length > before.length + 3)
    const now = await ticks('box')
    assert.deepEqual(now, now.map((_, index) => index), 'no number is missing, none comes twice')
    assert.equal(await ok('exec', 'box', 'cat', '/file'), 'kept')
    assert.equal((await exec('script', ['-qec', `${process.execPath} build/gantry.cjs -H ${daemon.host} exec -t box test -t 0`, '/dev/null'])).code, 0)
    assert.match(await ok('exec', 'box', 'ip', '-4', 'addr', 'show', 'eth0'), /inet 172\./)
    assert.match(await ok('stats', '--no-stream', '--format', '{{.MemUsage}}', 'box'), /64(\.00)?MiB/)
    await ok('stop', '-t', '0', 'box')
    assert.equal(await ok('inspect', '-f', '{{.State.ExitCode}}', 'box'), '137')
  })
  it('--leave-running; from one checkpoint more than once', async () => {
    await ok('run', '-d', '--name', 'twice', 'busybox', 'sh', '-c', COUNTER)
    await until('it counts', async () => (await ticks('twice')).length > 3)
    await ok('checkpoint', 'create', '--leave-running', 'twice', 'two')
    assert.equal(await ok('inspect', '-f', '{{.State.Status}}', 'twice'), 'running')
    for (let n = 0; n < 2; n++) {
      await ok('kill', 'twice')
      await ok('start', '--checkpoint', 'two', 'twice')
      const before = (await ticks('twice')).length
      await until('it goes on', async () => (await ticks('twice')).length > before)
    }
    await ok('checkpoint', 'rm', 'twice', 'two')
    assert.match((await gantry('start', '--checkpoint', 'two', 'box')).err, /no checkpoint in/)
  })
  it('a killed daemon finds a restored container again', async () => {
    await daemon.kill()
    await daemon.start()
    assert.equal(await ok('exec', 'twice', 'echo', 'still'), 'still')
    await ok('rm', '-f', 'twice')
  })
  it('what cannot be frozen is refused by name', async () => {
    await ok('run', '-d', '-t', '--name', 'tty', 'busybox', 'sleep', '1000')
    assert.match((await gantry('checkpoint', 'create', 'tty', 'x')).err, /a container with a terminal is not supported/)
    assert.match((await gantry('checkpoint', 'create', 'tty', '../x')).err, /Invalid checkpoint ID/)
    assert.match((await gantry('checkpoint', 'create', 'box', 'x')).err, /is not running/)
    await ok('rm', '-f', 'tty')
  })
  const docker = dockerClient()
  it('start -a: what comes after is shown, the exit code is told; so on a second start, too', async () => {
    await ok('run', '-d', '--name', 'finite', 'busybox', 'sh', '-c', 'i=0; while echo tick $i; [ ! -e /end ]; do i=$((i+1)); sleep 0.1; done; exit 7')
    await until('it counts', async () => (await ticks('finite')).length > 3)
    await ok('checkpoint', 'create', 'finite', 'one')
    const before = await ticks('finite')
    const attached = gantry('start', '-a', '--checkpoint', 'one', 'finite')
    await until('it goes on', async () => (await ticks('finite')).length > before.length + 3)
    await ok('exec', 'finite', 'touch', '/end')
    const rest = await attached
    assert.equal(rest.code, 7, rest.err)
    const last = (await ticks('finite')).at(-1) ?? 0
    assert.equal(rest.out, Array.from({ length: last + 1 - before.length }, (_, index) => `tick ${before.length + index}\n`).join(''))
    const again = await gantry('start', '-a', 'finite')
    assert.deepEqual([again.code, again.out, again.err], [7, 'tick 0\n', ''])
    await ok('rm', 'finite')
  })

  it('the genuine client makes and uses them', { skip: docker === undefined ? 'needs the docker client' : false }, async () => {
    const run = async (...words: readonly string[]): Promise<string> => {
      const ran = await exec(docker ?? '', ['-H', daemon.host, ...words])
      assert.equal(ran.code, 0, ran.err)
      return ran.out.trim()
    }
    await run('run', '-d', '--name', 'genuine', 'busybox', 'sh', '-c', COUNTER)
    await until('it counts', async () => (await ticks('genuine')).length > 3)
    await run('checkpoint', 'create', 'genuine', 'c1')
    assert.match(await run('checkpoint', 'ls', 'genuine'), /c1/)
    await run('start', '--checkpoint', 'c1', 'genuine')
    const before = (await ticks('genuine')).length
    await until('it goes on', async () => (await ticks('genuine')).length > before)
    await run('rm', '-f', 'genuine')
  })
})

describe('checkpoints without CRIU', { skip: root ? false : 'needs root' }, () => {
  it('are refused with the way to have them', async () => {
    const path = process.env['PATH']
    process.env['PATH'] = '/nowhere'
    const { checkpointTool } = await import('../../packages/libcontainer/src/index.ts')
    try {
      assert.throws(() => checkpointTool(), /CRIU is not installed; try: apt-get install criu/)
    } finally {
      process.env['PATH'] = path
    }
  })
})
