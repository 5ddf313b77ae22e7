/** Builds through BuildKit's door with the genuine clients of today: docker with buildx, bake, and Compose. */
import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { after, before, describe, it } from 'node:test'
import { compileAsk, serveAgent } from '../agent.ts'
import { freshFolder } from '../build-folder.ts'
import { disposeClean } from '../census.ts'
import { dockerClient, exec, ownClient, peer, type Ran, root, serveBeside, type TestDaemon, testDaemon, until } from '../harness.ts'

const client = dockerClient()
const buildx = peer('docker-buildx')
const compose = peer('docker-compose')
const skip = process.getuid?.() !== 0 ? 'needs root' : client === undefined ? 'no genuine docker client on this machine' : buildx === undefined || compose === undefined ? 'needs buildx and docker-compose in $GANTRY_PEERS' : false

describe("BuildKit's clients", { skip }, () => {
  let daemon: TestDaemon
  let folder = ''
  let env: NodeJS.ProcessEnv = {}
  let gantry: ReturnType<typeof ownClient>['gantry']
  let ok: ReturnType<typeof ownClient>['ok']
  before(async () => {
    daemon = await testDaemon()
    ;({ gantry, ok } = ownClient(() => daemon))
    folder = `${daemon.home}/context`
    mkdirSync(`${daemon.home}/config/cli-plugins`, { recursive: true })
    symlinkSync(buildx ?? '', `${daemon.home}/config/cli-plugins/docker-buildx`)
    symlinkSync(compose ?? '', `${daemon.home}/config/cli-plugins/docker-compose`)
    env = { DOCKER_CONFIG: `${daemon.home}/config`, DOCKER_BUILDKIT: '1', BUILDX_CONFIG: `${daemon.home}/config/buildx` }
  })
  after(async () => {
    // A daemon keeps no connection of a client that is gone.
    await until('connections are closed', () => connections() <= 1)
    for (const name of (await ok('images', '-aq')).split('\n').filter((one) => one !== '')) await gantry('rmi', '-f', name)
    await ok('builder', 'prune', '-af')
    await disposeClean(daemon)
  })
  const connections = (): number => readFileSync('/proc/net/unix', 'utf8').split('\n').filter((line) => line.endsWith(`${daemon.home}/g.sock`)).length
  const docker = (...words: readonly string[]): Promise<Ran> => exec(client ?? '', ['-H', daemon.host, ...words], { env })
  const good = async (...words: readonly string[]): Promise<Ran> => {
    const ran = await docker(...words)
    assert.equal(ran.code, 0, `${words.join(' ')}: ${ran.err}`)
    return ran
  }
  const context = (files: Readonly<Record<string, string | Buffer>>): void => freshFolder(folder, files)
  const built = async (...flags: readonly string[]): Promise<string> => (await good('build', '--progress', 'plain', ...flags, folder)).err
  const outcomes = (log: string): Readonly<Record<string, string>> => {
    const names = new Map([...log.matchAll(/^#(\d+) \[[^\]]*\] (.*)$/gm)].map((match) => [match[1], match[2] ?? '']))
    return Object.fromEntries([...log.matchAll(/^#(\d+) (CACHED|DONE|ERROR)/gm)].map((match) => [names.get(match[1]) ?? '', match[2] ?? '']))
  }
  const sent = (log: string): string => /transferring context: (\S+)/.exec(log.slice(log.indexOf('load build context')))?.[1] ?? ''

  it('only what has changed is sent; what the Dockerfile does not name is not', async () => {
    context({ Dockerfile: 'FROM busybox\nCOPY a d /x/\nRUN cat /x/a\n', a: 'a', 'd/b': 'b', large: Buffer.alloc(5 << 20, 'x'), '.dockerignore': 'd/ignored\n', 'd/ignored': 'ignored' })
    const first = await built('-t', 'x:1')
    assert.match(sent(first), /^2B$/)
    const again = await built('-t', 'x:2')
    assert.deepEqual([outcomes(again)['COPY a d /x/'], outcomes(again)['RUN cat /x/a']], ['CACHED', 'CACHED'])
    assert.notEqual(sent(again), '2B')
    assert.equal(await ok('inspect', '-f', '{{.Id}}', 'x:1'), await ok('inspect', '-f', '{{.Id}}', 'x:2'))
    writeFileSync(`${folder}/d/b`, 'changed')
    const changed = await built('-t', 'x:3')
    assert.equal(sent(changed), '7B')
    assert.equal((await good('run', '--rm', 'x:3', 'sh', '-c', 'cat /x/b; ls /x')).out, 'changeda\nb\n')
    // The classic door comes to the same.
    assert.equal((await exec(client ?? '', ['-H', daemon.host, 'build', '-q', folder], { env: { ...env, DOCKER_BUILDKIT: '0' } })).out.trim(), await ok('inspect', '-f', '{{.Id}}', 'x:3'))
  })
  it('secrets of the client are in the step and nowhere else; they do not count for the cache', async () => {
    context({ Dockerfile: 'FROM busybox\nRUN --mount=type=secret,id=key cp /run/secrets/key /dev/shm/x && wc -c </run/secrets/key >/size\nRUN --mount=type=secret,id=word,env=WORD [ ${#WORD} = 16 ]\nRUN --mount=type=secret,id=none,required=false [ ! -e /run/secrets/none ]\n', })
    writeFileSync(`${daemon.home}/key`, 'very secret content\n')
    await good('build', '-t', 's', '--secret', `id=key,src=${daemon.home}/key`, '--secret', 'id=word,env=HOME_WORD', folder).catch(() => undefined)
    const ran = await exec(client ?? '', ['-H', daemon.host, 'build', '--progress', 'plain', '-t', 's', '--secret', `id=key,src=${daemon.home}/key`, '--secret', 'id=word,env=HOME_WORD', folder], { env: { ...env, HOME_WORD: 'unguessable word' } })
    assert.equal(ran.code, 0, ran.err)
    assert.equal((await good('run', '--rm', 's', 'cat', '/size')).out, '20\n')
    await good('save', '-o', `${daemon.home}/s.tar`, 's')
    const bytes = readFileSync(`${daemon.home}/s.tar`)
    assert.ok(!bytes.includes('very secret') && !bytes.includes('unguessable'))
    writeFileSync(`${daemon.home}/key`, 'another one entirely\n')
    assert.equal(outcomes((await exec(client ?? '', ['-H', daemon.host, 'build', '--progress', 'plain', '--secret', `id=key,src=${daemon.home}/key`, '--secret', 'id=word,env=HOME_WORD', folder], { env: { ...env, HOME_WORD: 'unseen' } })).err)['RUN --mount=type=secret,id=word,env=WORD [ ${#WORD} = 16 ]'], 'CACHED')
    context({ Dockerfile: 'FROM busybox\nRUN --mount=type=secret,id=missing,required=true true\n' })
    assert.match((await docker('build', folder)).err, /secret missing: not found/)
  })
  it("a step reaches the client's agent through its socket", async () => {
    using _ = await serveAgent(`${daemon.home}/agent`)
    context({ Dockerfile: 'FROM busybox\nCOPY ask /\nRUN --mount=type=ssh,required=true /ask "$SSH_AUTH_SOCK" >/answer\nRUN --mount=type=ssh,id=other [ -z "$SSH_AUTH_SOCK" ]\nUSER 1234\nRUN --mount=type=ssh,required=true,uid=1234 /ask "$SSH_AUTH_SOCK"\nRUN --mount=type=ssh,required=true ! /ask "$SSH_AUTH_SOCK"\n' })
    compileAsk(folder)
    const ran = await exec(client ?? '', ['-H', daemon.host, 'build', '-t', 'agent', '--ssh', 'default', folder], { env: { ...env, SSH_AUTH_SOCK: `${daemon.home}/agent` } })
    assert.equal(ran.code, 0, ran.err)
    assert.equal((await good('run', '--rm', 'agent', 'cat', '/answer')).out, '12 0')
    assert.match((await docker('build', '--no-cache', folder)).err, /unset ssh forward key default/)
  })
  it('errors show the line, and clients end with them; --check and --call answer', async () => {
    context({ Dockerfile: 'FROM busybox AS one\nRUN echo said; exit 3\n', unknown: 'FROM busybox\nRUNN x\n', lint: 'from busybox\nMAINTAINER me\nCMD x\n' })
    const failed = await docker('build', '--progress', 'plain', folder)
    assert.equal(failed.code, 1)
    assert.match(failed.err, /#\d+ \S+ said/)
    assert.match(failed.err, />>> RUN echo said; exit 3/)
    assert.match(failed.err, /failed to solve: process "\/bin\/sh -c echo said; exit 3" did not complete successfully: exit code: 3/)
    assert.match((await docker('build', '-f', `${folder}/unknown`, folder)).err, /dockerfile parse error on line 2: unknown instruction: RUNN \(did you mean RUN\?\)/)
    assert.match((await docker('build', '-f', `${folder}/none`, folder)).err, /no such file or directory/)
    const lint = await docker('build', '--check', '-f', `${folder}/lint`, folder)
    assert.equal(lint.code, 1)
    assert.match(lint.out, /WARNING: MaintainerDeprecated[\s\S]*>>> MAINTAINER me/)
    assert.match((await good('build', '--call', 'targets', folder)).out, /^one \(default\)/m)
    assert.match((await docker('build', '-f', `${folder}/lint`, folder)).err, /3 warnings found/)
    assert.doesNotMatch((await docker('build', '--build-arg', 'BUILDKIT_DOCKERFILE_CHECK=skip=all', '-f', `${folder}/lint`, folder)).err, /warnings? found/)
    assert.match((await docker('build', '--build-arg', 'BUILDKIT_DOCKERFILE_CHECK=error=true', '-f', `${folder}/lint`, folder)).err, /lint violation found/)
  })
  it('rights beyond those of any build have to be asked for, and the daemon has to allow them', async () => {
    context({ Dockerfile: 'FROM busybox\nRUN --network=host true\n', insecure: 'FROM busybox\nRUN --security=insecure true\n' })
    assert.match((await docker('build', folder)).err, /network\.host is not allowed/)
    await built('--allow', 'network.host')
    for (const flags of [[], ['--allow', 'security.insecure']]) assert.match((await docker('build', ...flags, '-f', `${folder}/insecure`, folder)).err, /security\.insecure is not allowed/)
  })
  it('outputs: directories, archives, OCI layouts, what docker load reads; ids and metadata', async () => {
    context({ Dockerfile: 'FROM scratch\nCOPY --chmod=0640 a /d/a\nCOPY b /b\n', a: 'a', b: Buffer.alloc(3 << 20, 'b') })
    await built('-o', `type=local,dest=${daemon.home}/out`)
    assert.deepEqual([readFileSync(`${daemon.home}/out/d/a`, 'utf8'), statSync(`${daemon.home}/out/d/a`).mode & 0o777, statSync(`${daemon.home}/out/b`).size], ['a', 0o640, 3 << 20])
    await built('-o', `type=tar,dest=${daemon.home}/out.tar`)
    assert.deepEqual(execFileSync('tar', ['-tf', `${daemon.home}/out.tar`], { encoding: 'utf8' }).trim().split('\n').sort(), ['b', 'd/', 'd/a'])
    await built('-t', 'ids', '--iidfile', `${daemon.home}/iid`, '--metadata-file', `${daemon.home}/metadata`)
    assert.equal(readFileSync(`${daemon.home}/iid`, 'utf8'), await ok('inspect', '-f', '{{.Id}}', 'ids'))
    assert.equal(JSON.parse(readFileSync(`${daemon.home}/metadata`, 'utf8'))['image.name'], 'docker.io/library/ids:latest')
  })
  it('what an output cannot do is refused by its name', async () => {
    context({ Dockerfile: 'FROM busybox\nCOPY a /\nRUN sleep 20\n', a: 'a' })
    for (const [attribute, said] of [['rewrite-timestamp=true', 'not supported'], ['compression=estargz', 'not supported'], ['annotation.a=b', 'not supported'], ['compression=brotli', 'expected uncompressed, gzip or zstd'], ['compression-level=77', 'expected a number from 0 to 9'], ['oci-mediatypes=maybe', 'expected true or false']] as const) {
      const ran = await docker('build', '--output', `type=oci,dest=${daemon.home}/refused.tar,${attribute}`, folder)
      assert.notEqual(ran.code, 0, attribute)
      assert.match(ran.err, new RegExp(`output: ${attribute}: ${said}`))
      assert.doesNotMatch(ran.err, /RUN sleep/, 'before anything is built')
    }
    writeFileSync(`${folder}/policy.json`, JSON.stringify({ rules: [{ action: 'DENY', selector: { identifier: '*' } }] }))
    const ruled = await exec(client ?? '', ['-H', daemon.host, 'build', folder], { env: { ...env, EXPERIMENTAL_BUILDKIT_SOURCE_POLICY: `${folder}/policy.json` } })
    assert.match(ruled.err, /source policies are not supported/)
  })

  it('a builder of its own (driver remote) loads, exports and pushes', async () => {
    const registry = await serveBeside(daemon, `${root}/build/gantry-registry.cjs`, 'serve', '--root', `${daemon.home}/registry`, '-l', '127.0.0.1:5000')
    try {
      context({ Dockerfile: 'FROM busybox\nCOPY a /a\n', a: 'a' })
      await good('buildx', 'create', '--name', 'far', '--driver', 'remote', daemon.host.replace(/^unix:/, 'unix:'))
      await good('buildx', 'build', '--builder', 'far', '-t', 'loaded:1', '--load', folder)
      assert.equal((await good('run', '--rm', 'loaded:1', 'cat', '/a')).out, 'a')
      await good('buildx', 'build', '--builder', 'far', '-o', `type=oci,dest=${daemon.home}/oci.tar`, folder)
      assert.match(execFileSync('tar', ['-tf', `${daemon.home}/oci.tar`], { encoding: 'utf8' }), /^oci-layout$/m)
      await good('buildx', 'build', '--builder', 'far', '-t', '127.0.0.1:5000/pushed:1', '--push', folder)
      // In whatever form is asked for, and `docker load` reads each.
      const forms = [['', 'oci', ''], ['compression=gzip,compression-level=9', 'oci', '+gzip'], ['compression=zstd,oci-mediatypes=true', 'oci', '+zstd'], ['compression=gzip,oci-mediatypes=false', 'docker', '.gzip'], ['compression=uncompressed', 'oci', '']] as const
      for (const [attributes, family, ending] of forms) {
        const at = `${daemon.home}/form.tar`
        await good('buildx', 'build', '--builder', 'far', '-t', 'form:1', '-o', `type=docker,dest=${at}${attributes && ','}${attributes}`, folder)
        const read = (path: string): Buffer => execFileSync('tar', ['-xOf', at, path], { maxBuffer: 64 << 20 })
        const blob = (digest: string): Buffer => read(`blobs/sha256/${digest.slice('sha256:'.length)}`)
        const described = JSON.parse(read('index.json').toString()).manifests[0]
        const manifest = JSON.parse(blob(described.digest).toString())
        assert.deepEqual([described.mediaType, manifest.mediaType, manifest.config.mediaType], family === 'oci' ? ['application/vnd.oci.image.manifest.v1+json', 'application/vnd.oci.image.manifest.v1+json', 'application/vnd.oci.image.config.v1+json'] : ['application/vnd.docker.distribution.manifest.v2+json', 'application/vnd.docker.distribution.manifest.v2+json', 'application/vnd.docker.container.image.v1+json'], attributes)
        for (const layer of manifest.layers) {
          assert.ok(layer.mediaType.endsWith(`tar${ending}`), `${attributes}: ${layer.mediaType}`)
          const bytes = blob(layer.digest)
          assert.deepEqual([`sha256:${createHash('sha256').update(bytes).digest('hex')}`, bytes.length], [layer.digest, layer.size])
        }
        await ok('load', '-i', at)
        assert.equal((await good('run', '--rm', 'form:1', 'cat', '/a')).out, 'a')
        await ok('rmi', 'form:1')
      }
      // A registry gets the form that is asked for, where it does not have the layer in another already.
      for (const [attributes, manifestType, layerType] of [['oci-mediatypes=false', 'application/vnd.docker.distribution.manifest.v2+json', 'application/vnd.docker.image.rootfs.diff.tar.gzip'], ['compression=zstd,oci-mediatypes=true,force-compression=true', 'application/vnd.oci.image.manifest.v1+json', 'application/vnd.oci.image.layer.v1.tar+zstd']] as const) {
        context({ Dockerfile: 'FROM busybox\nCOPY a /a\n', a: attributes })
        await good('buildx', 'build', '--builder', 'far', '-o', `type=image,name=127.0.0.1:5000/formed:1,push=true,${attributes}`, folder)
        const asked = `fetch('http://127.0.0.1:5000/v2/formed/manifests/1', { headers: { accept: ${JSON.stringify(manifestType)} } }).then(async (answer) => console.log(await answer.text()))`
        const manifest = JSON.parse(await daemon.inside(`${root}/build/node`, '-e', asked))
        assert.deepEqual([manifest.mediaType, new Set(manifest.layers.map((layer: { readonly mediaType: string }) => layer.mediaType))], [manifestType, new Set([layerType])])
      }
      await ok('rmi', '127.0.0.1:5000/pushed:1')
      await ok('pull', '127.0.0.1:5000/pushed:1')
      assert.equal((await good('run', '--rm', '127.0.0.1:5000/pushed:1', 'cat', '/a')).out, 'a')
    } finally {
      registry.kill()
      await docker('buildx', 'rm', 'far')
    }
  })
  it('caches go to a registry, to a directory and into an image, and come back', async () => {
    const registry = await serveBeside(daemon, `${root}/build/gantry-registry.cjs`, 'serve', '--root', `${daemon.home}/registry`, '-l', '127.0.0.1:5000')
    try {
      context({ Dockerfile: 'FROM busybox AS first\nRUN date +%s%N >/stamp\nCOPY f /f\nFROM busybox\nCOPY --from=first /stamp /first\nRUN date +%s%N >/own\n', f: 'f' })
      await good('buildx', 'create', '--name', 'cached', '--driver', 'remote', daemon.host)
      const make = async (...flags: readonly string[]): Promise<{ readonly log: string; readonly stamps: string }> => {
        const log = (await good('buildx', 'build', '--builder', 'cached', '--progress', 'plain', '-t', 'cached', '--load', ...flags, folder)).err
        const { out: stamps } = await good('run', '--rm', 'cached', 'cat', '/first', '/own')
        await ok('rmi', '-f', 'cached')
        await ok('builder', 'prune', '-af')
        return { log, stamps }
      }
      for (const [to, from] of [['type=registry,ref=127.0.0.1:5000/cache:1,mode=max', 'type=registry,ref=127.0.0.1:5000/cache:1'], [`type=local,dest=${daemon.home}/cache,mode=max`, `type=local,src=${daemon.home}/cache`]] as const) {
        const { stamps } = await make('--cache-to', to)
        const again = await make('--cache-from', from)
        assert.equal(again.stamps, stamps, to)
        assert.deepEqual(['RUN date +%s%N >/stamp', 'COPY f /f', 'RUN date +%s%N >/own'].map((step) => outcomes(again.log)[step]), ['CACHED', 'CACHED', 'CACHED'])
      }
      // What is in the image comes with it.
      context({ Dockerfile: 'FROM busybox\nCOPY f /f\nRUN date +%s%N >/own\nCMD ["cat", "/own"]\n', f: 'f' })
      await good('buildx', 'build', '--builder', 'cached', '--cache-to', 'type=inline', '-t', '127.0.0.1:5000/inline:2', '--push', folder)
      const { out: stamp } = await good('run', '--rm', '127.0.0.1:5000/inline:2')
      await ok('rmi', '-f', '127.0.0.1:5000/inline:2')
      await ok('builder', 'prune', '-af')
      await good('buildx', 'build', '--builder', 'cached', '--cache-from', '127.0.0.1:5000/inline:2', '-t', 'inline', '--load', folder)
      assert.equal((await good('run', '--rm', 'inline')).out, stamp)
      const none = await docker('buildx', 'build', '--builder', 'cached', '--progress', 'plain', '--cache-from', '127.0.0.1:5000/none:1', folder)
      assert.equal(none.code, 0, 'a cache that is not there is told of')
      assert.match(none.err, /importing cache manifest from 127\.0\.0\.1:5000\/none:1[\s\S]*ERROR/)
      assert.match((await docker('buildx', 'build', '--builder', 'cached', '--cache-to', 'type=nowhere', folder)).err, /expected inline, registry or local/)
    } finally {
      registry.kill()
      await docker('buildx', 'rm', 'cached')
    }
  })
  it('contexts: named directories and images, standard input, Dockerfiles from elsewhere, stages built anew', async () => {
    context({ Dockerfile: 'FROM base AS first\nRUN date +%N >/first\nFROM first AS last\nCOPY --from=more f /f\nRUN date +%N >/last\n', 'more/f': 'from more' })
    const flags = ['--build-context', `more=${folder}/more`, '--build-context', 'base=docker-image://busybox'] as const
    await built('-t', 'named', ...flags)
    assert.equal((await good('run', '--rm', 'named', 'cat', '/f')).out, 'from more')
    const anew = outcomes(await built('--no-cache-filter', 'last', ...flags))
    assert.deepEqual([anew['RUN date +%N >/first'], anew['RUN date +%N >/last']], ['CACHED', 'DONE'])
    const piped = await exec(client ?? '', ['-H', daemon.host, 'build', '-q', '-f', '-', folder], { env, input: 'FROM busybox\nCOPY more/f /g\n' })
    assert.equal((await good('run', '--rm', piped.out.trim(), 'cat', '/g')).out, 'from more')
    writeFileSync(`${folder}/Dockerfile`, 'FROM busybox\nCOPY x /\n')
    writeFileSync(`${folder}/x`, 'from a pipe')
    const tar = execFileSync('tar', ['-C', folder, '-c', '.'])
    const unpacked = await exec(client ?? '', ['-H', daemon.host, 'build', '-q', '-'], { env, input: tar })
    assert.equal((await good('run', '--rm', unpacked.out.trim(), 'cat', '/x')).out, 'from a pipe')
  })
  it('a client that goes takes its build along', async () => {
    context({ Dockerfile: 'FROM busybox\nRUN echo begun; sleep 1234\n' })
    const child = spawn(client ?? '', ['-H', daemon.host, 'build', '--progress', 'plain', folder], { env: { ...process.env, ...env }, stdio: ['ignore', 'ignore', 'pipe'] })
    let said = ''
    child.stderr.on('data', (chunk: Buffer) => {
      said += chunk.toString()
    })
    await until('the step runs', () => said.includes('begun'))
    child.kill('SIGINT')
    const sleeping = (): boolean => readdirSync('/proc').some((pid) => {
      try {
        return /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes('sleep 1234')
      } catch (error) {
        if (['ENOENT', 'ESRCH'].includes(String((error as NodeJS.ErrnoException).code))) return false
        throw error
      }
    })
    await until('nothing of it runs', () => !sleeping())
  })
  it('bake: targets that stand on each other; Compose: a project of three services', async () => {
    context({
      'base/Dockerfile': 'FROM busybox\nRUN echo base >/base\n', 'one/Dockerfile': 'FROM base\nCOPY f /one\nCMD ["cat", "/base", "/one"]\n', 'one/f': 'one\n', 'two/Dockerfile': 'FROM busybox\nCOPY --from=base /base /two\nARG WORD\nRUN echo $WORD >>/two\nCMD ["cat", "/two"]\n',
      'bake.hcl': 'group "default" { targets = ["one", "two"] }\ntarget "base" { context = "base" }\ntarget "one" {\n context = "one"\n contexts = { base = "target:base" }\n tags = ["bake:one"]\n}\ntarget "two" {\n context = "two"\n contexts = { base = "target:base" }\n args = { WORD = "word" }\n tags = ["bake:two"]\n}\n',
      'compose.yaml': 'name: three\nservices:\n  base: { build: ./base, command: "true" }\n  one:\n    build: { context: ./one, additional_contexts: { base: "service:base" } }\n  two:\n    build: { context: ./two, additional_contexts: { base: "service:base" }, args: { WORD: composed } }\n',
    })
    const baked = await exec(client ?? '', ['-H', daemon.host, 'buildx', 'bake', '-f', 'bake.hcl', '--progress', 'plain'], { env, cwd: folder })
    assert.equal(baked.code, 0, baked.err)
    assert.deepEqual([(await good('run', '--rm', 'bake:one')).out, (await good('run', '--rm', 'bake:two')).out], ['base\none\n', 'base\nword\n'])
    await good('compose', '--project-directory', folder, 'build')
    assert.equal((await good('run', '--rm', 'three-two')).out, 'base\ncomposed\n')
    const up = await good('compose', '--project-directory', folder, 'up', '--build', '--no-color')
    assert.match(up.out, /one-1 +\| one/)
    await good('compose', '--project-directory', folder, 'down', '-t', '0')
  })
  it('the cache and the history are shown and removed', async () => {
    context({ Dockerfile: 'FROM busybox\nRUN echo x >/x\n' })
    await built('--no-cache')
    assert.match((await good('buildx', 'du')).out, /Total:\s+\S+B/)
    assert.match((await good('buildx', 'history', 'ls')).out, /Completed/)
    assert.match((await good('buildx', 'history', 'logs')).out + (await docker('buildx', 'history', 'logs')).err, /RUN echo x >\/x/)
    await good('buildx', 'history', 'rm', '--all')
    assert.doesNotMatch((await good('buildx', 'history', 'ls')).out, /Completed/)
    await good('buildx', 'prune', '-af')
    assert.doesNotMatch((await good('buildx', 'du')).out, /true/)
  })
})
