/** Images between daemons and registries, and what becomes of them when something breaks. */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { copyFileSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { after, before, describe, it } from 'node:test'
import { disposeClean } from '../census.ts'
import { dockerClient, exec, ownClient, root, serveBeside, sleep, type TestDaemon, testDaemon, until } from '../harness.ts'
import { imageArchive, sha256, tarOf } from '../image-archive.ts'

const skip = process.getuid?.() === 0 ? false : 'needs root'
const have = async (program: string): Promise<boolean> => (await exec('sh', ['-c', `command -v ${program}`])).code === 0
const skipSkopeo = dockerClient() === undefined || !(await have('skopeo')) ? 'needs skopeo and the docker client' : false
const skipSlow = (await have('tc')) ? false : 'needs tc (Debian package iproute2)'
const skipTls = (await have('openssl')) ? false : 'needs openssl'
const PORT = 5000
const NAME = `127.0.0.1:${PORT}`

const layersOf = (daemon: TestDaemon): number => readdirSync(`${daemon.home}/data/erofs`).filter((name) => /^[0-9a-f]{26}$/.test(name)).length

describe('images and registries', { skip }, () => {
  let daemon: TestDaemon
  let registry: ChildProcess
  const { gantry, ok } = ownClient(() => daemon)
  before(async () => {
    daemon = await testDaemon([], async ({ home }) => ['--certs-dir', `${home}/certs`, '--registry-mirror', `mirrored.example=http://${NAME}`])
    registry = await serveBeside(daemon, `${root}/build/gantry-registry.cjs`, 'serve', '-l', NAME, '--root', `${daemon.home}/registry`)
  })
  after(async () => {
    registry.kill('SIGTERM')
    for (const id of (await ok('ps', '-aq')).split('\n').filter((one) => one !== '')) await ok('rm', '-f', id)
    await disposeClean(daemon)
  })
  const noise = (bytes: number): Buffer => tarOf({ path: 'noise', content: randomBytes(bytes) })
  const load = async (name: string, ...layers: readonly Buffer[]): Promise<string> => {
    const { archive, id } = imageArchive(name, layers)
    writeFileSync(`${daemon.home}/image.tar`, archive)
    assert.match(await ok('load', '-i', `${daemon.home}/image.tar`), /Loaded image: /)
    return id
  }

  /** An image of one layer that the registry has, and the daemon has not. */
  const onlyThere = async (name: string, bytes: number): Promise<void> => {
    await load(`${NAME}/${name}`, noise(bytes))
    await ok('push', '-q', `${NAME}/${name}`)
    await ok('rmi', `${NAME}/${name}`)
  }
  const slowLink = (): Promise<string> => daemon.inside('tc', 'qdisc', 'add', 'dev', 'lo', 'root', 'tbf', 'rate', '40mbit', 'burst', '512k', 'latency', '50ms')
  const fullSpeed = (): Promise<string> => daemon.inside('tc', 'qdisc', 'del', 'dev', 'lo', 'root')

  it('push, remove, pull: the same image under the same digest; layers that are there are not sent again', async () => {
    const id = await load(`${NAME}/a:1`, noise(100_000), noise(200_000))
    const pushed = /digest: (sha256:\w+)/.exec(await ok('push', `${NAME}/a:1`))?.[1] ?? ''
    assert.match(await ok('push', `${NAME}/a:1`), /Layer already exists/)
    await ok('tag', `${NAME}/a:1`, `${NAME}/b:1`)
    assert.match(await ok('push', `${NAME}/b:1`), /Mounted from a/)
    await ok('rmi', `${NAME}/a:1`, `${NAME}/b:1`)
    assert.equal((await gantry('image', 'inspect', id)).code, 1)
    assert.match(await ok('pull', `${NAME}/a:1`), new RegExp(`Digest: ${pushed}\\nStatus: Downloaded newer image`))
    assert.match(await ok('pull', `${NAME}/a:1`), /Image is up to date/)
    assert.equal(await ok('image', 'inspect', '-f', '{{.Id}} {{index .RepoDigests 0}}', `${NAME}/a:1`), `${id} ${NAME}/a@${pushed}`)
    await ok('rmi', `${NAME}/a:1`)
    await ok('pull', '-q', `${NAME}/a@${pushed}`)
    assert.equal(await ok('images', '-q', '--no-trunc', `${NAME}/a`), id)
    await ok('rmi', id)
  })
  it('what is not there says so in the words that clients know', async () => {
    assert.match((await gantry('pull', `${NAME}/nothing`)).err, /repository 127\.0\.0\.1:5000\/nothing not found|manifest for 127\.0\.0\.1:5000\/nothing:latest not found: manifest unknown/)
    assert.match((await gantry('push', `${NAME}/nothing:1`)).err, /An image does not exist locally with the tag: 127\.0\.0\.1:5000\/nothing/)
    assert.match((await gantry('pull', '127.0.0.1:9/x')).err, /connect: connection refused/)
    assert.match((await gantry('pull', '--platform', 'linux/s390x', `${NAME}/b:1`)).err, /^$/)
    await ok('rmi', `${NAME}/b:1`)
  })
  it('a pull that kill -9 of the daemon interrupts goes on where it was, and says so', { skip: skipSlow }, async () => {
    await onlyThere('big:1', 12_000_000)
    await slowLink()
    const pull = async (until_: (line: string) => boolean): Promise<readonly string[]> => {
      const lines: string[] = []
      const response = await daemon.api.send('POST', '/images/create', { query: { fromImage: `${NAME}/big`, tag: '1' } })
      try {
        for await (const line of createInterface({ input: response })) {
          if (line.trim() !== '') lines.push(line)
          if (until_(line)) break
        }
      } catch (error) {
        if (!/aborted|reset/i.test(String(error))) throw error
      }
      response.destroy()
      return lines
    }
    const current = (line: string): number => (JSON.parse(line) as { progressDetail?: { current?: number } }).progressDetail?.current ?? 0
    const first = pull((line) => /Downloading/.test(line) && current(line) > 3_000_000)
    await first
    await daemon.kill()
    await daemon.start()
    await fullSpeed()
    const second = await pull(() => false)
    const resumed = second.find((line) => /Resuming download/.test(line)) ?? ''
    assert.ok(current(resumed) > 2_000_000, `it went on at ${current(resumed)}: ${second.join('')}`)
    assert.match(second.join('\n'), /Downloaded newer image/)
    assert.deepEqual(readdirSync(`${daemon.home}/data/staging`), [])
    await ok('rmi', `${NAME}/big:1`)
  })
  it('a client that goes away ends its pull; the same pull by another goes on', { skip: skipSlow }, async () => {
    await onlyThere('two:1', 6_000_000)
    await slowLink()
    const start = (): ChildProcess => spawn(`${root}/build/node`, [`${root}/build/gantry.cjs`, '-H', daemon.host, 'pull', `${NAME}/two:1`], { stdio: 'ignore' })
    const [one, two] = [start(), start()]
    const done = new Promise((resolve) => two.once('exit', resolve))
    await until('it downloads', () => readdirSync(`${daemon.home}/data/staging`).some((name) => name.endsWith('.part')))
    one.kill('SIGKILL')
    assert.equal(await done, 0)
    await fullSpeed()
    await ok('rmi', `${NAME}/two:1`)
  })
  it('skopeo and the genuine client read what we pushed, and we what they did', { skip: skipSkopeo }, async () => {
    const id = await load(`${NAME}/pair:1`, noise(50_000), noise(70_000))
    const layers = await ok('image', 'inspect', '-f', '{{json .RootFS.Layers}}', `${NAME}/pair:1`)
    await ok('push', '-q', `${NAME}/pair:1`)
    const skopeo = (...words: readonly string[]): Promise<string> => daemon.inside('skopeo', ...words)
    await skopeo('copy', '--insecure-policy', '--src-tls-verify=false', `docker://${NAME}/pair:1`, `oci-archive:${daemon.home}/pair.tar:pair`)
    await skopeo('copy', '--insecure-policy', '--dest-tls-verify=false', '--dest-compress-format', 'zstd', `oci-archive:${daemon.home}/pair.tar:pair`, `docker://${NAME}/zstd:1`)
    await ok('rmi', `${NAME}/pair:1`)
    const docker = dockerClient() ?? ''
    const pulled = await exec(docker, ['-H', daemon.host, 'pull', `${NAME}/zstd:1`])
    assert.equal(pulled.code, 0, pulled.err)
    assert.equal(await ok('image', 'inspect', '-f', '{{json .RootFS.Layers}}', `${NAME}/zstd:1`), layers)
    await ok('pull', '-q', `${NAME}/pair:1`)
    assert.equal(await ok('images', '-q', '--no-trunc', `${NAME}/pair`), id)
    for (const name of ['pair', 'zstd']) await ok('rmi', '-f', `${NAME}/${name}:1`)
  })
  it('login, a registry with a password, and logout', async () => {
    const { hashSync } = await import('bcryptjs')
    mkdirSync(`${daemon.home}/config`, { recursive: true })
    writeFileSync(`${daemon.home}/htpasswd`, `me:${hashSync('secret', 4)}\n`)
    const closed = await serveBeside(daemon, `${root}/build/gantry-registry.cjs`, 'serve', '-l', '127.0.0.1:5001', '--root', `${daemon.home}/closed`, '--htpasswd', `${daemon.home}/htpasswd`)
    const client = (input: string, ...words: readonly string[]) => exec(`${root}/build/node`, [`${root}/build/gantry.cjs`, '-H', daemon.host, ...words], { input, env: { DOCKER_CONFIG: `${daemon.home}/config` } })
    try {
      await ok('tag', 'busybox', '127.0.0.1:5001/closed:1')
      assert.match((await client('', 'push', '127.0.0.1:5001/closed:1')).err, /unauthorized|authentication required/)
      assert.match((await client('wrong', 'login', '-u', 'me', '--password-stdin', '127.0.0.1:5001')).err, /unauthorized|authentication required/)
      assert.match((await client('secret', 'login', '-u', 'me', '--password-stdin', '127.0.0.1:5001')).out, /Login Succeeded/)
      assert.equal((await client('', 'push', '127.0.0.1:5001/closed:1')).code, 0)
      assert.match((await client('', 'logout', '127.0.0.1:5001')).out, /Removing login credentials/)
      assert.match((await client('', 'pull', '127.0.0.1:5001/closed:1')).err, /pull access denied for 127\.0\.0\.1:5001\/closed/)
      await ok('rmi', '127.0.0.1:5001/closed:1')
    } finally {
      closed.kill('SIGTERM')
    }
  })
  it('TLS: a certificate that nobody vouches for is refused, and taken once it lies in the folder of its host', { skip: skipTls }, async () => {
    await daemon.inside('/bin/busybox', 'ip', 'addr', 'add', '192.0.2.1/32', 'dev', 'lo')
    const [cert, key] = [`${daemon.home}/tls.crt`, `${daemon.home}/tls.key`]
    assert.equal((await exec('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=192.0.2.1', '-addext', 'subjectAltName=IP:192.0.2.1', '-keyout', key, '-out', cert])).code, 0)
    const secure = await serveBeside(daemon, `${root}/build/gantry-registry.cjs`, 'serve', '-l', '192.0.2.1:5005', '--root', `${daemon.home}/registry`, '--tls-cert', cert, '--tls-key', key)
    try {
      await ok('tag', 'busybox', '192.0.2.1:5005/tls:1')
      assert.match((await gantry('push', '192.0.2.1:5005/tls:1')).err, /self-signed certificate/)
      mkdirSync(`${daemon.home}/certs/192.0.2.1:5005`, { recursive: true })
      copyFileSync(cert, `${daemon.home}/certs/192.0.2.1:5005/ca.crt`)
      await ok('push', '-q', '192.0.2.1:5005/tls:1')
      await ok('rmi', '192.0.2.1:5005/tls:1')
      // Only loopback may go without TLS by itself.
      assert.match((await gantry('pull', '192.0.2.1:5999/plain:1')).err, /https:\/\/192\.0\.2\.1:5999/)
    } finally {
      secure.kill('SIGTERM')
    }
  })
  it('a mirror of any registry answers for it; what it lacks is asked for at the registry itself', async () => {
    await onlyThere('theirs:1', 40_000)
    assert.match(await ok('pull', 'mirrored.example/theirs:1'), /Downloaded newer image for mirrored\.example\/theirs:1/)
    await ok('rmi', 'mirrored.example/theirs:1')
    assert.match((await gantry('pull', 'mirrored.example/lacking:1')).err, /https:\/\/mirrored\.example/)
  })
  it('import --platform says what the files are for', async () => {
    writeFileSync(`${daemon.home}/arm.tar`, tarOf({ path: 'hello', content: 'arm' }))
    await ok('import', '--platform', 'linux/arm/7', `${daemon.home}/arm.tar`, 'arm:1')
    assert.equal(await ok('inspect', '--format', '{{.Os}}/{{.Architecture}}/{{.Variant}}', 'arm:1'), 'linux/arm/v7')
    assert.match((await gantry('import', '--platform', 'linux/a b', `${daemon.home}/arm.tar`)).err, /invalid platform/)
    assert.match((await gantry('create', '--platform', 'linux/amd64', 'arm:1', '/hello')).err, /does not match the specified platform/)
    await ok('rmi', 'arm:1')
  })
  it('import from an URL: the archive comes to the daemon, and what is not there says so', async () => {
    writeFileSync(`${daemon.home}/root.tar`, tarOf({ path: 'hello', content: 'from afar' }))
    const server = await serveBeside(daemon, '-e', `require('node:http').createServer((q, r) => (q.url === '/root.tar' ? require('node:fs').createReadStream('${daemon.home}/root.tar').pipe(r) : r.writeHead(q.url === '/moved' ? 302 : 404, { location: '/root.tar' }).end())).listen(5007, '127.0.0.1', () => console.log('ready'))`)
    try {
      assert.match(await ok('import', 'http://127.0.0.1:5007/moved', 'far:1'), /Downloading from http:\/\/127\.0\.0\.1:5007\/moved\nsha256:/)
      await ok('create', '--name', 'look', 'far:1', '/hello')
      assert.match(String((await exec('sh', ['-c', `${root}/build/node ${root}/build/gantry.cjs -H ${daemon.host} cp look:/hello - | tar xO`])).out), /from afar/)
      assert.match(await ok('history', '--no-trunc', 'far:1'), /Imported from http/)
      await ok('rm', 'look')
      await ok('rmi', 'far:1')
      assert.match((await gantry('import', 'http://127.0.0.1:5007/none')).err, /5007\/none: the server answered 404/)
      assert.match((await gantry('import', 'http://127.0.0.1:5099/none')).err, /connect: connection refused/)
    } finally {
      server.kill('SIGTERM')
    }
  })
  it('a registry in front of an engine gives its images out of the engine’s own store', async () => {
    const id = await load('shared/app:1', noise(300_000), noise(100_000))
    const front = await serveBeside(daemon, `${root}/build/gantry-registry.cjs`, 'serve', '-l', '127.0.0.1:5006', '--root', `${daemon.home}/front`, '--engine', daemon.host)
    try {
      const fetched = async (path: string, range = ''): Promise<Buffer> =>
        Buffer.from(await daemon.inside(`${root}/build/node`, '-e', `fetch('http://127.0.0.1:5006${path}', { headers: { range: '${range}' } }).then((answer) => answer.bytes()).then((bytes) => console.log(bytes.toBase64()))`), 'base64')
      const get = async (path: string): Promise<string> => String(await fetched(path))
      assert.deepEqual(JSON.parse(await get('/v2/shared/app/tags/list')), { name: 'shared/app', tags: ['1'] })
      assert.ok((JSON.parse(await get('/v2/_catalog')) as { repositories: readonly string[] }).repositories.includes('shared/app'))
      const manifest = JSON.parse(await get('/v2/shared/app/manifests/1')) as { readonly config: { readonly digest: string }; readonly layers: readonly { readonly digest: string; readonly size: number }[] }
      assert.equal(manifest.config.digest, id)
      const [layer] = manifest.layers
      assert.equal(sha256(await fetched(`/v2/shared/app/blobs/${layer?.digest}`)), layer?.digest)
      assert.equal((await fetched(`/v2/shared/app/blobs/${layer?.digest}`, 'bytes=1000-')).length, (layer?.size ?? 0) - 1000)
      assert.match(await get(`/v2/busybox/blobs/${layer?.digest}`), /BLOB_UNKNOWN/)
      assert.match(await get('/v2/library/busybox/manifests/none'), /MANIFEST_UNKNOWN/)
      // The same engine pulls from itself under another name: a new tag, no new layer.
      const before = layersOf(daemon)
      await ok('pull', '-q', '127.0.0.1:5006/shared/app:1')
      assert.equal(await ok('images', '-q', '--no-trunc', '127.0.0.1:5006/shared/app'), id)
      assert.equal(layersOf(daemon), before)
      await ok('push', '-q', '127.0.0.1:5006/shared/app:1')
      await ok('rmi', '127.0.0.1:5006/shared/app:1', 'shared/app:1')
      await ok('pull', '-q', '127.0.0.1:5006/shared/app:1')
      assert.equal(await ok('images', '-q', '--no-trunc', '127.0.0.1:5006/shared/app'), id)
      await ok('rmi', id)
    } finally {
      front.kill('SIGTERM')
    }
  })
  it('a pull-through cache serves what it has seen, also when the registry behind it is gone', async () => {
    await onlyThere('cached:1', 60_000)
    const behind = await serveBeside(daemon, `${root}/build/gantry-registry.cjs`, 'serve', '-l', '127.0.0.1:5003', '--root', `${daemon.home}/registry`)
    const proxy = await serveBeside(daemon, `${root}/build/gantry-registry.cjs`, 'serve', '-l', '127.0.0.1:5002', '--root', `${daemon.home}/proxy`, '--proxy', 'http://127.0.0.1:5003')
    try {
      await ok('pull', '-q', '127.0.0.1:5002/cached:1')
      await ok('rmi', '127.0.0.1:5002/cached:1')
      behind.kill('SIGKILL')
      await ok('pull', '-q', '127.0.0.1:5002/cached:1')
      await ok('rmi', '127.0.0.1:5002/cached:1')
      assert.equal((await gantry('pull', '127.0.0.1:5002/never:1')).code, 1)
    } finally {
      proxy.kill('SIGTERM')
      behind.kill('SIGTERM')
    }
  })
  it('system df accounts for every byte below the data root, as du does', async () => {
    await ok('run', '-d', '--name', 'writes', '-v', 'vol:/v', 'busybox', 'sh', '-c', 'dd if=/dev/zero of=/v/f bs=1M count=8; dd if=/dev/zero of=/f bs=1M count=4; yes | head -100000; sleep 1000')
    await until('it has written', async () => (await ok('logs', '--tail', '1', 'writes')).includes('y'))
    await sleep(1500)
    const usage = await daemon.api.json<{ readonly Gantry: { readonly Bytes: number; readonly Parts: readonly { readonly Name: string; readonly Bytes: number }[] }; readonly Volumes: readonly { readonly Name: string; readonly UsageData: { readonly Size: number } }[]; readonly Containers: readonly { readonly SizeRw: number }[] }>('GET', '/system/df')
    const du = Number((await exec('du', ['-s', '-B1', `${daemon.home}/data`])).out.split('\t')[0])
    assert.ok(Math.abs(usage.Gantry.Bytes - du) <= du / 100, `df says ${usage.Gantry.Bytes}, du ${du}`)
    assert.ok((usage.Volumes.find((one) => one.Name === 'vol')?.UsageData.Size ?? 0) >= 8 << 20)
    assert.ok((usage.Containers[0]?.SizeRw ?? 0) >= 4 << 20)
    assert.ok((usage.Gantry.Parts.find((part) => part.Name === 'Container logs')?.Bytes ?? 0) > 1 << 20)
    assert.match(await ok('system', 'df'), /Container logs/)
    await ok('rm', '-f', 'writes')
    await ok('volume', 'rm', 'vol')
  })
  it('registry faults: nothing unverified is used, and each says what was wrong', async () => {
    const faulty = await serveBeside(daemon, `${root}/tests/faulty-registry.ts`, `${daemon.home}/faulty`, '5004')
    const at = '127.0.0.1:5004'
    try {
      const id = await load(`${at}/good/x:1`, noise(1_500_000))
      await ok('push', '-q', `${at}/good/x:1`)
      await ok('rmi', `${at}/good/x:1`)
      const before = layersOf(daemon)
      for (const [fault, message] of [
        ['wrong', /filesystem layer verification failed for digest|cannot decompress/],
        ['ever', /the registry ended it after|aborted|ECONNRESET|socket hang up/],
        ['down', /unexpected status 500/],
        ['loop', /more than 5 redirects/],
        ['short', /the registry has 10 bytes, the manifest says/],
      ] as const) {
        const ran = await gantry('pull', `${at}/${fault}/x:1`)
        assert.equal(ran.code, 1, fault)
        assert.match(ran.err, message, fault)
        assert.equal(await ok('images', '-q', `${at}/${fault}/x`), '')
        assert.equal(layersOf(daemon), before, `${fault}: no layer is left`)
      }
      for (const fault of ['cut', 'norange', 'busy']) {
        const ran = await gantry('pull', '-q', `${at}/${fault}/x:1`)
        assert.equal(ran.code, 0, `${fault}: ${ran.err}`)
        assert.equal(await ok('images', '-q', '--no-trunc', `${at}/${fault}/x`), id)
        await ok('rmi', `${at}/${fault}/x:1`)
      }
    } finally {
      faulty.kill('SIGTERM')
    }
  })
})
