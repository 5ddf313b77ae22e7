/** Clients of years ago: docker 20.10 (API 1.41) and Compose v1 (1.29, Python), as Debian 12 has them. */
import assert from 'node:assert/strict'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { after, before, describe, it } from 'node:test'
import { disposeClean } from '../census.ts'
import { exec, type Ran, type TestDaemon, testDaemon, until } from '../harness.ts'
import { debianProgram } from './judges.ts'

const isRoot = process.getuid?.() === 0
const docker = isRoot ? await debianProgram('docker.io', '/usr/bin/docker') : undefined
const compose = '/usr/bin/docker-compose'

const YAML = `version: "3.8"
services:
  web:
    image: busybox
    command: sh -c "echo ready; httpd -f -p 80 -h /www"
    volumes:
      - pages:/www
      - type: tmpfs
        target: /t
    environment: { A: b }
    labels: { l: v }
    healthcheck: { test: ["CMD", "true"], interval: 1s }
    networks: { front: { aliases: [pages] } }
    ports: ["127.0.0.1:18090:80"]
  asks:
    image: busybox
    command: sleep 1000
    depends_on: [web]
    networks: [front]
    restart: unless-stopped
volumes: { pages: {} }
networks: { front: {} }
`

describe('older clients', { skip: isRoot ? false : 'needs root' }, () => {
  let daemon: TestDaemon
  before(async () => {
    daemon = await testDaemon()
  })
  after(() => disposeClean(daemon))
  const good = (ran: Ran): string => {
    assert.equal(ran.code, 0, ran.err)
    return ran.out.trimEnd()
  }
  it('docker 20.10: containers, images, networks, volumes, files, events', { skip: docker === undefined ? 'docker.io cannot be had from Debian' : false }, async () => {
    const run = (...words: readonly string[]): Promise<Ran> => exec(docker ?? '', ['-H', daemon.host, ...words], { env: { DOCKER_CONFIG: `${daemon.home}/config` } })
    assert.match(good(await run('version')), /API version: +1\.41\n[\s\S]*Server:[\s\S]*API version: +1\.56 \(minimum version 1\.24\)/)
    assert.equal(good(await run('run', '--rm', 'busybox', 'echo', 'hello')), 'hello')
    assert.equal((await run('run', '--rm', 'busybox', 'sh', '-c', 'exit 7')).code, 7)
    good(await run('volume', 'create', 'vol'))
    good(await run('network', 'create', 'n'))
    good(await run('run', '-d', '--name', 'one', '-v', 'vol:/v', '--network', 'n', '-p', '80', '--health-cmd', 'true', 'busybox', 'sh', '-c', 'echo said; sleep 1000'))
    assert.equal(good(await run('exec', 'one', 'sh', '-c', 'echo inside > /v/f; cat /v/f')), 'inside')
    assert.equal(good(await run('logs', 'one')), 'said')
    assert.match(good(await run('ps')), /one$/m)
    assert.match(good(await run('port', 'one')), /^80\/tcp -> 0\.0\.0\.0:\d+/)
    assert.match(good(await run('stats', '--no-stream', 'one')), /one/)
    assert.match(good(await run('inspect', '-f', '{{.NetworkSettings.Networks.n.IPAddress}}', 'one')), /^172\./)
    good(await run('cp', '/etc/hostname', 'one:/h'))
    good(await run('commit', 'one', 'made'))
    assert.match(good(await run('images')), /^made /m)
    assert.match(good(await run('history', 'made')), /IMAGE/)
    good(await run('save', '-o', `${daemon.home}/made.tar`, 'made'))
    assert.match(good(await run('load', '-i', `${daemon.home}/made.tar`)), /Loaded image: made:latest/)
    assert.match(good(await run('info')), /Storage Driver/)
    assert.match(good(await run('system', 'df')), /Images/)
    assert.match(good(await run('events', '--since', '1h', '--until', '0s', '--filter', 'event=start')), /container start/)
    good(await run('rm', '-f', 'one'))
    good(await run('rmi', 'made'))
    good(await run('volume', 'rm', 'vol'))
    good(await run('network', 'rm', 'n'))
  })
  it('Compose v1: up, ps, logs, exec, scale, restart, down', { skip: existsSync(compose) ? false : 'docker-compose is not installed' }, async () => {
    const folder = `${daemon.home}/shop`
    mkdirSync(folder)
    writeFileSync(`${folder}/docker-compose.yml`, YAML)
    const run = (...words: readonly string[]): Promise<Ran> => exec(compose, ['-H', daemon.host, '-f', `${folder}/docker-compose.yml`, ...words], { env: { HOME: daemon.home } })
    good(await run('up', '-d'))
    assert.match(good(await run('ps')), /shop_web_1 .*Up/)
    await until('it serves', async () => (await run('exec', '-T', 'asks', 'sh', '-c', 'wget -qO- http://pages 2>&1 | grep -c 404')).out.trim() === '1')
    assert.match(good(await run('logs', 'web')), /ready/)
    assert.equal(good(await run('exec', '-T', 'web', 'sh', '-c', 'echo $A')), 'b')
    good(await run('up', '-d', '--scale', 'asks=3'))
    assert.equal(good(await run('ps', '-q', 'asks')).split('\n').length, 3)
    good(await run('restart', '-t', '0', 'web'))
    good(await run('stop', '-t', '0'))
    good(await run('start'))
    assert.match(good(await run('config')), /pages/)
    good(await run('down', '-v', '-t', '0'))
    assert.deepEqual(await daemon.api.json('GET', '/containers/json', { query: { all: true } }), [])
  })
})
