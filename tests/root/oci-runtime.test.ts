/** `gantry-runtime`, the OCI runtime command line, as another engine uses it: config.json, verbs, exit codes, state (runtime-spec: runtime.md, config.md). */
import assert from 'node:assert/strict'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { after, before, describe, it } from 'node:test'
import { exec, until } from '../harness.ts'
import { BINARY, type Config, ociBundle } from '../oci-bundle.ts'

const skip = process.getuid?.() !== 0 ? 'needs root' : false
describe('gantry-runtime', { skip }, () => {
  const { base, runtime, leaving, ok, configure, script, run, ...bundle } = ociBundle()
  let home = ''
  before(async () => {
    home = await bundle.setUp()
  })
  after(() => bundle.tearDown())

  it('run: output, exit code, nothing left', async () => {
    const ran = await run('echo out; echo err >&2; exit 7')
    assert.deepEqual([ran.code, ran.out, ran.err], [7, 'out\n', 'err\n'])
    assert.equal(await ok('list', '-q'), '')
  })
  it('lifecycle: create, state, start, kill, delete (runtime.md, Lifecycle)', async () => {
    script('echo begun > /begun; sleep 100')
    await ok('create', '--bundle', home, '--pid-file', `${home}/pid`, 'box')
    const created = JSON.parse(await ok('state', 'box')) as { status: string; pid: number; bundle: string; id: string; ociVersion: string }
    assert.deepEqual([created.status, created.id, created.bundle, String(created.pid)], ['created', 'box', home, readFileSync(`${home}/pid`, 'utf8')])
    assert.equal(existsSync(`${home}/rootfs/begun`), false)
    assert.match((await leaving('create', '--bundle', home, 'box')).err, /container with given ID already exists/)
    await ok('start', 'box')
    await until('it has begun', () => existsSync(`${home}/rootfs/begun`))
    assert.equal((JSON.parse(await ok('state', 'box')) as { status: string }).status, 'running')
    assert.match((await runtime('start', 'box')).err, /cannot start an already running container/)
    assert.match((await runtime('delete', 'box')).err, /not stopped/)
    await ok('kill', 'box', 'KILL')
    await until('it has stopped', async () => (JSON.parse(await ok('state', 'box')) as { status: string }).status === 'stopped')
    assert.match((await runtime('kill', 'box', 'TERM')).err, /container not running/)
    await ok('delete', 'box')
    assert.match((await runtime('state', 'box')).err, /container does not exist/)
  })
  it('a program that is not there fails the create, in words that engines look for, also in the log', async () => {
    configure((config) => {
      config.process.args = ['nope']
    })
    const ran = await leaving('create', '--bundle', home, 'box')
    assert.equal(ran.code, 1)
    assert.match(ran.err, /exec: "nope": executable file not found in \$PATH/)
    assert.match((JSON.parse(readFileSync(`${home}/log`, 'utf8').trimEnd().split('\n').at(-1) ?? '{}') as { msg: string }).msg, /executable file not found/)
    assert.equal(await ok('list', '-q'), '')
  })
  it('process: user, cwd, env, rlimits, score, capabilities (config.md, Process)', async () => {
    const ran = await run('id -u; id -g; readlink /proc/self/cwd; echo $COLOUR; ulimit -n; cat /proc/self/oom_score_adj; grep -E "CapEff|NoNew" /proc/self/status', (config) => {
      config.process.user = { uid: 1000, gid: 2000 }
      config.process.cwd = '/made'
      config.process.env.push('COLOUR=red')
      config.process.rlimits = [{ type: 'RLIMIT_NOFILE', soft: 55, hard: 66 }]
      config.process.oomScoreAdj = 300
      config.process.capabilities = { bounding: ['CAP_KILL'], effective: [], permitted: [], inheritable: [] }
    })
    assert.deepEqual(ran.out.trimEnd().split('\n'), ['1000', '2000', '/made', 'red', '55', '300', 'CapEff:\t0000000000000000', 'NoNewPrivs:\t1'], ran.err)
  })
  it('mounts, masked and read-only paths, hostname, sysctl (config.md, Mounts; config-linux.md)', async () => {
    const ran = await run('cat /bound/config.json | grep -c ociVersion; (touch /bound/x) 2>&1; hostname; cat /proc/kcore | head -c1 | grep -c . ; (echo 1 > /proc/sys/kernel/panic) 2>&1; cat /proc/sys/net/ipv4/ip_unprivileged_port_start', (config) => {
      config.mounts.push({ destination: '/bound', type: 'bind', source: home, options: ['rbind', 'ro'] })
      config.hostname = 'elsewhere'
      config.linux.sysctl = { 'net.ipv4.ip_unprivileged_port_start': '80' }
    })
    assert.match(ran.out, /^1\n.*Read-only file system\nelsewhere\n0\n.*Read-only file system\n80\n$/, ran.err)
  })
  it('namespaces: own ones, and one by its path (config-linux.md, Namespaces)', async () => {
    const host = (await exec('readlink', ['/proc/self/ns/net'])).out
    assert.notEqual((await run('readlink /proc/self/ns/net')).out, host)
    const joined = await run('readlink /proc/self/ns/net', (config) => {
      config.linux.namespaces = config.linux.namespaces.map((one) => (one.type === 'network' ? { ...one, path: '/proc/self/ns/net'.replace('self', String(process.pid)) } : one))
    })
    assert.equal(joined.out, host, joined.err)
  })
  it('a bind that is read-only all the way down, and an option that no bind has', async () => {
    const bind = (options: string[]) => (config: Config): void => void config.mounts.push({ destination: '/bound', type: 'bind', source: home, options: ['rbind', ...options] })
    assert.match((await run('(touch /bound/x) 2>&1', bind(['rro']))).out, /Read-only file system/)
    assert.equal((await run('touch /bound/x', bind([]))).code, 0)
    assert.notEqual((await run('true', bind(['colour=red']))).code, 0)
  })
  it('a directory is not a program', async () => {
    configure((config) => {
      config.process.args = ['/bin']
    })
    assert.match((await leaving('create', '--bundle', home, 'box')).err, /is a directory/)
  })
  it('clocks of its own (config-linux.md, Offset for Time Namespace)', async () => {
    const ran = await run('cat /proc/uptime', (config) => {
      config.linux.namespaces.push({ type: 'time' })
      Object.assign(config.linux, { timeOffsets: { boottime: { secs: 10_000_000, nanosecs: 0 } } })
    })
    assert.ok(Number(ran.out.split(' ')[0]) > 10_000_000, ran.err)
  })
  it('resources, and their update (config-linux.md, Control groups)', async () => {
    script('sleep 100', (config) => {
      config.linux.resources = { ...config.linux.resources, memory: { limit: 33_554_432 }, pids: { limit: 21 } }
    })
    await ok('run', '--detach', '--bundle', home, 'box')
    const limits = async (): Promise<string> => (await ok('exec', 'box', 'sh', '-c', 'cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes pids/pids.max 2>/dev/null || cat memory.max pids.max')).replace('\n', ' ')
    assert.equal(await limits(), '33554432 21')
    writeFileSync(`${home}/more.json`, JSON.stringify({ memory: { limit: 67_108_864 }, pids: { limit: 22 } }))
    await ok('update', '--resources', `${home}/more.json`, 'box')
    assert.equal(await limits(), '67108864 22')
    assert.equal((JSON.parse(await ok('events', '--stats', 'box')) as { data: { pids: { limit: number } } }).data.pids.limit, 22)
    await ok('pause', 'box')
    assert.equal((JSON.parse(await ok('state', 'box')) as { status: string }).status, 'paused')
    assert.match((await runtime('exec', 'box', 'true')).err, /paused container/)
    await ok('resume', 'box')
    assert.deepEqual(JSON.parse(await ok('ps', '--format', 'json', 'box')), [(JSON.parse(await ok('state', 'box')) as { pid: number }).pid])
  })
  it('exec: output, exit code, a process file, its own environment', async () => {
    const ran = await runtime('exec', '--env', 'A=1', '--cwd', '/bin', 'box', 'sh', '-c', 'echo $A $PWD; exit 3')
    assert.deepEqual([ran.code, ran.out], [3, '1 /bin\n'])
    writeFileSync(`${home}/process.json`, JSON.stringify({ ...base().process, args: ['sh', '-c', 'echo detached > /detached'], user: { uid: 0, gid: 0 } }))
    await ok('exec', '--process', `${home}/process.json`, '--detach', '--pid-file', `${home}/exec-pid`, 'box')
    await until('the file is there', () => existsSync(`${home}/rootfs/detached`))
    assert.match(readFileSync(`${home}/exec-pid`, 'utf8'), /^\d+$/)
    assert.match((await runtime('exec', 'box', 'nope')).err, /executable file not found in \$PATH/)
    await ok('delete', '--force', 'box')
  })
  it('a terminal goes to the console socket', async () => {
    // What is not read stays in the socket, and with it the terminal's other side.
    const connected = Promise.withResolvers<Socket>()
    const server = createServer({ pauseOnConnect: true }, (socket) => connected.resolve(socket))
    await new Promise<void>((resolve) => server.listen(`${home}/console`, resolve))
    script('tty > /tty', (config) => {
      config.process.terminal = true
    })
    await ok('create', '--bundle', home, '--console-socket', `${home}/console`, 'box')
    const held = await connected.promise
    await ok('start', 'box')
    await until('it has a terminal', () => existsSync(`${home}/rootfs/tty`) && readFileSync(`${home}/rootfs/tty`, 'utf8') === '/dev/pts/0\n')
    await ok('delete', '--force', 'box')
    held.destroy()
    server.close()
    assert.match((await leaving('create', '--bundle', home, 'box')).err, /cannot allocate tty/)
  })
  it('hooks get the state on standard input; one that fails ends the create (config.md, Hooks)', async () => {
    const hook = (name: string): { path: string; args: string[] } => ({ path: '/bin/sh', args: ['sh', '-c', `cat > ${home}/hook-${name}`] })
    script('true', (config) => {
      config.hooks = { prestart: [hook('prestart')], createRuntime: [hook('createRuntime')], poststart: [hook('poststart')], poststop: [hook('poststop')] }
    })
    await ok('run', '--bundle', home, 'box')
    const statuses = ['prestart', 'createRuntime', 'poststart', 'poststop'].map((name) => (JSON.parse(readFileSync(`${home}/hook-${name}`, 'utf8')) as { status: string }).status)
    // runc says "created" of the third.
    assert.match(statuses.join(' '), /^creating creating (running|created) stopped$/)
    script('true', (config) => {
      config.hooks = { prestart: [{ path: '/bin/sh', args: ['sh', '-c', 'echo no >&2; exit 4'] }] }
    })
    assert.match((await leaving('create', '--bundle', home, 'box')).err, /prestart hook #0: exit status 4.*stderr: no/)
    assert.equal(await ok('list', '-q'), '')
  })
  it('what it does not honour is refused by name', { skip: process.env['OCI_RUNTIME'] === undefined ? false : 'another runtime honours other things' }, async () => {
    for (const [change, words] of [
      [(config: Config) => void Object.assign(config.linux, { intelRdt: { closID: 'x' } }), /linux\.intelRdt is not supported/],
      [(config: Config) => void Object.assign(config.process, { apparmorProfile: 'x' }), /process\.apparmorProfile: "x" cannot be applied: AppArmor is not enabled|AppArmor profile x: /],
      [(config: Config) => void config.linux.namespaces.push({ type: 'dream' }), /namespace "dream" is not supported/],
      [(config: Config) => void Object.assign(config, { ociVersion: '2.0.0' }), /ociVersion: expected 1\.x\.y/],
      [(config: Config) => void Object.assign(config.process, { cwd: 'relative' }), /process\.cwd: expected an absolute path/],
    ] as const) {
      configure(change)
      const ran = await leaving('create', '--bundle', home, 'box')
      assert.equal(ran.code, 1)
      assert.match(ran.err, words)
    }
  })
  it('features tells what there is', async () => assert.deepEqual((JSON.parse(await ok('features')) as { ociVersionMax: string; linux: { cgroup: { v1: boolean } } }).linux.cgroup.v1, true))
})
