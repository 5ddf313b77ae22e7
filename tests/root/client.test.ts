/** Our own client, where the genuine one is no judge: contexts of both in one store, questions before something is removed. */
import assert from 'node:assert/strict'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { after, before, describe, it } from 'node:test'
import { disposeClean } from '../census.ts'
import { dockerClient, exec, ownClient, type Ran, root, serveBeside, type TestDaemon, testDaemon, until } from '../harness.ts'

const skip = process.getuid?.() === 0 ? false : 'needs root'

describe('the client', { skip }, () => {
  let daemon: TestDaemon
  const { ok } = ownClient(() => daemon)
  const client = (words: readonly string[], input = ''): Promise<Ran> => exec(`${root}/build/node`, [`${root}/build/gantry.cjs`, ...words], { input, env: { PATH: process.env['PATH'] ?? '', DOCKER_CONFIG: `${daemon.home}/config` } })
  before(async () => {
    daemon = await testDaemon()
  })
  after(() => disposeClean(daemon))
  it('contexts: by flag, by variable, as the current one; those of the genuine client are ours, too', async () => {
    assert.equal((await client(['context', 'create', 'mine', '--docker', `host=${daemon.host}`])).out, 'mine\n')
    assert.equal((await client(['--context', 'mine', 'images', '--format', '{{.Repository}}'])).out, 'busybox\n')
    assert.equal((await client(['context', 'use', 'mine'])).code, 0)
    assert.equal((await client(['images', '-q'])).out.length, 13)
    assert.match((await client(['context', 'ls'])).out, new RegExp(`^mine \\* +${daemon.host}`, 'm'))
    assert.match((await client(['--context', 'mine', '-H', daemon.host, 'ps'])).err, /cannot specify both --host and --context/)
    const docker = dockerClient()
    if (docker !== undefined) {
      const env = { PATH: process.env['PATH'] ?? '', DOCKER_CONFIG: `${daemon.home}/config` }
      assert.equal((await exec(docker, ['images', '--format', '{{.Repository}}'], { env })).out, 'busybox\n')
      assert.equal((await exec(docker, ['context', 'create', 'theirs', '--docker', `host=${daemon.host}`], { env })).code, 0)
      assert.equal((await client(['-c', 'theirs', 'images', '--format', '{{.Repository}}'])).out, 'busybox\n')
    }
    assert.match((await client(['context', 'rm', 'mine'])).err, /is in use, set -f flag/)
    assert.equal((await client(['context', 'rm', '-f', 'mine'])).out, 'mine\n')
    assert.equal((await client(['context', 'show'])).out, 'default\n')
  })
  it('a body that is too long is refused, and the daemon lives on', async () => {
    async function* endless(): AsyncGenerator<Buffer> {
      yield Buffer.from('{"a":"')
      for (let n = 0; n < 40; n++) yield Buffer.alloc(1 << 20, 'x')
    }
    await assert.rejects(daemon.api.json('POST', '/containers/create', { body: endless(), contentType: 'application/json' }))
    await assert.rejects(daemon.api.json('POST', '/containers/create', { body: Buffer.alloc(17 << 20, ' '), contentType: 'application/json' }), /too large|EPIPE|ECONNRESET/)
    assert.equal(await ok('ps', '-q'), '')
  })
  it('prune asks first: no answer and no are no', async () => {
    const asked = (input: string, ...words: readonly string[]): Promise<Ran> => client(['-H', daemon.host, ...words], input)
    await ok('volume', 'create', 'kept')
    await ok('network', 'create', 'net')
    await ok('run', '--name', 'ended', 'busybox', 'true')
    for (const input of ['', 'n\n', 'maybe\n']) {
      const ran = await asked(input, 'system', 'prune')
      assert.equal(ran.code, 1)
      assert.match(ran.out, /^WARNING! This will remove:\n  - all stopped containers\n[\s\S]*\[y\/N\] $/)
      assert.match(ran.err, /canceled/)
    }
    assert.equal(await ok('ps', '-a', '--format', '{{.Names}}'), 'ended')
    const { code, out } = await asked('y\n', 'system', 'prune')
    assert.equal(code, 0)
    assert.match(out, /Deleted Containers:\n[0-9a-f]{64}\n\nDeleted Networks:\nnet\n\nTotal reclaimed space: /)
    assert.equal((await asked('', 'volume', 'prune', '-a')).code, 1)
    assert.match((await asked('', 'volume', 'prune', '-af')).out, /^Deleted Volumes:\nkept\n\nTotal reclaimed space: 0B\n$/)
    for (const what of ['container', 'image', 'network']) assert.equal((await asked('n\n', what, 'prune')).code, 1, what)
  })
  it('a daemon behind ssh: its own streams, attach and exit codes; a context goes to another machine', async () => {
    const bin = `${daemon.home}/bin`
    mkdirSync(bin)
    // Stands in for ssh: the last word is what the other side runs.
    writeFileSync(`${bin}/ssh`, `#!/bin/sh\necho "$@" >> ${daemon.home}/ssh.log\nfor last; do :; done\nexec sh -c "$last"\n`, { mode: 0o755 })
    writeFileSync(`${bin}/gantry`, `#!/bin/sh\nexec ${root}/build/node -- ${root}/build/gantry.cjs "$@"\n`, { mode: 0o755 })
    const env = { PATH: `${bin}:${process.env['PATH']}`, DOCKER_CONFIG: `${daemon.home}/config`, DOCKER_HOST: '' }
    const far = (words: readonly string[], input = ''): Promise<Ran> => exec(`${root}/build/node`, ['--', `${root}/build/gantry.cjs`, ...words], { input, env })
    const host = `ssh://me@there:2222${daemon.host.slice('unix://'.length)}`
    assert.equal((await far(['-H', host, 'run', '--rm', '-i', 'busybox', 'sh', '-c', 'cat; exit 7'], 'through\n')).out, 'through\n')
    assert.equal((await far(['-H', host, 'run', '--rm', 'busybox', 'sh', '-c', 'exit 7'])).code, 7)
    assert.match(readFileSync(`${daemon.home}/ssh.log`, 'utf8'), /-T -l me -p 2222 -- there /)
    assert.match((await far(['-H', 'ssh://-oProxyCommand=x', 'ps'])).err, /unable to parse docker host/)
    assert.match((await far(['-H', 'ssh://me@there/nowhere.sock', 'ps'])).err, /ssh ended with 1: Cannot connect to the Gantry daemon at unix:\/\/\/nowhere\.sock/)
    assert.equal((await far(['context', 'create', 'distant', '--description', 'far away', '--docker', `host=${host}`])).code, 0)
    assert.equal((await far(['context', 'export', 'distant', `${daemon.home}/distant.tar`])).code, 0)
    assert.equal((await far(['context', 'import', 'again', `${daemon.home}/distant.tar`])).out, 'again\n')
    assert.equal((await far(['context', 'inspect', '-f', '{{.Metadata.Description}} {{.Endpoints.docker.Host}}', 'again'])).out, `far away ${host}\n`)
    assert.equal((await far(['-c', 'again', 'images', '--format', '{{.Repository}}'])).out, 'busybox\n')
    const docker = dockerClient()
    if (docker !== undefined) {
      assert.equal((await exec(docker, ['context', 'import', 'theirs2', `${daemon.home}/distant.tar`], { env })).code, 0, 'the genuine client reads it')
      assert.equal((await exec(docker, ['-H', host.replace('ssh://me@there:2222', 'ssh://me@there:2222'), 'images', '--format', '{{.Repository}}'], { env: { ...env, DOCKER_HOST: '' } })).code, 1, 'which runs docker on the other side: there is none in this bin')
    }
    assert.equal((await far(['context', 'create', 'third', '--from', 'again'])).code, 0)
    assert.match((await far(['context', 'import', 'bad', '/etc/hostname'])).err, /not an exported context/)
  })
  it('logs of several containers, chosen lines, and nothing left', async () => {
    for (const name of ['red', 'blue']) await ok('run', '-d', '--name', name, 'busybox', 'sh', '-c', `for n in 1 2 3; do echo ${name} $n; sleep 0.05; done; sleep 1000`)
    await until('all lines', async () => (await ok('logs', 'red', 'blue')).split('\n').length === 6)
    const both = (await ok('logs', 'red', 'blue')).split('\n')
    assert.deepEqual(both.toSorted(), ['blue | blue 1', 'blue | blue 2', 'blue | blue 3', 'red  | red 1', 'red  | red 2', 'red  | red 3'])
    assert.equal(await ok('logs', '--grep', '[23]$', 'red'), 'red 2\nred 3')
    assert.equal(await ok('logs', '--grep', ' 2$', 'red', 'blue').then((text) => text.split('\n').length), 2)
    assert.equal(await ok('logs', '--clear', 'red'), 'red')
    assert.equal(await ok('logs', 'red'), '')
    await ok('exec', 'red', 'sh', '-c', 'echo after > /proc/1/fd/1')
    await until('what comes after', async () => (await ok('logs', 'red')) === 'after')
    assert.match((await client(['-H', daemon.host, 'logs', '--grep', '(', 'red'])).err, /--grep: Invalid regular expression/)
    await ok('rm', '-f', 'red', 'blue')
  })
  it('debug: a toolbox beside a container sees its processes, files and network', async () => {
    await ok('run', '-d', '--name', 'bare', 'busybox', 'sh', '-c', 'echo secret > /here; exec sleep 4321')
    assert.match(await ok('debug', 'bare', 'ps'), /sleep 4321/)
    assert.equal(await ok('debug', 'bare', 'cat', '/proc/1/root/here'), 'secret')
    assert.equal(await ok('debug', 'bare', 'hostname', '-i'), await ok('exec', 'bare', 'hostname', '-i'))
    assert.equal((await client(['-H', daemon.host, 'debug', 'bare', 'sh', '-c', 'exit 9'])).code, 9)
    await ok('kill', 'bare')
    assert.match((await client(['-H', daemon.host, 'debug', 'bare'])).err, /container bare is not running/)
    await ok('rm', 'bare')
    assert.equal(await ok('ps', '-aq'), '')
  })
  it('doctor says what is good and what to fix', async () => {
    const ran = await client(['-H', daemon.host, 'doctor'])
    assert.equal(ran.code, 0, ran.out)
    for (const what of ['kernel', 'cgroups', 'seccomp', 'file systems', 'daemon', 'a container']) assert.match(ran.out, new RegExp(`^(ok  |warn)  ${what} `, 'm'), what)
    const without = await client(['-H', 'unix:///nowhere.sock', 'doctor'])
    assert.equal(without.code, 1)
    assert.match(without.out, /FAIL {2}daemon .*\n.*fix: /)
  })
  it('lists of images for several platforms are made here and kept in a registry', async () => {
    const registry = await serveBeside(daemon, `${root}/build/gantry-registry.cjs`, 'serve', '--root', `${daemon.home}/registry`, '-l', '127.0.0.1:5000')
    const inside = (...words: readonly string[]): Promise<Ran> => exec('nsenter', ['--net', '-t', String(daemon.holder), `${root}/build/node`, '--', `${root}/build/gantry.cjs`, '-H', daemon.host, ...words], { env: { DOCKER_CONFIG: `${daemon.home}/config` } })
    try {
      await ok('tag', 'busybox', '127.0.0.1:5000/one')
      await ok('push', '-q', '127.0.0.1:5000/one')
      assert.equal((await inside('manifest', 'create', '127.0.0.1:5000/all', '127.0.0.1:5000/one')).out, 'Created manifest list 127.0.0.1:5000/all:latest\n')
      assert.match((await inside('manifest', 'create', '127.0.0.1:5000/all', '127.0.0.1:5000/one')).err, /refusing to amend an existing manifest list with no --amend flag/)
      assert.equal((await inside('manifest', 'annotate', '--os-version', '1.2', '127.0.0.1:5000/all', '127.0.0.1:5000/one')).code, 0)
      const { code, out, err } = await inside('manifest', 'push', '--purge', '127.0.0.1:5000/all')
      assert.deepEqual([code, err], [0, ''])
      assert.match(out, /^sha256:[0-9a-f]{64}\n$/)
      const list = JSON.parse((await inside('manifest', 'inspect', '127.0.0.1:5000/all')).out) as { manifests: readonly { platform: Readonly<Record<string, string>> }[] }
      assert.deepEqual([list.manifests.length, list.manifests[0]?.platform['os.version']], [1, '1.2'])
      await ok('rmi', '127.0.0.1:5000/one')
      assert.equal((await inside('pull', '-q', '127.0.0.1:5000/all')).out, '127.0.0.1:5000/all:latest\n')
      assert.match((await inside('manifest', 'inspect', '127.0.0.1:5000/nothing')).err, /no such manifest: 127\.0\.0\.1:5000\/nothing:latest/)
      assert.match((await inside('manifest', 'rm', '127.0.0.1:5000/all')).err, /No such manifest/)
      await ok('rmi', '127.0.0.1:5000/all')
    } finally {
      registry.kill('SIGKILL')
    }
  })
  it('a plugin is a command: it gets all words, knows the daemon, and its exit code is ours; bash completes names', async () => {
    mkdirSync(`${daemon.home}/config/cli-plugins`, { recursive: true })
    writeFileSync(`${daemon.home}/config/cli-plugins/docker-hello`, '#!/bin/sh\n[ "$1" = docker-cli-plugin-metadata ] && { echo \'{"SchemaVersion":"0.1.0","Vendor":"x","ShortDescription":"Say hello"}\'; exit; }\necho "$@"\nexit 5\n', { mode: 0o755 })
    const ran = await client(['-H', daemon.host, 'hello', '--loud', 'you'])
    assert.deepEqual([ran.out, ran.code], [`-H ${daemon.host} hello --loud you\n`, 5])
    assert.match((await client(['--help'])).out, /^ {2}hello +Say hello \(plugin\)$/m)
    await ok('create', '--name', 'waiting', 'busybox', 'true')
    const script = `${daemon.home}/complete`
    writeFileSync(script, `gantry() { ${root}/build/node -- ${root}/build/gantry.cjs "$@"; }\neval "$(gantry completion bash)"\ncompopt() { :; }\nCOMP_LINE="gantry start w"; COMP_POINT=\${#COMP_LINE}; _gantry; echo "\${COMPREPLY[@]}"\nCOMP_LINE="gantry cp waiting:/etc/x wai"; COMP_POINT=\${#COMP_LINE}; _gantry; echo "\${COMPREPLY[@]}"\n`)
    assert.equal((await exec('bash', [script], { env: { DOCKER_HOST: daemon.host, DOCKER_CONFIG: `${daemon.home}/config` } })).out, 'waiting\nwaiting:\n')
    await ok('rm', 'waiting')
  })
})

