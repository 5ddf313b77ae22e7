/** Other OCI runtimes as drivers (`--runtime`): every verb of a container. Which: GANTRY_TEST_RUNTIMES=runc=/path,…, else runc, crun and lxc-start where they are installed; and LXC. */
import assert from 'node:assert/strict'
import { existsSync, readdirSync } from 'node:fs'
import { after, before, describe, it } from 'node:test'
import { disposeClean } from '../census.ts'
import { exec, ownClient, sleep, type TestDaemon, testDaemon, until } from '../harness.ts'

const root = process.getuid?.() === 0
const version = existsSync('/sys/fs/cgroup/cgroup.controllers') ? 2 : 1
const named = process.env['GANTRY_TEST_RUNTIMES']?.split(',') ?? []
const where = (name: string): string | undefined => named.find((one) => one.startsWith(`${name}=`))?.slice(name.length + 1) ?? (process.env['PATH'] ?? '').split(':').map((directory) => `${directory}/${name}`).find((path) => existsSync(path))

for (const name of ['runc', 'crun', 'lxc']) {
  const path = where(name === 'lxc' ? 'lxc-start' : name)
  const skip = !root ? 'needs root' : path === undefined ? `needs ${name} (Debian package ${name})` : name === 'crun' && version === 1 ? 'crun refuses hybrid cgroups; tests/vm/cgroup2.test.ts runs it on version 2' : false
  describe(`--runtime ${name}`, { skip }, () => {
    let daemon: TestDaemon
    const { gantry, ok } = ownClient(() => daemon)
    const run = (...words: readonly string[]) => gantry('run', '--runtime', name, ...words)
    const stateLeft = (): readonly string[] => (name === 'lxc' ? [] : readdirSync(`${daemon.home}/x/runtimes/${name}`).filter((one) => one.length === 64))
    before(async () => {
      daemon = await testDaemon(name === 'lxc' ? [] : ['--add-runtime', `${name}=${path}`])
    })
    after(async () => {
      for (const id of (await ok('ps', '-aq')).split('\n').filter((one) => one !== '')) await ok('rm', '-f', '-v', id)
      await until('the runtime has forgotten all containers', () => stateLeft().length === 0)
      await disposeClean(daemon)
    })

    it('run: output, exit code, environment, user; --rm', async () => {
      const ran = await run('--rm', '-e', 'A=b', '-u', '1000:1000', '-w', '/tmp', 'busybox', 'sh', '-c', 'echo $A; id -u; pwd; echo err >&2; exit 3')
      assert.deepEqual([ran.code, ran.out, ran.err], [3, 'b\n1000\n/tmp\n', 'err\n'])
    })
    it('a program that is not there: 127, one that is no program: 126', async () => {
      const missing = await run('--rm', 'busybox', 'nosuch')
      assert.equal(missing.code, 127)
      assert.match(missing.err, /nosuch.*not found|no such file|nosuch/)
      // With LXC the program is looked for inside, when the container is there already.
      assert.equal((await run('--rm', 'busybox', '/etc')).code, 126)
      assert.equal(await ok('ps', '-aq'), '')
    })
    it('images and parts of volumes are mounted; binds come to a running container and go', async () => {
      await ok('run', '--rm', '-v', 'part:/v', 'busybox', 'sh', '-c', 'mkdir /v/sub; echo one >/v/sub/file')
      const ran = await run('--rm', '--mount', 'type=image,source=busybox,target=/img', '--mount', 'type=volume,source=part,target=/v,volume-subpath=sub', 'busybox', 'sh', '-c', 'ls /img/bin/sh; cat /v/file; touch /img/x 2>&1; ls /img/x 2>/dev/null')
      assert.match(ran.out, /^\/img\/bin\/sh\none\n.*Read-only file system\n$/, ran.err)
      await ok('run', '-d', '--name', 'late', '--runtime', name, 'busybox', 'sleep', '1000')
      await ok('update', '--mount-add', 'part:/new/v', 'late')
      assert.equal(await ok('exec', 'late', 'cat', '/new/v/sub/file'), 'one')
      await ok('update', '--mount-rm', '/new/v', 'late')
      assert.equal(await ok('exec', 'late', 'ls', '-A', '/new/v'), '')
      await ok('rm', '-f', 'late')
      await ok('volume', 'rm', 'part')
    })
    it('a long life: ports, volumes, limits, exec, top, pause, update, cp, logs, signals, stop, restart', async () => {
      await ok('run', '-d', '--name', 'web', '--runtime', name, '-p', '18080:80', '-v', 'data:/data', '--init', '-m', '64m', '--pids-limit', '50', 'busybox', 'sh', '-c', 'trap "echo got usr1" USR1; mkdir /www; echo page > /www/index.html; httpd -p 80 -h /www; while :; do sleep 0.2; done')
      await until('the page is served', async () => (await exec('nsenter', ['-t', String(daemon.holder), '-n', 'wget', '-qO-', 'http://127.0.0.1:18080/'])).out === 'page\n')
      assert.equal(await ok('exec', 'web', 'cat', '/proc/1/comm'), 'gantry-init')
      const inside = await gantry('exec', '-u', '1000', '-e', 'X=y', '-w', '/tmp', 'web', 'sh', '-c', 'id -u; pwd; echo $X; exit 9')
      assert.deepEqual([inside.code, inside.out], [9, '1000\n/tmp\ny\n'])
      assert.equal((await gantry('exec', 'web', 'nosuch')).code, 127)
      assert.equal((await exec('sh', ['-c', `echo through | ${process.execPath} build/gantry.cjs -H ${daemon.host} exec -i web cat`])).out, 'through\n')
      assert.match(await ok('top', 'web'), /httpd/)
      await ok('pause', 'web')
      assert.match(await ok('ps', '--format', '{{.Status}}'), /Paused/)
      await ok('unpause', 'web')
      await ok('update', '--memory', '96m', '--memory-swap', '192m', 'web')
      assert.match(await ok('stats', '--no-stream', '--format', '{{.MemUsage}}', 'web'), /96(\.00)?MiB/)
      assert.match(await ok('diff', 'web'), /A \/www/)
      await ok('kill', '-s', 'USR1', 'web')
      await until('the signal has arrived', async () => (await ok('logs', 'web')).includes('got usr1'))
      await ok('stop', '-t', '1', 'web')
      assert.equal(await ok('inspect', '-f', '{{.State.Status}} {{.HostConfig.Runtime}}', 'web'), `exited ${name}`)
      await ok('start', 'web')
      await ok('restart', '-t', '0', 'web')
      assert.match(await ok('ps', '--format', '{{.Status}}'), /^Up/)
    })
    it('a killed daemon comes back to it; a killed shim ends it with 137', async () => {
      await daemon.kill()
      await daemon.start()
      assert.equal(await ok('exec', 'web', 'echo', 'still'), 'still')
      const pid = Number(await ok('inspect', '-f', '{{.State.Pid}}', 'web'))
      const shim = Number((await exec('sh', ['-c', `sed -n 's/^PPid:\\s*//p' /proc/${pid}/status`])).out)
      process.kill(shim, 'SIGKILL')
      await until('it is over', async () => (await ok('inspect', '-f', '{{.State.Status}} {{.State.ExitCode}}', 'web')) === 'exited 137', 2000)
      await ok('rm', '-v', 'web')
    })
    it('a terminal, with its size', async () => {
      const ran = await exec('script', ['-qec', `${process.execPath} build/gantry.cjs -H ${daemon.host} run --rm -t --runtime ${name} busybox test -t 0`, '/dev/null'])
      assert.equal(ran.code, 0, ran.out)
    })
    it('out of memory is seen', async () => {
      await run('--name', 'greedy', '-m', '16m', 'busybox', 'sh', '-c', 'x=a; while true; do x=$x$x; done')
      assert.equal(await ok('inspect', '-f', '{{.State.OOMKilled}} {{.State.ExitCode}}', 'greedy'), 'true 137')
      await ok('rm', 'greedy')
    })
    it('a failing start leaves nothing; a name that is not there is refused', async () => {
      const bad = await run('--rm', '--sysctl', 'net.ipv4.nosuch=1', 'busybox', 'true')
      assert.notEqual(bad.code, 0)
      assert.match((await gantry('run', '--rm', '--runtime', 'ghost', 'busybox', 'true')).err, /unknown or invalid runtime name: ghost/)
      await sleep(100)
      assert.deepEqual(stateLeft(), [])
    })
  })
}
