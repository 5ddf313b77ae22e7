/** Doors of the daemon: tcp, TLS with client certificates, inherited sockets, and what malformed requests get. */
import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { type AddressInfo, connect, createServer } from 'node:net'
import { after, describe, it } from 'node:test'
import { createTransport } from '../../packages/api/src/index.ts'
import { dockerClient, exec, peer, root, type TestDaemon, testDaemon, until } from '../harness.ts'

const skip = process.getuid?.() !== 0 ? 'needs root' : false
const work = mkdtempSync('/tmp/gtest-tls-')

/** A CA, a server certificate for 127.0.0.1, a client's, and one of a stranger. */
function certificates(): void {
  const openssl = (...args: readonly string[]): void => void execFileSync('openssl', args, { cwd: work, stdio: 'ignore' })
  for (const ca of ['ca', 'stranger-ca']) openssl('req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', `/CN=${ca}`, '-keyout', `${ca}-key.pem`, '-out', `${ca}.pem`)
  for (const [name, ca, usage] of [['server', 'ca', 'serverAuth'], ['client', 'ca', 'clientAuth'], ['stranger', 'stranger-ca', 'clientAuth']] as const) {
    openssl('req', '-newkey', 'rsa:2048', '-nodes', '-subj', `/CN=${name}`, '-keyout', `${name}-key.pem`, '-out', `${name}.csr`)
    writeFileSync(`${work}/${name}.ext`, `extendedKeyUsage=${usage}\nsubjectAltName=IP:127.0.0.1\n`)
    openssl('x509', '-req', '-days', '2', '-in', `${name}.csr`, '-CA', `${ca}.pem`, '-CAkey', `${ca}-key.pem`, '-CAcreateserial', '-extfile', `${name}.ext`, '-out', `${name}.pem`)
  }
}

const send = (path: string, text: string): Promise<string> =>
  new Promise((resolve, reject) => {
    const socket = connect(path, () => socket.write(text))
    let answer = ''
    socket.on('data', (chunk) => {
      answer += chunk.toString()
      socket.end()
    })
    socket.on('close', () => resolve(answer))
    socket.on('error', reject)
    socket.setTimeout(3000, () => socket.destroy())
  })

