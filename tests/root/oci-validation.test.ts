/** Further checks of the kind that the public validation suite makes, each from the text of the specification. */
import assert from 'node:assert/strict'
import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { after, before, describe, it } from 'node:test'
import { until } from '../harness.ts'
import { ociBundle } from '../oci-bundle.ts'

const skip = process.getuid?.() !== 0 ? 'needs root' : false
const ours = process.env['OCI_RUNTIME'] === undefined
const version = existsSync('/sys/fs/cgroup/cgroup.controllers') ? 2 : 1

/** Some block device that there is. */
const disk = readdirSync('/sys/block').map((name) => readFileSync(`/sys/block/${name}/dev`, 'utf8').trim().split(':').map(Number)).find((numbers): numbers is [number, number] => numbers.length === 2)

describe('validation', { skip }, () => {
  const { runtime, leaving, ok, configure, script, run, ...bundle } = ociBundle()
  let home = ''
  before(async () => {
    home = await bundle.setUp()
  })
  after(() => bundle.tearDown())
  const status = async (): Promise<string> => (JSON.parse(await ok('state', 'box')) as { status: string }).status

  it('root.readonly (config.md, Root)', async () => {
    const ran = await run('touch /here 2>&1; echo $?', (config) => {
      config.root.readonly = true
    })
    assert.match(ran.out, /Read-only file system\n1\n$/)
  })
  it('additional devices: character, block, FIFO, with mode and owner (config-linux.md, Devices)', async () => {
    const ran = await run('stat -c "%F %t:%T %a %u:%g" /dev/one /dev/two /dev/three', (config) => void Object.assign(config.linux, {
      devices: [{ path: '/dev/one', type: 'c', major: 1, minor: 5, fileMode: 0o620, uid: 7, gid: 8 }, { path: '/dev/two', type: 'b', major: 7, minor: 3, fileMode: 0o600 }, { path: '/dev/three', type: 'p', fileMode: 0o644 }],
    }))
    assert.equal(ran.out, 'character special file 1:5 620 7:8\nblock special file 7:3 600 0:0\nfifo 0:0 644 0:0\n', ran.err)
  })
  it('default devices and links are there without being asked for (config-linux.md, Default Devices; runtime-linux.md, Dev symbolic links)', async () => {
    const ran = await run('for d in null zero full random urandom tty; do [ -c /dev/$d ] && echo $d; done; readlink /dev/fd; readlink /dev/stdin; [ -e /dev/ptmx ] && echo ptmx')
    assert.equal(ran.out, 'null\nzero\nfull\nrandom\nurandom\ntty\n/proc/self/fd\n/proc/self/fd/0\nptmx\n')
  })
  it('allowed and denied devices (config-linux.md, Allowed Device list)', async () => {
    const ran = await run('(cat /dev/seven > /dev/null) 2>&1; (echo x > /dev/eleven) 2>&1; cat /dev/null && echo null', (config) => {
      Object.assign(config.linux, { devices: [{ path: '/dev/seven', type: 'c', major: 10, minor: 237, fileMode: 0o666 }, { path: '/dev/eleven', type: 'c', major: 10, minor: 229, fileMode: 0o666 }] })
      config.linux.resources['devices'] = [{ allow: false, access: 'rwm' }, { allow: true, type: 'c', major: 10, minor: 229, access: 'r' }]
    })
    assert.match(ran.out, /seven.*not permitted[\s\S]*eleven.*not permitted[\s\S]*null\n$/)
  })
  it('a cgroup path that is relative, and one that is absolute (config-linux.md, Cgroups Path)', async () => {
    for (const path of [`gtest-oci-${process.pid}/relative`, `/gtest-oci-${process.pid}/absolute`]) {
      const ran = await run('cat /proc/self/cgroup', (config) => {
        config.linux.cgroupsPath = path
        config.linux.namespaces = config.linux.namespaces.filter((one) => one.type !== 'cgroup')
      })
      assert.match(ran.out, new RegExp(path.replace(/^\//, '')), ran.err)
    }
  })
  it('limits of memory, processors, processes and block devices arrive (config-linux.md, Control groups)', async () => {
    script('sleep 100', (config) => {
      config.linux.resources = { memory: { limit: 50 << 20, reservation: 20 << 20 }, cpu: { shares: 512, quota: 20_000, period: 100_000, cpus: '0' }, pids: { limit: 33 }, ...(disk && { blockIO: { throttleReadBpsDevice: [{ major: disk[0], minor: disk[1], rate: 1 << 20 }] } }) }
    })
    await ok('create', '--bundle', home, 'box')
    const { pid } = JSON.parse(await ok('state', 'box')) as { pid: number }
    const cgroups = readFileSync(`/proc/${pid}/cgroup`, 'utf8')
    const read = (controller: string, one: string, two: string): string => {
      const path = version === 2 ? /^0::(.*)$/m.exec(cgroups)?.[1] : new RegExp(`^\\d+:(?:[^:]*,)?${controller}(?:,[^:]*)?:(.*)$`, 'm').exec(cgroups)?.[1]
      return readFileSync(`/sys/fs/cgroup${version === 2 ? '' : `/${controller}`}${path}/${version === 2 ? two : one}`, 'utf8').trim()
    }
    assert.equal(read('memory', 'memory.limit_in_bytes', 'memory.max'), String(50 << 20))
    assert.equal(read('cpu', 'cpu.cfs_quota_us', 'cpu.max').split(' ')[0], '20000')
    assert.equal(read('cpuset', 'cpuset.cpus', 'cpuset.cpus'), '0')
    assert.equal(read('pids', 'pids.max', 'pids.max'), '33')
    await ok('delete', '--force', 'box')
  })
  it('huge pages and files by their names, or a clear error (config-linux.md, Huge page limits, Unified)', { skip: ours ? false : 'runc leaves out what is not mounted' }, async () => {
    const hugetlb = version === 2 && readFileSync('/sys/fs/cgroup/cgroup.controllers', 'utf8').includes('hugetlb')
    const huge = await run('cat /sys/fs/cgroup/hugetlb.2MB.max', (config) => void (config.linux.resources = { hugepageLimits: [{ pageSize: '2MB', limit: 4 << 20 }] }))
    if (hugetlb) assert.equal(huge.out.trim(), String(4 << 20), huge.err)
    else assert.match(huge.err, /linux\.resources\.hugepageLimits: the hugetlb cgroup is not mounted/)
    const unified = await run('cat /sys/fs/cgroup/memory.high', (config) => void (config.linux.resources = { unified: { 'memory.high': '33554432' } }))
    if (version === 2) assert.equal(unified.out.trim(), '33554432', unified.err)
    else assert.match(unified.err, /linux\.resources\.unified: files of cgroup version 2/)
  })
  it('umask, no new privileges, score, further groups (config.md, User, Process)', async () => {
    const ran = await run('umask; grep NoNewPrivs /proc/self/status | cut -f2; cat /proc/self/oom_score_adj; id -G', (config) => {
      Object.assign(config.process, { user: { uid: 5, gid: 6, umask: 0o77, additionalGids: [9, 10] }, noNewPrivileges: true, oomScoreAdj: 123 })
    })
    assert.equal(ran.out, '0077\n1\n123\n6 9 10\n', ran.err)
  })
  it('a working directory that is not there is made (config.md, cwd)', async () => assert.equal((await run('pwd', (config) => {
    config.process.cwd = '/made/for/it'
  })).out, '/made/for/it\n'))
  it('host and domain name (config.md, Hostname, Domainname)', async () => assert.equal((await run('hostname; cat /proc/sys/kernel/domainname', (config) => void Object.assign(config, { hostname: 'validated', domainname: 'example.com' }))).out, 'validated\nexample.com\n'))
  it('annotations are in the state (config.md, Annotations; runtime.md, State)', async () => {
    script('sleep 100', (config) => void Object.assign(config, { annotations: { 'org.example.key': 'value' } }))
    await ok('create', '--bundle', home, 'box')
    assert.equal((JSON.parse(await ok('state', 'box')) as { annotations: Record<string, string> }).annotations['org.example.key'], 'value')
    await ok('delete', '--force', 'box')
  })
  it('seccomp: a verdict by call, with its error (config-linux.md, Seccomp)', async () => {
    const ran = await run('hostname other 2>&1; mkdir /x 2>&1; echo on', (config) => void Object.assign(config.linux, { seccomp: { defaultAction: 'SCMP_ACT_ALLOW', architectures: ['SCMP_ARCH_X86_64', 'SCMP_ARCH_AARCH64'], syscalls: [{ names: ['mkdir', 'mkdirat'], action: 'SCMP_ACT_ERRNO', errnoRet: 28 }] } }))
    assert.match(ran.out, /No space left on device\non\n$/)
  })
  it('kill: a created container, a running one by name and number, none that has stopped (runtime.md, Kill)', async () => {
    script('trap "exit 5" USR1; echo x > /ready; while :; do sleep 0.05; done')
    await ok('create', '--bundle', home, 'box')
    await ok('kill', 'box', '0').catch(() => '')
    assert.equal(await status(), 'created')
    await ok('start', 'box')
    await until('it traps', () => existsSync(`${home}/rootfs/ready`))
    await ok('kill', 'box', 'USR1')
    await until('it has ended', async () => (await status()) === 'stopped')
    assert.notEqual((await runtime('kill', 'box', 'TERM')).code, 0)
    await ok('delete', 'box')
  })
  it('a prestart hook that fails stops the creation; poststop runs nevertheless at no time (runtime.md, Lifecycle)', async () => {
    script('touch /ran', (config) => {
      config.hooks = { createRuntime: [{ path: '/bin/false', args: ['false'] }] }
    })
    assert.notEqual((await leaving('create', '--bundle', home, 'box')).code, 0)
    assert.notEqual((await runtime('state', 'box')).code, 0)
    assert.equal(existsSync(`${home}/rootfs/ran`), false)
  })
  it('poststart and poststop hooks that fail are told of, and the others run (runtime.md, Lifecycle, steps 10 and 13)', { skip: ours ? false : 'runc ends the container instead' }, async () => {
    script('sleep 100', (config) => {
      config.hooks = { poststart: [{ path: '/bin/false', args: ['false'] }, { path: '/bin/touch', args: ['touch', `${home}/second`] }], poststop: [{ path: '/bin/false', args: ['false'] }, { path: '/bin/touch', args: ['touch', `${home}/last`] }] }
    })
    await ok('create', '--bundle', home, 'box')
    await ok('start', 'box')
    assert.equal(await status(), 'running')
    await ok('delete', '--force', 'box')
    assert.deepEqual([existsSync(`${home}/second`), existsSync(`${home}/last`)], [true, true])
    assert.match(readFileSync(`${home}/log`, 'utf8'), /"level":"warning".*poststart hook #0/)
  })
  it('delete: one that runs is refused, the resources of one that has stopped are gone (runtime.md, Delete)', async () => {
    script('sleep 100')
    await ok('create', '--bundle', home, 'box')
    await ok('start', 'box')
    assert.notEqual((await runtime('delete', 'box')).code, 0)
    await ok('kill', 'box', 'KILL')
    await until('it has ended', async () => (await status()) === 'stopped')
    await ok('delete', 'box')
    assert.notEqual((await runtime('state', 'box')).code, 0)
    assert.equal(existsSync(`/sys/fs/cgroup${version === 2 ? '' : '/pids'}/gtest-oci-${process.pid}/box`), false)
  })
  it('mounts in their order, on places that are made, with their options (config.md, Mounts)', async () => {
    mkdirSync(`${home}/tree/inner`, { recursive: true })
    const ran = await run('grep -E " /a(/b)? " /proc/self/mountinfo | cut -d" " -f5,6 | cut -d, -f1,2,3', (config) => {
      config.mounts.push({ destination: '/a', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'size=64k'] }, { destination: '/a/b', type: 'bind', source: `${home}/tree`, options: ['rbind', 'ro', 'nodev'] })
    })
    assert.match(ran.out, /^\/a rw,nosuid.*\n\/a\/b ro,nodev/, ran.err)
  })
  it('the exit code of a signal is 128 and its number', async () => {
    script('echo x > /runs; sleep 100')
    const running = runtime('run', '--bundle', home, 'box')
    await until('it runs', () => existsSync(`${home}/rootfs/runs`))
    await ok('kill', 'box', 'KILL')
    assert.equal((await running).code, 128 + 9)
  })
  it('bad documents are refused: no root, a wrong type, a path that is not absolute', { skip: ours ? false : 'another runtime has other words' }, async () => {
    for (const [change, words] of [
      [{ root: { path: '' } }, /root\.path: expected a path/], [{ process: { args: [], cwd: '/', user: {} } }, /process\.args: expected at least one/], [{ mounts: [{ destination: '', type: 'tmpfs' }] }, /destination: expected a path/], [{ hooks: { createRuntime: [{ path: 'relative' }] } }, /hooks\.createRuntime\[0\]\.path: expected an absolute path/],
    ] as const) {
      configure((config) => void Object.assign(config, change))
      assert.match((await leaving('create', '--bundle', home, 'box')).err, words)
    }
  })
})
