/** `--metrics-addr`: the daemon and each container as Prometheus reads them. */
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { disposeClean } from '../census.ts'
import { ownClient, type TestDaemon, testDaemon, until } from '../harness.ts'

const skip = process.getuid?.() === 0 ? false : 'needs root'

describe('metrics', { skip }, () => {
  let daemon: TestDaemon
  const { ok } = ownClient(() => daemon)
  const get = (path: string): Promise<string> => daemon.inside('/bin/busybox', 'wget', '-q', '-O-', `http://127.0.0.1:9323${path}`)
  const value = (page: string, name: string, ...labels: readonly string[]): number => Number(page.split('\n').find((line) => line.startsWith(name) && labels.every((label) => line.includes(label)))?.split(' ').at(-1))
  before(async () => {
    daemon = await testDaemon(['--metrics-addr', '127.0.0.1:9323'])
  })
  after(async () => {
    for (const name of (await ok('ps', '-aq')).split('\n').filter((one) => one !== '')) await ok('rm', '-f', name)
    await disposeClean(daemon)
  })
  it('tell of the daemon, and of each container that runs', async () => {
    const before_ = await get('/metrics')
    assert.equal(value(before_, 'engine_daemon_container_states_containers', 'running'), 0)
    assert.match(before_, /^engine_daemon_engine_info\{version="[\d.]+",.*graphdriver="\w+".*\} 1$/m)
    await ok('run', '-d', '--name', 'busy', '-m', '64m', 'busybox', 'sh', '-c', 'while :; do :; done')
    await ok('run', '-d', '--name', 'quiet', '--label', 'a="b', 'busybox', 'sleep', '1000')
    await ok('pause', 'quiet')
    await ok('create', '--name', 'still', 'busybox', 'true')
    await until('it has worked', async () => value(await get('/metrics'), 'gantry_container_cpu_usage_seconds_total', 'name="busy"') > 0.3)
    const page = await get('/metrics')
    for (const [state, count] of [['running', 1], ['paused', 1], ['stopped', 1]] as const) assert.equal(value(page, 'engine_daemon_container_states_containers', `"${state}"`), count, state)
    assert.equal(value(page, 'gantry_container_memory_limit_bytes', 'name="busy"'), 64 << 20)
    assert.ok(Number.isNaN(value(page, 'gantry_container_memory_limit_bytes', 'name="quiet"')))
    assert.ok(value(page, 'gantry_container_memory_usage_bytes', 'name="busy"') > 0)
    assert.ok(value(page, 'gantry_container_processes', 'name="busy"') >= 1)
    assert.ok(value(page, 'gantry_container_network_transmit_bytes_total', 'name="busy"', 'interface="eth0"') >= 0)
    assert.ok(value(page, 'engine_daemon_events_total') > value(before_, 'engine_daemon_events_total'))
    // Every sample has its kind told before it.
    const told = new Set([...page.matchAll(/^# TYPE (\S+) (?:counter|gauge)$/gm)].map((match) => match[1]))
    for (const line of page.split('\n').filter((one) => one !== '' && !one.startsWith('#'))) assert.ok(told.has(line.split(/[{ ]/, 1)[0]), line)
    await assert.rejects(get('/other'))
  })
})