describe('listeners', { skip }, () => {
  let daemon: TestDaemon | undefined
  after(async () => {
    await daemon?.dispose()
    rmSync(work, { recursive: true, force: true })
  })
  it('tlsverify takes the right certificate and nothing else', async (context) => {
    if (!existsSync('/usr/bin/openssl')) {
      daemon = await testDaemon()
      return context.skip('no openssl on this machine to make certificates with')
    }
    certificates()
    mkdirSync(`${work}/none`, { recursive: true })
    daemon = await testDaemon(['-H', 'tcp://127.0.0.1:12376', '--tlsverify', '--tlscacert', `${work}/ca.pem`, '--tlscert', `${work}/server.pem`, '--tlskey', `${work}/server-key.pem`])
    const holder = daemon.holder
    const inside = (...args: readonly string[]) => exec('nsenter', ['--net', '-t', String(holder), `${root}/build/node`, `${root}/build/gantry.cjs`, '-H', 'tcp://127.0.0.1:12376', ...args])
    const right = ['--tlsverify', '--tlscacert', `${work}/ca.pem`, '--tlscert', `${work}/client.pem`, '--tlskey', `${work}/client-key.pem`]
    assert.equal((await inside(...right, 'ping')).out, 'OK\n')
    assert.equal((await inside(...right, 'run', '--rm', 'busybox', 'echo', 'over TLS')).out, 'over TLS\n')
    assert.notEqual((await inside('--tlsverify', '--tlscacert', `${work}/ca.pem`, '--tlscert', `${work}/stranger.pem`, '--tlskey', `${work}/stranger-key.pem`, 'ping')).code, 0)
    assert.notEqual((await inside('--tls', 'ping')).code, 0)
    assert.notEqual((await inside('ping')).code, 0)
  })
  it('builds of BuildKit come through TLS, too', async (context) => {
    const [docker, buildx] = [dockerClient(), peer('docker-buildx')]
    if (docker === undefined || buildx === undefined || !existsSync(`${work}/client.pem`)) return context.skip('needs openssl, a genuine docker client and buildx in $GANTRY_PEERS')
    mkdirSync(`${work}/config/cli-plugins`, { recursive: true })
    mkdirSync(`${work}/certificates`)
    mkdirSync(`${work}/context`)
    symlinkSync(buildx, `${work}/config/cli-plugins/docker-buildx`)
    for (const [from, to] of [['ca', 'ca'], ['client', 'cert'], ['client-key', 'key']]) copyFileSync(`${work}/${from}.pem`, `${work}/certificates/${to}.pem`)
    writeFileSync(`${work}/context/Dockerfile`, 'FROM busybox\nCOPY f /f\nRUN cat /f\n')
    writeFileSync(`${work}/context/f`, 'x'.repeat(100_000))
    const env = { DOCKER_HOST: 'tcp://127.0.0.1:12376', DOCKER_TLS_VERIFY: '1', DOCKER_CERT_PATH: `${work}/certificates`, DOCKER_CONFIG: `${work}/config`, DOCKER_BUILDKIT: '1' }
    for (let round = 0; round < 3; round++) {
      const ran = await exec('nsenter', ['--net', '-t', String(daemon?.holder), docker, 'build', '--no-cache', '--progress', 'plain', `${work}/context`], { env })
      assert.equal(ran.code, 0, ran.err)
    }
  })
  it('the unix socket is closed to others', () => assert.equal(statSync(daemon?.host.slice('unix://'.length) ?? '').mode & 0o007, 0))
  it('malformed requests are the client’s fault, and the daemon goes on', async () => {
    const path = daemon?.host.slice('unix://'.length) ?? ''
    const status = async (text: string): Promise<number> => Number(/^HTTP\/1\.1 (\d+)/.exec(await send(path, text))?.[1] ?? 0)
    const post = (body: string, type = 'application/json'): string => `POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Type: ${type}\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`
    for (const [what, text, wanted] of [
      ['no such page', 'GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n', 404],
      ['not JSON', post('{'), 400],
      ['a list', post('[1]'), 400],
      ['empty', post(''), 400],
      ['wrong type', post('{"Image":5}'), 400],
      ['too deep', post(`{"a":${'['.repeat(200)}${']'.repeat(200)}}`), 400],
      ['other content type', post('a=b', 'application/x-www-form-urlencoded'), 400],
      ['bad escape', 'GET /containers/%zz/json HTTP/1.1\r\nHost: x\r\n\r\n', 400],
      ['huge header', `GET /info HTTP/1.1\r\nHost: x\r\nX: ${'y'.repeat(40_000)}\r\n\r\n`, 431],
      ['no HTTP', 'hello\r\n\r\n', 400],
      ['unknown filter', 'GET /containers/json?filters=%7B%22x%22%3A%5B%221%22%5D%7D HTTP/1.1\r\nHost: x\r\n\r\n', 400],
    ] as const) assert.equal(await status(text), wanted, what)
    assert.equal(await status('GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n'), 200)
  })
  it('fd://: a socket that somebody else opened', async () => {
    const home = mkdtempSync('/tmp/gtest-')
    const listening = createServer()
    await new Promise<void>((resolve) => listening.listen(0, '127.0.0.1', resolve))
    const { port } = listening.address() as AddressInfo
    const handle = (listening as unknown as { _handle: { fd: number } })._handle
    const holder = spawn('unshare', ['--net', 'sleep', '1000'])
    const child = spawn('sh', ['-c', `LISTEN_PID=$$ LISTEN_FDS=1 exec nsenter --net -t ${holder.pid} ${root}/build/node ${root}/build/gantryd.cjs -H fd:// --data-root ${home}/data --exec-root ${home}/x --pidfile ${home}/pid --cgroup-parent /gtest-fd --bridge none`], { stdio: ['ignore', 'ignore', 'pipe', handle.fd], env: { ...process.env, GANTRY_ROOT: root } })
    // From here on the socket is the daemon's alone.
    listening.close()
    try {
      const api = createTransport({ host: `tcp://127.0.0.1:${port}` })
      await until('it answers', () => api.send('GET', '/_ping').then((response) => (response.resume(), true), () => false))
      assert.equal((await api.json<{ OSType: string }>('GET', '/info')).OSType, 'linux')
      assert.match(readFileSync(`${home}/pid`, 'utf8'), /^\d+\n/)
    } finally {
      child.kill('SIGTERM')
      await until('it has ended', () => child.exitCode !== null || child.signalCode !== null)
      holder.kill('SIGKILL')
      rmSync(home, { recursive: true, force: true })
    }
  })
})
