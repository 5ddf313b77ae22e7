/** Limits of cgroups as a container meets them, on whichever version this kernel has. `tests/vm/cgroup2.test.ts` runs this file once more in a machine with version 2. */
import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { after, before, describe, it } from 'node:test'
import { disposeClean } from '../census.ts'
import { exec, ownClient, root, sleep, type TestDaemon, testDaemon, until } from '../harness.ts'

const skip = process.getuid?.() !== 0 ? 'needs root' : false
const version = existsSync('/sys/fs/cgroup/cgroup.controllers') ? 2 : 1

describe(`limits with cgroup version ${version}`, { skip }, () => {
  let daemon: TestDaemon
  const { gantry, ok } = ownClient(() => daemon)
  before(async () => {
    daemon = await testDaemon()
  })
  after(async () => {
    for (const id of (await ok('ps', '-aq')).split('\n').filter((one) => one !== '')) await ok('rm', '-f', id)
    await disposeClean(daemon)
  })

  it('info tells the version', async () => assert.equal(await ok('info', '--format', '{{.CgroupVersion}}'), String(version)))
  it('memory, swap, cpu, cpuset, pids as files inside', async () => {
    const files = version === 1
      ? ['memory/memory.limit_in_bytes', 'memory/memory.soft_limit_in_bytes', 'cpu/cpu.shares', 'cpu/cpu.cfs_quota_us', 'cpuset/cpuset.cpus', 'pids/pids.max']
      : ['memory.max', 'memory.low', 'cpu.weight', 'cpu.max', 'cpuset.cpus', 'pids.max']
    const seen = await ok('run', '--rm', '-m', '64m', '--memory-reservation', '32m', '--cpu-shares', '512', '--cpus', '0.25', '--cpuset-cpus', '0', '--pids-limit', '33', 'busybox', 'sh', '-c', `cd /sys/fs/cgroup; cat ${files.join(' ')}`)
    assert.deepEqual(seen.split('\n'), version === 1 ? ['67108864', '33554432', '512', '25000', '0', '33'] : ['67108864', '33554432', '20', '25000 100000', '0', '33'])
  })
  it('out of memory: 137, and the state says why', async () => {
    await gantry('run', '--name', 'greedy', '-m', '16m', 'busybox', 'sh', '-c', 'x=a; while true; do x=$x$x; done')
    assert.equal(await ok('inspect', '-f', '{{.State.OOMKilled}} {{.State.ExitCode}}', 'greedy'), 'true 137')
  })
  it('no more processes than were granted', async () => {
    const ran = await gantry('run', '--rm', '--pids-limit', '5', 'busybox', 'sh', '-c', 'for i in 1 2 3 4 5 6 7 8; do sleep 5 & done; echo all')
    assert.match(ran.err, /can't fork/)
  })
  it('devices: refused, allowed by a rule, all for the privileged', async () => {
    const probe = ['busybox', 'sh', '-c', 'mknod /tmp/full c 1 7; mknod /tmp/rtc c 10 237; (: < /tmp/full) 2>/dev/null && echo full; (: < /tmp/rtc) 2>&1 | grep -c "not permitted"; true']
    assert.equal(await ok('run', '--rm', ...probe), 'full\n1')
    assert.equal(await ok('run', '--rm', '--device-cgroup-rule', 'c 10:237 rwm', ...probe), 'full\n0')
    assert.equal(await ok('run', '--rm', '--privileged', ...probe), 'full\n0')
  })
  it('pause holds every process, unpause lets them go', async () => {
    await ok('run', '-d', '--name', 'counter', 'busybox', 'sh', '-c', 'i=0; while true; do i=$((i+1)); echo $i > /count; sleep 0.01; done')
    await sleep(300)
    await ok('pause', 'counter')
    const count = (): Promise<string> => ok('cp', 'counter:/count', '-')
    const before = await count()
    await sleep(300)
    assert.equal(await count(), before)
    await ok('unpause', 'counter')
    await sleep(300)
    assert.notEqual(await count(), before)
  })
  it('an exec is in the cgroups of its container, and cannot change them', async () => {
    assert.equal(await ok('exec', 'counter', 'cat', '/proc/self/cgroup'), await ok('exec', 'counter', 'cat', '/proc/1/cgroup'))
    assert.match((await gantry('exec', 'counter', 'sh', '-c', 'cd /sys/fs/cgroup; [ -d pids ] && cd pids; echo 9 > pids.max')).err, /Read-only file system/)
  })
  it('version 2 shows the container its own root; version 1 the path', async () => {
    const seen = await ok('exec', 'counter', 'cat', '/proc/self/cgroup')
    if (version === 2) assert.equal(seen, '0::/')
    else assert.match(seen, new RegExp(`memory:${daemon.cgroupParent}/[0-9a-f]{64}`))
  })
  it('--cgroup-parent: its limits hold for all below, over an update and a restart of the daemon; nothing stays', async () => {
    const parent = `${daemon.cgroupParent}-other/deep`
    await ok('run', '-d', '--name', 'placed', '--cgroup-parent', parent, '--pids-limit', '50', 'busybox', 'sleep', '100')
    const top = version === 1 ? '/sys/fs/cgroup/pids' : '/sys/fs/cgroup'
    const id = await ok('inspect', '-f', '{{.Id}}', 'placed')
    const limit = (): string => readFileSync(`${top}${parent}/${id}/pids.max`, 'utf8').trim()
    assert.equal(limit(), '50')
    await daemon.kill()
    await daemon.start()
    await ok('update', '--pids-limit', '60', 'placed')
    assert.equal(limit(), '60')
    assert.equal(await ok('exec', 'placed', 'echo', 'in'), 'in')
    await ok('restart', '-t', '0', 'placed')
    await ok('rm', '-f', 'placed')
    await until('its cgroups are gone', () => !existsSync(`${top}${parent}/${id}`))
    for (const directory of ['deep', '']) for (const hierarchy of readdirSync('/sys/fs/cgroup')) await exec('rmdir', [`/sys/fs/cgroup/${hierarchy}${daemon.cgroupParent}-other/${directory}`])
    await exec('rmdir', [`${top}${parent}`, `${top}${daemon.cgroupParent}-other`])
    assert.match((await gantry('run', '--rm', '--cgroup-parent', '../up', 'busybox', 'true')).err, /invalid cgroup parent/)
  })
  it('what this kernel cannot limit is left out with a warning', async () => {
    const ran = await gantry('create', '--name', 'swappy', '-m', '64m', '--memory-swappiness', '10', 'busybox')
    assert.equal(ran.code, 0, ran.err)
    assert.match(ran.err, version === 2 ? /WARNING: Your kernel does not support memory swappiness/ : /^$/)
    assert.equal(await ok('inspect', '-f', '{{.HostConfig.MemorySwappiness}}', 'swappy'), version === 2 ? '<nil>' : '10')
  })
})
