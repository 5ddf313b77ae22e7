/** Health checks: what a container says of itself, and who hears of it. */
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { disposeClean } from '../census.ts'
import { exec, ownClient, peer, type TestDaemon, testDaemon, until } from '../harness.ts'
import { mkdirSync, writeFileSync } from 'node:fs'

const skip = process.getuid?.() === 0 ? false : 'needs root'
const compose = peer('docker-compose')

describe('health', { skip }, () => {
  let daemon: TestDaemon
  const { ok } = ownClient(() => daemon)
  before(async () => {
    daemon = await testDaemon()
  })
  after(async () => {
    for (const name of (await ok('ps', '-aq')).split('\n').filter((one) => one !== '')) await ok('rm', '-f', name)
    await disposeClean(daemon)
  })
  const create = async (name: string, health: object, command = 'sleep 1000'): Promise<void> => {
    const { Id } = await daemon.api.json<{ readonly Id: string }>('POST', '/containers/create', { query: { name }, json: { Image: 'busybox', Cmd: ['sh', '-c', command], Healthcheck: health } })
    await daemon.api.send('POST', `/containers/${Id}/start`).then((response) => response.resume())
  }
  const status = (name: string): Promise<string> => ok('inspect', '-f', '{{.State.Health.Status}} {{.State.Health.FailingStreak}}', name)
  const MS = 1_000_000

  it('starting, unhealthy, healthy: with output, events, ps and its filter', async () => {
    await create('one', { Test: ['CMD-SHELL', 'test -e /ok && echo fine'], Interval: 200 * MS, Retries: 2 })
    assert.match(await ok('ps', '--format', '{{.Status}}'), /^Up .* \(health: starting\)$/)
    await until('unhealthy', async () => (await status('one')).startsWith('unhealthy'))
    assert.equal(await ok('ps', '--filter', 'health=unhealthy', '--format', '{{.Names}}'), 'one')
    await ok('exec', 'one', 'touch', '/ok')
    await until('healthy', async () => (await status('one')) === 'healthy 0')
    assert.match(await ok('ps', '--format', '{{.Status}}'), /\(healthy\)$/)
    const { State } = (await daemon.api.json<{ readonly State: { readonly Health: { readonly Log: readonly { readonly ExitCode: number; readonly Output: string }[] } } }>('GET', '/containers/one/json'))
    assert.ok(State.Health.Log.length <= 5)
    assert.deepEqual([State.Health.Log.at(-1)?.ExitCode, State.Health.Log.at(-1)?.Output], [0, 'fine\n'])
    const events = (await exec('sh', ['-c', `timeout 2 ${process.execPath} ${process.cwd()}/build/gantry.cjs -H ${daemon.host} events --since 30s --filter event=health_status --format '{{.Action}}'`])).out.trim().split('\n')
    assert.deepEqual(events, ['health_status: unhealthy', 'health_status: healthy'])
  })
  it('what becomes of a container that is unhealthy: restarted, stopped or killed, where that is asked for', async () => {
    await ok('run', '-d', '--name', 'again', '--health-cmd', 'test ! -e /bad', '--health-interval', '200ms', '--health-retries', '1', '--health-on-failure', 'restart', '--stop-timeout', '0', 'busybox', 'sh', '-c', 'rm -f /bad; sleep 1000')
    await until('healthy', async () => (await status('again')) === 'healthy 0')
    const before = await ok('inspect', '-f', '{{.State.StartedAt}}', 'again')
    await ok('exec', 'again', 'touch', '/bad')
    await until('started again', async () => (await ok('inspect', '-f', '{{.State.StartedAt}}', 'again')) !== before)
    await until('healthy again', async () => (await status('again')) === 'healthy 0')
    await ok('rm', '-f', 'again')
    await ok('run', '-d', '--name', 'dies', '--health-cmd', 'false', '--health-interval', '200ms', '--health-retries', '2', '--health-on-failure', 'kill', 'busybox', 'sleep', '1000')
    assert.equal(await ok('wait', 'dies'), '137')
    await ok('rm', 'dies')
    assert.match((await exec(process.execPath, ['build/gantry.cjs', '-H', daemon.host, 'create', '--health-cmd', 'x', '--health-on-failure', 'sing', 'busybox'])).err, /OnFailure in Healthcheck: expected none, kill, restart, stop, got "sing"/)
  })
  it('what was found holds over a restart of the daemon, and nothing of an earlier life does', async () => {
    await create('stays', { Test: ['CMD', 'test', '-e', '/ok'], Interval: 200 * MS, Retries: 1 }, 'touch /ok; sleep 1000')
    await until('healthy', async () => (await status('stays')) === 'healthy 0')
    await daemon.kill()
    await daemon.start()
    assert.equal(await status('stays'), 'healthy 0')
    await ok('exec', 'stays', 'rm', '/ok')
    await until('unhealthy', async () => (await status('stays')).startsWith('unhealthy'))
    await ok('restart', '-t', '0', 'stays')
    assert.match(await status('stays'), /^(starting|healthy) 0$/)
    await ok('rm', '-f', 'stays')
  })
  it('a probe that takes too long is ended, and counts as failed; in the start period failures count for nothing', async () => {
    await create('slow', { Test: ['CMD', 'sleep', '100'], Interval: 200 * MS, Timeout: 300 * MS, Retries: 1 })
    await until('unhealthy', async () => (await status('slow')) === 'unhealthy 1')
    assert.match(await ok('inspect', '-f', '{{range .State.Health.Log}}{{.Output}}{{end}}', 'slow'), /Health check exceeded timeout \(0\.3s\)/)
    await until('no probe is left', async () => !(await ok('top', 'slow')).includes('sleep 100\n'))
    await create('period', { Test: ['CMD', 'false'], Interval: 100 * MS, StartPeriod: 60_000 * MS, StartInterval: 100 * MS, Retries: 1 })
    await until('three probes', async () => Number(await ok('inspect', '-f', '{{len .State.Health.Log}}', 'period')) >= 3)
    assert.equal(await status('period'), 'starting 0')
  })
  it('our client’s flags; what is left open comes from the image', async () => {
    await ok('run', '-d', '--name', 'flags', '--health-cmd', 'true', '--health-interval', '200ms', 'busybox', 'sleep', '1000')
    await ok('commit', '-c', 'HEALTHCHECK --interval=300ms --retries=7 CMD test -e /there', 'flags', 'checked')
    await until('healthy', async () => (await status('flags')) === 'healthy 0')
    await ok('run', '-d', '--name', 'merged', '--health-retries', '2', 'checked', 'sleep', '1000')
    assert.equal(await ok('inspect', '-f', '{{.Config.Healthcheck.Retries}} {{.Config.Healthcheck.Interval}} {{index .Config.Healthcheck.Test 1}}', 'merged'), '2 300000000 test -e /there')
    await ok('run', '-d', '--name', 'off', '--no-healthcheck', 'checked', 'sleep', '1000')
    assert.equal(await ok('ps', '--filter', 'health=none', '--filter', 'name=off', '--format', '{{.Names}}'), 'off')
    await ok('rm', '-f', 'flags', 'merged', 'off')
    await ok('rmi', 'checked')
  })
  it('NONE switches the image’s check off; what cannot be is refused by name', async () => {
    await create('none', { Test: ['NONE'] })
    assert.equal(await ok('ps', '--filter', 'health=none', '--format', '{{.Names}}'), 'none')
    for (const [health, message] of [[{ Test: ['SOMETIMES'] }, /Unknown healthcheck type SOMETIMES/], [{ Test: ['CMD', 'true'], Interval: 5 }, /Interval in Healthcheck cannot be less than 1ms/], [{ Test: ['CMD', 'true'], Retries: -1 }, /Retries in Healthcheck cannot be negative/]] as const) {
      await assert.rejects(daemon.api.json('POST', '/containers/create', { json: { Image: 'busybox', Healthcheck: health } }), message)
    }
  })
  it('Compose waits for a healthy service, scales, and leaves nothing', { skip: compose === undefined ? 'needs docker-compose in $GANTRY_PEERS' : false }, async () => {
    for (const name of (await ok('ps', '-aq')).split('\n').filter((one) => one !== '')) await ok('rm', '-f', name)
    mkdirSync(`${daemon.home}/project`)
    writeFileSync(`${daemon.home}/project/compose.yaml`, `services:
  db:
    image: busybox
    stop_grace_period: 100ms
    command: sh -c "mkdir -p /data/w; echo stored >/data/w/index.html; sleep 1; touch /ready; httpd -f -p 80 -h /data/w"
    healthcheck: { test: ["CMD", "test", "-e", "/ready"], interval: 200ms, retries: 20 }
    networks: { back: { aliases: [store] } }
    volumes: ["kept:/data"]
  web:
    image: busybox
    stop_grace_period: 100ms
    command: sh -c "mkdir /w; hostname >/w/index.html; httpd -f -p 80 -h /w"
    depends_on: { db: { condition: service_healthy } }
    networks: [front, back]
  proxy:
    image: busybox
    stop_grace_period: 100ms
    command: sleep 1000
    depends_on: [web]
    networks: [front]
    ports: ["18099:80"]
networks:
  front: {}
  back: { internal: true }
volumes:
  kept: {}
`)
    const composed = (...words: readonly string[]): ReturnType<typeof exec> => exec('sh', ['-c', 'cd "$0" && exec "$@"', `${daemon.home}/project`, compose ?? '', ...words], { env: { DOCKER_HOST: daemon.host } })
    const run = async (...words: readonly string[]): Promise<string> => {
      const ran = await composed(...words)
      assert.equal(ran.code, 0, `${words.join(' ')}: ${ran.err}`)
      return ran.out
    }
    await run('up', '-d', '--wait')
    await until('the store serves', async () => (await composed('exec', '-T', 'web', 'wget', '-qO-', 'http://store')).out.trim() === 'stored')
    await until('web serves', async () => (await composed('exec', '-T', 'proxy', 'wget', '-qO-', 'http://web')).code === 0)
    assert.doesNotMatch((await composed('exec', '-T', 'proxy', 'nslookup', 'db')).out, /Name:\s+db/)
    await run('up', '-d', '--scale', 'web=3')
    assert.equal((await run('exec', '-T', 'proxy', 'nslookup', 'web')).match(/^Address: \d+\.\d+\.\d+\.\d+$/gm)?.length, 3)
    await run('restart', 'web')
    assert.match(await run('logs', 'db'), /^$|db-1/)
    await run('down', '-v')
    assert.equal(await ok('ps', '-aq'), '')
    assert.equal(await ok('volume', 'ls', '-q'), '')
    assert.equal(await ok('network', 'ls', '-q', '--filter', 'type=custom'), '')
  })
})