describe('the configuration', { skip }, () => {
  it('is read again on SIGHUP: what may change does; a bad one changes nothing, and nothing stops', async () => {
    let file = ''
    const daemon = await testDaemon([], async ({ home }) => {
      file = `${home}/daemon.json`
      writeFileSync(file, JSON.stringify({ 'registry-mirrors': ['http://127.0.0.1:5001'] }))
      return ['--config-file', file]
    })
    const { ok } = ownClient(() => daemon)
    try {
      const shown = (): Promise<string> => ok('info', '-f', '{{json .RegistryConfig.Mirrors}} {{json .RegistryConfig.InsecureRegistryCIDRs}}')
      const log = (): string => readFileSync(`${daemon.home}/log`, 'utf8')
      assert.match(await shown(), /^\["http:\/\/127\.0\.0\.1:5001\/"\]/)
      await ok('run', '-d', '--name', 'stays', 'busybox', 'sleep', '1000')
      writeFileSync(file, JSON.stringify({ 'registry-mirrors': ['http://127.0.0.1:5002'], 'insecure-registries': ['10.1.0.0/16'], debug: true, 'max-concurrent-downloads': 7 }))
      process.kill(daemon.pid(), 'SIGHUP')
      await until('it has been read', () => log().includes('configuration reloaded'))
      assert.match(await shown(), /^\["http:\/\/127\.0\.0\.1:5002\/"\].*10\.1\.0\.0\/16/)
      await until('it says more', () => log().includes('debug daemon.engine'))
      for (const bad of ['{"registry-mirrors": ["ftp://x"]}', '{"colour": "red"}', '{', '{"default-runtime": "nosuch"}']) {
        writeFileSync(file, bad)
        const before = log().split('stays as it was').length
        process.kill(daemon.pid(), 'SIGHUP')
        await until(`${bad} is refused`, () => log().split('stays as it was').length > before)
        assert.match(await shown(), /127\.0\.0\.1:5002/)
      }
      assert.match(await ok('events', '--since', '60s', '--until', '0s', '--filter', 'type=daemon', '--format', '{{.Action}} {{index .Actor.Attributes "max-concurrent-downloads"}}'), /^reload 7$/)
      assert.equal(await ok('exec', 'stays', 'echo', 'here'), 'here')
      await ok('rm', '-f', 'stays')
    } finally {
      await daemon.dispose()
    }
  })
})
