/** The supervisor: in the daemon, and as a process of its own behind gRPC (`gantry supervisor`, `--containerd`). */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { chmodSync, closeSync, existsSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { after, before, describe, it } from 'node:test'
import { connectSupervisor, parseEvents, type Supervisor } from '../../packages/runtime/src/index.ts'
import { disposeClean, NOTHING, settledCensus } from '../census.ts'
import { exec, ownClient, type Place, root, type TestDaemon, testDaemon, until } from '../harness.ts'

const skip = process.getuid?.() !== 0 ? 'needs root' : false

describe('a supervisor of its own', { skip }, () => {
  let daemon: TestDaemon
  let child: ChildProcess
  let place: Place
  let watcher: Supervisor
  const { gantry, ok } = ownClient(() => daemon)
  const socket = (): string => `${place.home}/s`
  const startSupervisor = async (): Promise<void> => {
    const log = openSync(`${place.home}-supervisor.log`, 'w')
    child = spawn('nsenter', ['--net', '-t', String(place.holder), `${root}/build/node`, `${root}/build/gantry-supervisor.cjs`, '-l', socket(), '--exec-root', `${place.home}/x`, '--cgroup-parent', place.cgroupParent, '--retain-count', '40'], { stdio: ['ignore', log, log], env: { ...process.env, GANTRY_ROOT: root } })
    closeSync(log)
    await until('it serves', () => existsSync(socket()) && readFileSync(`${place.home}-supervisor.log`, 'utf8').includes('ready'))
  }
  const ended = (): Promise<void> => new Promise((resolve) => (child.exitCode !== null || child.signalCode !== null ? resolve() : child.once('exit', () => resolve())))
  before(async () => {
    daemon = await testDaemon([], async (where) => {
      place = where
      await startSupervisor()
      return ['--containerd', `unix://${socket()}`]
    })
    watcher = await connectSupervisor({ address: socket(), runtimeOf: () => undefined, cgroupsPathOf: () => undefined })
  })
  after(async () => {
    await watcher.close()
    for (const id of (await ok('ps', '-aq')).split('\n').filter((one) => one !== '')) await ok('rm', '-f', id)
    const left = await settledCensus(daemon)
    await daemon.dispose()
    child.kill('SIGTERM')
    await ended()
    await exec('rm', ['-f', `${place.home}-supervisor.log`])
    assert.deepEqual(left, NOTHING)
  })

  it('runs, with output, input, exit code and a terminal', async () => {
    const ran = await gantry('run', '--rm', 'busybox', 'sh', '-c', 'echo out; echo err >&2; exit 6')
    assert.deepEqual([ran.code, ran.out, ran.err], [6, 'out\n', 'err\n'])
    assert.equal((await exec('sh', ['-c', `echo in | ${process.execPath} build/gantry.cjs -H ${daemon.host} run --rm -i busybox cat`])).out, 'in\n')
    assert.equal((await exec('script', ['-qec', `${process.execPath} build/gantry.cjs -H ${daemon.host} run --rm -t busybox test -t 0`, '/dev/null'])).code, 0)
    const missing = await gantry('run', '--rm', 'busybox', 'nosuch')
    assert.equal(missing.code, 127)
    assert.match(missing.err, /executable file not found/)
  })
  it('every verb: exec, pause, top, stats, update, stop', async () => {
    await ok('run', '-d', '--name', 'long', '-m', '64m', 'busybox', 'sleep', '1000')
    const inside = await gantry('exec', 'long', 'sh', '-c', 'echo here; exit 5')
    assert.deepEqual([inside.code, inside.out], [5, 'here\n'])
    await ok('pause', 'long')
    await ok('unpause', 'long')
    assert.match(await ok('top', 'long'), /sleep 1000/)
    await ok('update', '--memory', '96m', '--memory-swap', '192m', 'long')
    assert.match(await ok('stats', '--no-stream', '--format', '{{.MemUsage}}', 'long'), /96(\.00)?MiB/)
    assert.match(await ok('run', '--explain', 'busybox', 'true'), /pivot into the root file system/)
  })
  it('is killed and comes back: the container goes on, its exit is learned', async () => {
    child.kill('SIGKILL')
    await ended()
    assert.match(await ok('ps', '--format', '{{.Names}} {{.Status}}'), /^long Up/)
    await startSupervisor()
    await until('it watches the container again, though nobody has asked', () => parseEvents(readFileSync(`${place.home}/x/events.log`, 'utf8')).some((event) => event.type === 'adopt'))
    await until('execs work again', async () => (await gantry('exec', 'long', 'true')).code === 0)
    assert.equal((await gantry('stop', '-t', '0', 'long')).code, 0)
    assert.equal(await ok('inspect', '-f', '{{.State.Status}} {{.State.ExitCode}}', 'long'), 'exited 137')
  })
  it('an end while it was away is learned, too', async () => {
    await ok('run', '-d', '--name', 'short', 'busybox', 'sh', '-c', 'sleep 0.5; exit 9')
    child.kill('SIGKILL')
    await ended()
    await new Promise((resolve) => setTimeout(resolve, 800))
    await startSupervisor()
    await until('the exit is known', async () => (await ok('inspect', '-f', '{{.State.Status}} {{.State.ExitCode}}', 'short')) === 'exited 9')
  })
  it('the daemon is killed and comes back to it', async () => {
    await ok('run', '-d', '--name', 'kept', 'busybox', 'sleep', '1000')
    await daemon.kill()
    await daemon.start()
    assert.equal(await ok('exec', 'kept', 'echo', 'still'), 'still')
    await ok('rm', '-f', 'kept')
  })
  it('events are replayed, also those of an earlier process, and no more than are retained', async () => {
    const seen = parseEvents(readFileSync(`${place.home}/x/events.log`, 'utf8'))
    assert.deepEqual(seen.map((event) => event.sequence), seen.map((_, index) => (seen[0]?.sequence ?? 0) + index), 'no gap, also over restarts')
    const types = new Set(seen.map((event) => event.type))
    for (const type of ['start', 'exit', 'exec', 'exec-exit', 'pause', 'resume', 'adopt'] as const) assert.ok(types.has(type), `${type} is among ${[...types].join()}`)
    for (let n = 0; n < 45; n++) await ok('run', '--rm', 'busybox', 'true')
    await until('the file has been cut', () => readFileSync(`${place.home}/x/events.log`, 'utf8').split('\n').length <= 82)
    const late = await connectSupervisor({ address: socket(), runtimeOf: () => undefined, cgroupsPathOf: () => undefined })
    await until('the replay has come', () => late.events.replay(0).length >= 40)
    await late.close()
    const metrics = await watcher.metrics()
    assert.ok((metrics.timings['start']?.count ?? 0) >= 45)
    assert.equal(metrics.counts['queued'], 0)
  })
  it('one exit event for every start, also when many end at once', async () => {
    const from = parseEvents(readFileSync(`${place.home}/x/events.log`, 'utf8')).at(-1)?.sequence ?? 0
    const names = Array.from({ length: 16 }, (_, n) => `many${n}`)
    await Promise.all(names.map((name) => ok('run', '-d', '--name', name, 'busybox', 'sleep', '1000')))
    await ok('kill', ...names)
    const events = (): readonly string[] => parseEvents(readFileSync(`${place.home}/x/events.log`, 'utf8')).filter((event) => event.sequence > from && event.type === 'exit').map((event) => event.id)
    await until('all have ended', () => events().length >= names.length)
    assert.equal(new Set(events()).size, names.length)
    assert.equal(events().length, names.length)
    await ok('rm', ...names)
  })
})

describe('the supervisor in the daemon', { skip }, () => {
  let daemon: TestDaemon
  let script = ''
  const { gantry, ok } = ownClient(() => daemon)
  before(async () => {
    daemon = await testDaemon([], async ({ home }) => {
      script = `${home}/slow`
      writeFileSync(script, '#!/bin/sh\ncase "$*" in *" create "*) exec sleep 98763;; esac\n')
      chmodSync(script, 0o755)
      return ['--start-timeout', '500ms', '--add-runtime', `slow=${script}`]
    })
  })
  after(async () => {
    for (const id of (await ok('ps', '-aq')).split('\n').filter((one) => one !== '')) await ok('rm', '-f', id)
    await disposeClean(daemon)
  })
  it('a start that takes too long is given up and leaves nothing', async () => {
    const ran = await gantry('run', '--rm', '--runtime', 'slow', 'busybox', 'true')
    assert.equal(ran.code, 125)
    assert.match(ran.err, /did not start before the timeout of 0\.5 s/)
    await until('its processes are gone', async () => (await exec('pgrep', ['-fx', 'sleep 98763'])).code === 1)
    assert.equal((await gantry('run', '--rm', 'busybox', 'true')).code, 0)
  })
  it('lack of memory is told of while the container goes on', async () => {
    const events = spawn(`${root}/build/node`, [`${root}/build/gantry.cjs`, '-H', daemon.host, 'events', '--since', '1m', '--filter', 'event=oom'], { stdio: ['ignore', 'pipe', 'ignore'] })
    let told = ''
    events.stdout.on('data', (chunk: Buffer) => {
      told += chunk.toString()
    })
    await ok('run', '-d', '--name', 'hungry', '-m', '16m', 'busybox', 'sh', '-c', 'sleep 0.3; (x=a; while true; do x=$x$x; done); sleep 1000')
    await until('the event has come', () => /oom/.test(told))
    assert.equal(await ok('inspect', '-f', '{{.State.Status}}', 'hungry'), 'running')
    events.kill('SIGTERM')
  })
})
