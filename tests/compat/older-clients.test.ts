/** Clients of years ago: docker 20.10 (API 1.41) and Compose v1 (1.29, Python), as Debian 12 has them. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { after, before, describe, it } from 'node:test'
import { compileAsk, serveAgent } from '../agent.ts'
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
  it('docker 20.10 with DOCKER_BUILDKIT=1: files, secrets, an agent, archives, outputs, errors', { skip: docker === undefined ? 'docker.io cannot be had from Debian' : false }, async () => {
    const folder = `${daemon.home}/build`
    mkdirSync(`${folder}/d`, { recursive: true })
    const env = { DOCKER_CONFIG: `${daemon.home}/config`, DOCKER_BUILDKIT: '1' }
    const run = (words: readonly string[], more: { readonly input?: string | Buffer; readonly env?: NodeJS.ProcessEnv } = {}): Promise<Ran> => exec(docker ?? '', ['-H', daemon.host, ...words], { ...more, env: { ...env, ...more.env } })
    const write = (files: Readonly<Record<string, string>>): void => Object.entries(files).forEach(([path, content]) => writeFileSync(`${folder}/${path}`, content))
    write({ Dockerfile: 'FROM busybox AS base\nARG A\nCOPY d /d\nRUN --mount=type=secret,id=s cat /run/secrets/s | wc -c >/size; echo $A >/a; grep host1 /etc/hosts >/h\nFROM base\nLABEL x=y\nCMD ["cat", "/d/f", "/size", "/a", "/h"]\n', 'd/f': 'file\n', key: 'secret' })
    const built = await run(['build', '-t', 'kit:1', '-t', 'kit:2', '--build-arg', 'A=given', '--label', 'l=m', '--add-host', 'host1:10.0.0.9', '--secret', `id=s,src=${folder}/key`, folder])
    assert.equal(built.code, 0, built.err)
    assert.match(built.err, /\[base 2\/3\] COPY d \/d/)
    assert.equal(good(await run(['run', '--rm', 'kit:2'])), 'file\n6\ngiven\n10.0.0.9\thost1')
    assert.equal(good(await run(['inspect', '-f', '{{.Config.Labels}}', 'kit:1'])), 'map[l:m x:y]')
    assert.match((await run(['build', '--progress', 'plain', folder, '--build-arg', 'A=given', '--add-host', 'host1:10.0.0.9'])).err, /COPY d \/d\n#\d+ sha256:\w+\n#\d+ CACHED/)
    assert.match(good(await run(['build', '-q', folder, '--target', 'base', '--build-arg', 'A=given', '--add-host', 'host1:10.0.0.9'])), /^sha256:[0-9a-f]{64}$/)
    using _ = await serveAgent(`${folder}/agent`)
    compileAsk(folder)
    write({ 'Dockerfile.ssh': 'FROM busybox\nCOPY ask /\nRUN --mount=type=ssh,required=true /ask "$SSH_AUTH_SOCK" >/answer\n' })
    const asked = await run(['build', '-t', 'kit:ssh', '--ssh', 'default', '-f', `${folder}/Dockerfile.ssh`, folder], { env: { SSH_AUTH_SOCK: `${folder}/agent` } })
    assert.equal(asked.code, 0, asked.err)
    assert.equal(good(await run(['run', '--rm', 'kit:ssh', 'cat', '/answer'])), '12 0')
    // From standard input: a Dockerfile, an archive.
    const text = await run(['build', '-t', 'kit:in', '-'], { input: 'FROM busybox\nRUN echo in >/in\n' })
    assert.equal(text.code, 0, text.err)
    write({ Dockerfile: 'FROM busybox\nCOPY d/f /f\n' })
    const archive = await run(['build', '-t', 'kit:tar', '-'], { input: execFileSync('tar', ['-C', folder, '-c', 'Dockerfile', 'd']) })
    assert.equal(archive.code, 0, archive.err)
    assert.equal(good(await run(['run', '--rm', 'kit:tar', 'cat', '/f'])), 'file')
    write({ Dockerfile: 'FROM scratch\nCOPY d /d\n' })
    const out = await run(['build', '-o', `${folder}/out`, folder])
    assert.equal(out.code, 0, out.err)
    assert.equal(readFileSync(`${folder}/out/d/f`, 'utf8'), 'file\n')
    write({ Dockerfile: 'FROM busybox\nRUN echo said; exit 3\n' })
    const failed = await run(['build', folder])
    assert.equal(failed.code, 1)
    assert.match(failed.err, /said[\s\S]*did not complete successfully: exit code: 3/)
    for (const name of ['kit:1', 'kit:2', 'kit:ssh', 'kit:in', 'kit:tar']) good(await run(['rmi', '-f', name]))
    good(await run(['image', 'prune', '-f']))
    good(await run(['builder', 'prune', '-af']))
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
