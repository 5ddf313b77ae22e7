/** Users of their own: `--userns-remap`. */
import assert from 'node:assert/strict'
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { after, before, describe, it } from 'node:test'
import { NOTHING, settledCensus } from '../census.ts'
import { exec, ownClient, root, type TestDaemon, testDaemon } from '../harness.ts'

const skip = process.getuid?.() !== 0 ? 'needs root' : false
const NAME = 'gtestremap'
const FIRST = 700_000

describe('users of their own', { skip }, () => {
  let daemon: TestDaemon
  const before_ = new Map<string, string | undefined>()
  const { gantry, ok } = ownClient(() => daemon)
  before(async () => {
    for (const path of ['/etc/subuid', '/etc/subgid']) {
      const text = existsSync(path) ? readFileSync(path, 'utf8') : undefined
      before_.set(path, text)
      writeFileSync(path, `${text ?? ''}${NAME}:${FIRST}:65536\n`)
    }
    daemon = await testDaemon(['--userns-remap', NAME])
  })
  after(async () => {
    for (const id of (await ok('ps', '-aq')).split('\n').filter((one) => one !== '')) await ok('rm', '-f', '-v', id)
    await gantry('volume', 'rm', 'kept')
    const left = await settledCensus(daemon)
    await daemon.dispose()
    for (const [path, text] of before_) writeFileSync(path, text ?? '')
    assert.deepEqual(left, NOTHING)
  })

  it('root inside is nobody outside', async () => {
    await ok('run', '-d', '--name', 'box', 'busybox', 'sleep', '100')
    assert.match(await ok('exec', 'box', 'cat', '/proc/1/uid_map'), /^\s*0\s+700000\s+65536$/)
    assert.equal(await ok('exec', 'box', 'id', '-u'), '0')
    const pid = await ok('inspect', '-f', '{{.State.Pid}}', 'box')
    assert.match(readFileSync(`/proc/${pid}/status`, 'utf8'), /^Uid:\t700000\t700000\t700000\t700000$/m)
    assert.match(await ok('info', '-f', '{{.SecurityOptions}}'), /name=userns/)
  })
  it('files belong to root inside; what is written lies on disk as the image has it', async () => {
    assert.equal(await ok('exec', 'box', 'sh', '-c', 'stat -c %u:%g /bin/busybox /etc/hosts /; echo new > /new; stat -c %u /new; rm /bin/sleep && echo gone'), '0:0\n0:0\n0:0\n0\ngone')
    assert.match(await ok('diff', 'box'), /A \/new/)
    const upper = await ok('inspect', '-f', '{{.GraphDriver.Data.UpperDir}}', 'box')
    assert.equal(statSync(`${upper}/new`).uid, 0)
  })
  it('network, sysctls, devices, a terminal and standard output', async () => {
    assert.match(await ok('exec', 'box', 'ip', 'addr', 'show', 'eth0'), /inet 172\./)
    assert.equal(await ok('exec', 'box', 'sh', '-c', 'cat /proc/sys/net/ipv4/ip_unprivileged_port_start; head -c3 /dev/zero | wc -c; echo x > /dev/null && echo null; ls -ln /dev/null | cut -c1'), '0\n3\nnull\nc')
    assert.equal(await ok('run', '--rm', 'busybox', 'sh', '-c', 'echo through > /dev/stdout'), 'through')
    assert.equal(await ok('run', '--rm', '-u', '1000', 'busybox', 'sh', '-c', 'echo through > /dev/stdout; id -u'), 'through\n1000')
    assert.match((await exec('script', ['-qec', `${root}/build/node ${root}/build/gantry.cjs -H ${daemon.host} run --rm -t busybox sh -c "tty; echo t > /dev/tty"`, '/dev/null'])).out, /\/dev\/pts\/0\s+t/)
    assert.match((await exec('script', ['-qec', `${root}/build/node ${root}/build/gantry.cjs -H ${daemon.host} exec -t box tty`, '/dev/null'])).out, /\/dev\/pts\/0/)
  })
  it('the default confinement holds there too', async () => {
    assert.match(await ok('exec', 'box', 'sh', '-c', 'grep -E "CapEff|Seccomp:" /proc/self/status; cat /proc/keys | wc -c; (echo 1 > /proc/sys/kernel/panic) 2>&1; true'), /CapEff:\t00000000a80425fb\nSeccomp:\t2\n0\n.*(Read-only|denied)/)
  })
  it('limits and the score for lack of memory come from the host', async () => {
    assert.equal(await ok('run', '--rm', '-m', '32m', '--oom-score-adj', '200', '--ulimit', 'nofile=123:456', 'busybox', 'sh', '-c', 'cat /proc/self/oom_score_adj; ulimit -n; ulimit -Hn'), '200\n123\n456')
  })
  it('a volume keeps the ids of the image; a bind keeps the host’s', async () => {
    await ok('run', '--rm', '-v', 'kept:/data', 'busybox', 'sh', '-c', 'echo 1 > /data/file; chown 33 /data/file')
    assert.equal(await ok('run', '--rm', '-v', 'kept:/data', 'busybox', 'stat', '-c', '%u', '/data/file'), '33')
    assert.equal(await ok('run', '--rm', '--userns', 'host', '-v', 'kept:/data', 'busybox', 'stat', '-c', '%u', '/data/file'), '33')
    mkdirSync(`${daemon.home}/bind`)
    writeFileSync(`${daemon.home}/bind/file`, '')
    assert.equal(await ok('run', '--rm', '-v', `${daemon.home}/bind:/b`, 'busybox', 'stat', '-c', '%u', '/b/file'), '65534')
  })
  it('an image that is mounted shows the ids that it has; binds and volumes come to a running container', async () => {
    assert.equal(await ok('run', '--rm', '--mount', 'type=image,source=busybox,target=/img', 'busybox', 'sh', '-c', 'stat -c %u /img/bin/sh; /img/bin/sh -c "echo runs"'), '0\nruns')
    assert.equal(await ok('run', '--rm', '--mount', 'type=volume,source=kept,target=/data,volume-subpath=file', 'busybox', 'stat', '-c', '%u', '/data'), '33')
    await ok('update', '--mount-add', 'kept:/late/data', 'box')
    assert.equal(await ok('exec', 'box', 'stat', '-c', '%u', '/late/data/file', '/late'), '33\n0')
    await ok('update', '--mount-rm', '/late/data', 'box')
    assert.equal(await ok('exec', 'box', 'ls', '-A', '/late/data'), '')
  })
  it('cp in and out: root inside on both ways', async () => {
    writeFileSync(`${daemon.home}/in`, 'in\n')
    await ok('cp', `${daemon.home}/in`, 'box:/in')
    assert.equal(await ok('exec', 'box', 'sh', '-c', 'stat -c %u /in; cat /in'), '0\nin')
    await ok('cp', 'box:/new', `${daemon.home}/out`)
    assert.equal(readFileSync(`${daemon.home}/out`, 'utf8'), 'new\n')
  })
  it('--userns host opts out; without it, more of the host is refused', async () => {
    assert.match(await ok('run', '--rm', '--userns', 'host', '--privileged', 'busybox', 'cat', '/proc/self/uid_map'), /^\s*0\s+0\s+4294967295$/)
    assert.match((await gantry('run', '--rm', '--privileged', 'busybox', 'true')).err, /privileged mode is incompatible with user namespaces/)
    assert.match((await gantry('run', '--rm', '--network', 'host', 'busybox', 'true')).err, /cannot share the host's network namespace/)
  })
  it('commit: the image is the same for everybody', async () => {
    await ok('commit', 'box', 'made')
    assert.equal(await ok('run', '--rm', '--userns', 'host', 'made', 'stat', '-c', '%u', '/new'), '0')
    assert.equal(await ok('run', '--rm', 'made', 'stat', '-c', '%u', '/new'), '0')
    await ok('rm', '-f', 'box')
    await ok('rmi', 'made')
  })
})
