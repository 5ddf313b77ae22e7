/** Fields of the runtime specification that a daemon never asks for, as other engines use them (config.md, config-linux.md). */
import assert from 'node:assert/strict'
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { cpus, release } from 'node:os'
import { after, before, describe, it } from 'node:test'
import { exec } from '../harness.ts'
import { BINARY, ociBundle } from '../oci-bundle.ts'

const skip = process.getuid?.() !== 0 ? 'needs root' : false
const MAPS = { uidMappings: [{ containerID: 0, hostID: 300_000, size: 65_536 }], gidMappings: [{ containerID: 0, hostID: 400_000, size: 65_536 }] }

describe('fields of the specification', { skip }, () => {
  const { runtime, leaving, ok, configure, script, run, ...bundle } = ociBundle()
  let home = ''
  before(async () => {
    home = await bundle.setUp()
  })
  after(() => bundle.tearDown())
  const ownUsers = (config: Parameters<Parameters<typeof configure>[0]>[0]): void => {
    config.linux.namespaces.push({ type: 'user' })
    Object.assign(config.linux, MAPS)
  }

  it('a user namespace of its own: root inside, the mapped ids outside (config-linux.md, User namespace mappings)', async () => {
    await exec('chown', ['-R', '300000:400000', `${home}/rootfs`])
    const ran = await run('id -u; id -g; cat /proc/self/uid_map; touch /made; echo x > /dev/null && echo null; mount -t tmpfs t /tmp 2>/dev/null || mkdir /tmp2', ownUsers)
    assert.equal(ran.code, 0, ran.err)
    assert.match(ran.out, /^0\n0\n\s+0\s+300000\s+65536\nnull\n/)
    const made = statSync(`${home}/rootfs/made`)
    assert.deepEqual([made.uid, made.gid], [300_000, 400_000])
  })
  it('a user namespace by its path, with the namespaces that belong to it', async () => {
    script('sleep 100', ownUsers)
    await ok('create', '--bundle', home, 'donor')
    const { pid } = JSON.parse(await ok('state', 'donor')) as { pid: number }
    const ran = await run('id -u; cat /proc/self/uid_map; readlink /proc/self/ns/user', (config) => {
      config.linux.cgroupsPath = `${config.linux.cgroupsPath}-second`
      config.linux.namespaces = [...config.linux.namespaces.filter((one) => one.type !== 'network'), { type: 'user', path: `/proc/${pid}/ns/user` }, { type: 'network', path: `/proc/${pid}/ns/net` }]
    })
    assert.equal(ran.code, 0, ran.err)
    const own = (await exec('readlink', [`/proc/${pid}/ns/user`])).out
    assert.match(ran.out, /^0\n\s+0\s+300000\s+65536\n/)
    assert.ok(ran.out.endsWith(own))
    await ok('delete', '--force', 'donor')
    await exec('chown', ['-R', '0:0', `${home}/rootfs`])
  })
  const [major = 0, minor = 0] = release().split('.').map(Number)
  it('mapped ids of one mount (config.md, uidMappings of mounts)', { skip: major > 6 || (major === 6 && minor >= 3) ? false : 'tmpfs and overlays take maps from Linux 6.3 on' }, async () => {
    mkdirSync(`${home}/data`)
    writeFileSync(`${home}/data/file`, 'x')
    const ran = await run('stat -c %u:%g /data/file', (config) => {
      config.mounts.push({ destination: '/data', type: 'bind', source: `${home}/data`, options: ['rbind'], ...{ uidMappings: [{ containerID: 0, hostID: 5000, size: 1000 }], gidMappings: [{ containerID: 0, hostID: 6000, size: 1000 }] } })
    })
    assert.equal(ran.out.trim(), '5000:6000', ran.err)
  })
  it('hooks: createContainer sees the host’s programs and the container’s mounts, startContainer runs inside as its user (config.md, Hooks)', async () => {
    const note = (name: string) => [{ path: '/bin/sh', args: ['sh', '-c', `cat > ${home}/${name}; readlink /proc/self/ns/mnt > ${home}/${name}-mnt`], env: ['PATH=/bin:/usr/bin'] }]
    const ran = await run('cat /started; readlink /proc/self/ns/mnt', (config) => {
      config.hooks = { createRuntime: note('runtime'), createContainer: note('container'), startContainer: [{ path: '/bin/sh', args: ['sh', '-c', 'grep -o \'"status":"[a-z]*"\' > /started; id -u >> /started'] }] }
      config.process.user = { uid: 0, gid: 0 }
    })
    assert.equal(ran.code, 0, ran.err)
    const [status, uid, inside] = ran.out.trim().split('\n')
    assert.deepEqual([status, uid], ['"status":"created"', '0'])
    const of = (name: string): string => readFileSync(`${home}/${name}-mnt`, 'utf8').trim()
    assert.equal(of('container'), inside)
    assert.notEqual(of('runtime'), inside)
    const state = JSON.parse(readFileSync(`${home}/runtime`, 'utf8')) as { pid: number; id: string; bundle: string; status: string }
    assert.ok(state.pid > 1)
    assert.deepEqual([state.id, state.bundle, state.status], ['box', home, 'creating'])
  })
  it('a hook that takes too long is ended, and the create with it', async () => {
    script('true', (config) => {
      config.hooks = { createContainer: [{ path: '/bin/sleep', args: ['sleep', '60'], ...{ timeout: 1 } }] }
    })
    const began = Date.now()
    assert.match((await leaving('create', '--bundle', home, 'box')).err, process.env['OCI_RUNTIME'] === undefined ? /createContainer hook #0 takes longer than 1 s/ : /createContainer hook/)
    assert.ok(Date.now() - began < 30_000)
    assert.equal(await ok('list', '-q'), '')
  })
  it('scheduler, I/O priority, execution domain (config.md, Scheduler, I/O Priority; config-linux.md, Personality)', async () => {
    const ran = await run('grep -E "^policy" /proc/self/sched; cat /proc/self/personality; cat /proc/self/stat', (config) => {
      Object.assign(config.process, { scheduler: { policy: 'SCHED_BATCH', nice: 5 }, ioPriority: { class: 'IOPRIO_CLASS_BE', priority: 6 } })
      Object.assign(config.linux, { personality: { domain: 'LINUX32' } })
    })
    assert.equal(ran.code, 0, ran.err)
    assert.match(ran.out, /00000008/)
    const fields = (ran.out.trim().split('\n').at(-1) ?? '').replace(/^.*\) /, '').split(' ')
    assert.equal(fields[16], '5', 'nice')
    assert.equal(fields[38], '3', 'policy SCHED_BATCH')
  })
  it('rootfsPropagation (config-linux.md, Rootfs Mount Propagation)', async () => {
    for (const [asked, expected] of [['shared', /shared:/], ['private', / - /], ['unbindable', /unbindable/]] as const) {
      const ran = await run('grep -E "^[^ ]+ [^ ]+ [^ ]+ [^ ]+ / " /proc/self/mountinfo', (config) => void Object.assign(config.linux, { rootfsPropagation: asked }))
      assert.match(ran.out, expected, ran.err)
      if (asked === 'private') assert.doesNotMatch(ran.out, /shared:|master:/)
    }
  })
  it('tmpcopyup: a tmpfs begins with what the root has', async () => {
    mkdirSync(`${home}/rootfs/up/deep`, { recursive: true })
    writeFileSync(`${home}/rootfs/up/deep/file`, 'kept\n', { mode: 0o640 })
    const ran = await run('cat /up/deep/file; stat -c %a /up/deep/file; grep -c " /up " /proc/self/mountinfo; echo new > /up/new', (config) => config.mounts.push({ destination: '/up', type: 'tmpfs', source: 'tmpfs', options: ['tmpcopyup', 'size=1m'] }))
    assert.equal(ran.out, 'kept\n640\n1\n', ran.err)
    assert.equal(existsSync(`${home}/rootfs/up/new`), false)
    rmSync(`${home}/rootfs/up`, { recursive: true })
  })
  it('--preserve-fds: descriptors from 3 on are the program’s, and no others', async () => {
    script('cat <&3; ls /proc/self/fd | wc -l; cat <&4 2>/dev/null || true', undefined)
    writeFileSync(`${home}/handed`, 'handed\n')
    const ran = await exec('sh', ['-c', `exec 3<${home}/handed; exec "$@"`, 'sh', BINARY, '--root', `${home}/state`, 'run', '--preserve-fds', '1', '--bundle', home, 'box'])
    assert.match(ran.out, /^handed\n/, ran.err)
    if (process.env['OCI_RUNTIME'] === undefined) assert.match((await runtime('run', '--preserve-fds', '40', '--bundle', home, 'box')).err, /descriptor \d+ is not open/)
  })
  it('--no-pivot and --no-new-keyring', async () => {
    script('ls / | grep bin; cat /proc/keys | wc -l')
    const ran = await runtime('run', '--no-pivot', '--no-new-keyring', '--bundle', home, 'box')
    assert.match(ran.out, /^bin\n/, ran.err)
  })
  it('update by flags; events tell until the end', async () => {
    script('sleep 3')
    await ok('create', '--bundle', home, 'box')
    await ok('start', 'box')
    await ok('update', '--memory', '67108864', '--cpu-share', '512', '--pids-limit', '40', 'box')
    if (process.env['OCI_RUNTIME'] !== undefined) return void (await ok('delete', '--force', 'box'))
    const events = await runtime('events', '--interval', '500ms', 'box')
    const first = JSON.parse(events.out.split('\n')[0] ?? '') as { type: string; data: { memory: { usage: { limit: number } }; pids: { limit: number } } }
    assert.equal(first.type, 'stats')
    assert.equal(first.data.pids.limit, 40)
    await ok('delete', '--force', 'box')
  })
  it('seccomp flags; a notifying filter is refused clearly', async () => {
    const filter = { defaultAction: 'SCMP_ACT_ALLOW', flags: ['SECCOMP_FILTER_FLAG_LOG', 'SECCOMP_FILTER_FLAG_SPEC_ALLOW'], syscalls: [{ names: ['sethostname'], action: 'SCMP_ACT_ERRNO', errnoRet: 1 }] }
    const ran = await run('grep Seccomp: /proc/self/status', (config) => void Object.assign(config.linux, { seccomp: filter }))
    assert.match(ran.out, /Seccomp:\s+2/, ran.err)
    if (process.env['OCI_RUNTIME'] !== undefined) return
    configure((config) => void Object.assign(config.linux, { seccomp: { ...filter, listenerPath: '/x' } }))
    assert.match((await runtime('run', '--bundle', home, 'box')).err, /linux\.seccomp\.listenerPath is not supported/)
  })
  it('execs: CPUs, additional groups, no new privileges, capabilities', async () => {
    const last = cpus().length - 1
    script('sleep 100')
    await ok('create', '--bundle', home, 'box')
    await ok('start', 'box')
    writeFileSync(`${home}/process.json`, JSON.stringify({ ...bundle.base().process, args: ['sh', '-c', 'grep -E "Cpus_allowed_list|NoNewPrivs|^Groups|CapEff" /proc/self/status'], user: { uid: 0, gid: 0, additionalGids: [7, 9] }, noNewPrivileges: true, execCPUAffinity: { initial: '0', final: String(last) } }))
    const ran = await runtime('exec', '--process', `${home}/process.json`, 'box')
    assert.match(ran.out, /Groups:\s*7 9/, ran.err)
    assert.match(ran.out, /NoNewPrivs:\s*1/)
    assert.match(ran.out, new RegExp(`Cpus_allowed_list:\\s*${last}\n`))
    await ok('delete', '--force', 'box')
  })
})
