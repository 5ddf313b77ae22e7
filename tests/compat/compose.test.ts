/** Compose v2, as a plugin of our own client: all that a project has but builds. */
import assert from 'node:assert/strict'
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { after, before, describe, it } from 'node:test'
import { disposeClean } from '../census.ts'
import { exec, peer, type Ran, root, type TestDaemon, testDaemon, until } from '../harness.ts'

const plugin = peer('docker-compose')
const skip = process.getuid?.() !== 0 ? 'needs root' : plugin === undefined ? 'needs docker-compose in $GANTRY_PEERS' : false

const YAML = `services:
  db:
    image: busybox
    command: sh -c "sleep 1; touch /ready; exec sleep 1000"
    healthcheck: { test: ["CMD", "test", "-e", "/ready"], interval: 200ms, retries: 50 }
    volumes: ["data:/data"]
  web:
    image: busybox
    command: sh -c "echo serving; exec httpd -f -p 80 -h /www"
    depends_on: { db: { condition: service_healthy } }
    configs: [{ source: page, target: /www/index.html }]
    secrets: [key]
    environment: { A: b }
    deploy: { resources: { limits: { memory: 64M } } }
    networks: { default: { aliases: [pages] } }
    stop_grace_period: 0s
  once:
    image: busybox
    command: "true"
    depends_on: [web]
  tools:
    image: busybox
    command: sleep 1000
    profiles: [debug]
    stop_grace_period: 0s
configs: { page: { file: ./page } }
secrets: { key: { file: ./key } }
volumes: { data: {} }
`

describe('Compose v2', { skip }, () => {
  let daemon: TestDaemon
  const compose = (...words: readonly string[]): Promise<Ran> => exec(`${root}/build/node`, ['--', `${root}/build/gantry.cjs`, '-H', daemon.host, 'compose', '--project-directory', `${daemon.home}/shop`, '--progress', 'plain', ...words], { env: { DOCKER_CONFIG: `${daemon.home}/config` } })
  const good = async (...words: readonly string[]): Promise<string> => {
    const ran = await compose(...words)
    assert.equal(ran.code, 0, `${words.join(' ')}: ${ran.err}`)
    return ran.out.trimEnd()
  }
  before(async () => {
    daemon = await testDaemon()
    mkdirSync(`${daemon.home}/shop`)
    mkdirSync(`${daemon.home}/config/cli-plugins`, { recursive: true })
    symlinkSync(plugin ?? '', `${daemon.home}/config/cli-plugins/docker-compose`)
    writeFileSync(`${daemon.home}/shop/compose.yaml`, YAML)
    writeFileSync(`${daemon.home}/shop/page`, 'hello from compose\n')
    writeFileSync(`${daemon.home}/shop/key`, 'secret\n')
  })
  after(() => disposeClean(daemon))
  it('up waits for health and for what has to end; a profile stays away', async () => {
    await good('up', '-d', '--wait', 'db', 'web')
    await good('up', '-d')
    assert.deepEqual((await good('ps', '-a', '--format', '{{.Service}} {{.State}}')).split('\n').toSorted(), ['db running', 'once exited', 'web running'])
    assert.match(await good('ps', '--format', '{{.Status}}', 'db'), /\(healthy\)/)
    assert.equal(await good('exec', '-T', 'db', 'wget', '-qO-', 'http://pages'), 'hello from compose')
    assert.equal(await good('exec', '-T', 'web', 'cat', '/run/secrets/key'), 'secret')
  })
  it('logs, exec, run, cp, top, port of nothing, config', async () => {
    assert.match(await good('logs', '--no-log-prefix', 'web'), /^serving$/m)
    assert.equal((await compose('exec', '-T', 'web', 'sh', '-c', 'exit 7')).code, 7)
    assert.equal(await good('run', '--rm', '-T', 'web', 'sh', '-c', 'echo $A'), 'b')
    await good('cp', `${daemon.home}/shop/key`, 'web:/tmp/copied')
    assert.equal(await good('exec', '-T', 'web', 'cat', '/tmp/copied'), 'secret')
    assert.match(await good('top', 'web'), /httpd/)
    assert.match(await good('config', '--services'), /db/)
    assert.match(await good('images'), /busybox/)
  })
  it('scale, restart, stop, start, pause, kill, profiles, what is there already stays', async () => {
    await good('up', '-d', '--scale', 'web=3', '--no-recreate')
    assert.equal((await good('ps', '-q', 'web')).split('\n').length, 3)
    await good('scale', 'web=1')
    const before = await good('ps', '-q', 'web')
    await good('up', '-d')
    assert.equal(await good('ps', '-q', 'web'), before)
    await good('restart', '-t', '0', 'web')
    await good('pause', 'db')
    await good('unpause', 'db')
    await good('stop', '-t', '0')
    await good('start')
    await good('--profile', 'debug', 'up', '-d', 'tools')
    assert.match(await good('--profile', 'debug', 'ps', '--services'), /tools/)
    await good('kill', 'db')
    await until('it has ended', async () => !(await good('ps', '--services')).includes('db'))
  })
  it('a change makes a container anew; down leaves nothing', async () => {
    const before = await good('ps', '-q', 'web')
    writeFileSync(`${daemon.home}/shop/compose.yaml`, YAML.replace('A: b', 'A: c'))
    await good('up', '-d', 'web')
    assert.notEqual(await good('ps', '-q', 'web'), before)
    await good('--profile', 'debug', 'down', '-v', '-t', '0', '--remove-orphans')
    assert.deepEqual(await daemon.api.json('GET', '/containers/json', { query: { all: true } }), [])
    assert.deepEqual((await daemon.api.json<{ Volumes: unknown[] | null }>('GET', '/volumes')).Volumes ?? [], [])
  })
})
