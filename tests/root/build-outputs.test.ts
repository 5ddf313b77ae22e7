/** Where builds of our own client go, and where they begin: directories, archives, registries, caches; and what is asked of a Dockerfile instead. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { after, before, describe, it } from 'node:test'
import { compileAsk, serveAgent } from '../agent.ts'
import { freshFolder } from '../build-folder.ts'
import { disposeClean } from '../census.ts'
import { dockerClient, exec, ownClient, type Ran, root, serveBeside, type TestDaemon, testDaemon } from '../harness.ts'

const client = dockerClient()

describe('outputs of builds', { skip: process.getuid?.() === 0 ? false : 'needs root' }, () => {
  let daemon: TestDaemon
  let gantry: ReturnType<typeof ownClient>['gantry']
  let ok: ReturnType<typeof ownClient>['ok']
  let folder = ''
  let registry: Awaited<ReturnType<typeof serveBeside>>
  before(async () => {
    daemon = await testDaemon()
    ;({ gantry, ok } = ownClient(() => daemon))
    folder = `${daemon.home}/context`
    registry = await serveBeside(daemon, `${root}/build/gantry-registry.cjs`, 'serve', '--root', `${daemon.home}/registry`, '-l', '127.0.0.1:5000')
  })
  after(async () => {
    registry.kill()
    for (const name of (await ok('images', '-aq')).split('\n').filter((one) => one !== '')) await gantry('rmi', '-f', name)
    await ok('builder', 'prune', '-af')
    await disposeClean(daemon)
  })
  const context = (files: Readonly<Record<string, string>>): void => freshFolder(folder, files)
  const built = async (...flags: readonly string[]): Promise<Ran> => {
    const ran = await gantry('build', ...flags, folder)
    assert.equal(ran.code, 0, ran.err)
    return ran
  }
  const images = async (): Promise<number> => (await ok('images', '-aq')).split('\n').filter((one) => one !== '').length
  const packed = (): readonly string[] => readdirSync(daemon.home, { recursive: true }).map(String).filter((name) => name.includes('/staging/pack-'))

  it('files go to a directory, an archive or standard output; no image stays that nobody asked for', async () => {
    context({ Dockerfile: 'FROM scratch\nCOPY a /d/e/a\nCOPY --chmod=600 b /b\n', a: 'a', b: 'b' })
    const before = await images()
    await built('-o', `${daemon.home}/out`)
    assert.deepEqual([readFileSync(`${daemon.home}/out/d/e/a`, 'utf8'), statSync(`${daemon.home}/out/b`).mode & 0o777], ['a', 0o600])
    await built('-o', `type=tar,dest=${daemon.home}/files.tar`, '-o', `type=oci,dest=${daemon.home}/oci.tar,compression=zstd`)
    assert.deepEqual(execFileSync('tar', ['-tf', `${daemon.home}/files.tar`], { encoding: 'utf8' }).trim().split('\n').sort(), ['b', 'd/', 'd/e/', 'd/e/a'])
    const index = JSON.parse(execFileSync('tar', ['-xOf', `${daemon.home}/oci.tar`, 'index.json'], { encoding: 'utf8' }))
    const manifest = JSON.parse(execFileSync('tar', ['-xOf', `${daemon.home}/oci.tar`, `blobs/sha256/${index.manifests[0].digest.slice('sha256:'.length)}`], { encoding: 'utf8' }))
    assert.deepEqual(manifest.layers.map((layer: { readonly mediaType: string }) => layer.mediaType), ['application/vnd.oci.image.layer.v1.tar+zstd', 'application/vnd.oci.image.layer.v1.tar+zstd'])
    const piped = await exec('sh', ['-c', '"$0" -- "$1" -H "$2" build -o - "$3" | tar -tf -', `${root}/build/node`, `${root}/build/gantry.cjs`, daemon.host, folder])
    assert.match(piped.out, /^d\/e\/a$/m)
    assert.equal(await images(), before)
    assert.deepEqual(packed(), [])
  })
  it('an image is pushed, kept, and told of; what an output cannot be is refused before anything is built', async () => {
    context({ Dockerfile: 'FROM busybox\nCOPY a /a\n', a: 'pushed' })
    await built('-t', '127.0.0.1:5000/own:1', '--push', '--metadata-file', `${daemon.home}/metadata`)
    const metadata = JSON.parse(readFileSync(`${daemon.home}/metadata`, 'utf8'))
    assert.deepEqual([metadata['image.name'], metadata['containerimage.config.digest']], ['127.0.0.1:5000/own:1', await ok('inspect', '-f', '{{.Id}}', '127.0.0.1:5000/own:1')])
    await ok('rmi', '-f', '127.0.0.1:5000/own:1')
    assert.equal(await ok('run', '--rm', '127.0.0.1:5000/own:1', 'cat', '/a'), 'pushed')
    await built('-t', 'kept:1', '--load', '-o', `type=tar,dest=${daemon.home}/kept.tar`)
    assert.equal(await ok('run', '--rm', 'kept:1', 'cat', '/a'), 'pushed')
    context({ Dockerfile: 'FROM busybox\nRUN echo built >/never\n' })
    for (const [flags, message] of [[['-o', 'type=oci'], /dest is required/], [['-o', 'type=nowhere,dest=x'], /expected one of image, docker, oci, local, tar/], [['-o', 'type=oci,dest=x,annotation.a=b'], /annotation\.a=b: not supported/], [['--push'], /expected a name/], [['--cache-to', 'type=gha'], /expected inline, registry or local/], [['--provenance', 'true'], /expected false/]] as const) {
      const ran = await gantry('build', ...flags, folder)
      assert.notEqual(ran.code, 0, flags.join(' '))
      assert.match(ran.err, message)
      assert.doesNotMatch(ran.err, /RUN echo/)
    }
    assert.match((await gantry('build', '-q', '-o', `${daemon.home}/never`, `${folder}/none`)).err, /path .* not found/)
    assert.ok(!existsSync(`${daemon.home}/never`))
  })
  it('caches go to a registry and into an image, and come back; an image here is one for the classic API, too', async () => {
    context({ Dockerfile: 'FROM busybox AS first\nRUN date +%s%N >/stamp\nFROM busybox\nCOPY --from=first /stamp /stamp\nRUN date +%s%N >/own\n' })
    await built('-t', 'with:1', '--cache-to', 'type=registry,ref=127.0.0.1:5000/cache:1,mode=max', '--load')
    const stamps = await ok('run', '--rm', 'with:1', 'cat', '/stamp', '/own')
    await ok('rmi', '-f', 'with:1')
    await ok('builder', 'prune', '-af')
    await built('-t', 'with:2', '--cache-from', '127.0.0.1:5000/cache:1')
    assert.equal(await ok('run', '--rm', 'with:2', 'cat', '/stamp', '/own'), stamps)
    await ok('rmi', '-f', 'with:2')
    await ok('builder', 'prune', '-af')
    // Inside of an image that is here: only its own steps.
    await built('-t', 'inside:1', '--build-arg', 'BUILDKIT_INLINE_CACHE=1')
    const own = await ok('run', '--rm', 'inside:1', 'cat', '/own')
    await ok('builder', 'prune', '-af')
    if (client !== undefined) {
      const ran = await exec(client, ['-H', daemon.host, 'build', '--cache-from', 'inside:1', '--cache-from', 'busybox', '-t', 'inside:2', folder], { env: { DOCKER_BUILDKIT: '0' } })
      assert.equal(ran.code, 0, ran.err)
      assert.match(ran.out, /busybox does not say what its steps came to/)
      assert.equal(await ok('run', '--rm', 'inside:2', 'cat', '/own'), own)
    }
    const none = await built('--cache-from', '127.0.0.1:5000/none:1')
    assert.match(none.err, /importing cache manifest from 127\.0\.0\.1:5000\/none:1/)
  })
  it('questions and rights: --call, --allow', async () => {
    context({ Dockerfile: 'FROM busybox AS one\nARG A=1\nRUN true\nFROM one AS two\nMAINTAINER me\n' })
    assert.match((await built('--call', 'targets')).out, /^one\s*\ntwo \(default\)/m)
    assert.deepEqual(JSON.parse((await built('--call', 'outline,format=json')).out).args.map((one: { readonly name: string }) => one.name), ['A'])
    const lint = await gantry('build', '--call', 'check', folder)
    assert.deepEqual([lint.code, /MaintainerDeprecated/.test(lint.out)], [1, true])
    assert.equal((await gantry('build', '--call', 'check,format=json', folder)).code, 1)
    assert.match((await gantry('build', '--call', 'other', folder)).err, /expected build, check, outline or targets/)
    context({ Dockerfile: 'FROM busybox\nRUN --security=insecure true\n' })
    assert.match((await gantry('build', '--allow', 'security.insecure', folder)).err, /security\.insecure is not allowed/)
  })
  it('steps ask an agent of the client, several at a time; it is gone with the build', async () => {
    using _ = await serveAgent(`${daemon.home}/agent`)
    const ask = 'RUN --mount=type=ssh,required=true for i in $(seq 20); do /ask "$SSH_AUTH_SOCK"; done'
    context({ Dockerfile: `FROM busybox AS tool\nCOPY ask /\nFROM tool AS a\n${ask} >/a\nFROM tool AS b\nUSER 1234\n${ask.replace('required=true', 'required=true,uid=1234')} >/tmp/b\nFROM busybox\nCOPY --from=a /a /\nCOPY --from=b /tmp/b /\n` })
    compileAsk(folder)
    const ran = await exec(`${root}/build/node`, ['--', `${root}/build/gantry.cjs`, '-H', daemon.host, 'build', '-t', 'asked', '--ssh', 'default', folder], { env: { SSH_AUTH_SOCK: `${daemon.home}/agent` } })
    assert.equal(ran.code, 0, ran.err)
    assert.equal(await ok('run', '--rm', 'asked', 'cat', '/a', '/b'), '12 0'.repeat(40))
    assert.match((await gantry('build', '--no-cache', folder)).err, /unset ssh forward key default/)
    assert.match((await gantry('build', '--ssh', `default=${folder}/Dockerfile`, folder)).err, /is not the socket of an agent/)
    assert.deepEqual(readdirSync(daemon.home, { recursive: true }).map(String).filter((name) => /\bssh-\w+$/.test(name)), [])
  })
})
