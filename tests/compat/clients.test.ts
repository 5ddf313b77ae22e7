/** The genuine docker client and our own drive a daemon each through the same steps: every step asserts output and exit code. */
import assert from 'node:assert/strict'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { after, before, describe, it } from 'node:test'
import { NOTHING, settledCensus } from '../census.ts'
import { dockerClient, exec, foreignDaemon, type Ran, root, sleep, type TestDaemon, testDaemon, until } from '../harness.ts'

const docker = dockerClient()
/** Another engine as a control: COMPAT_HOST=unix://…, COMPAT_PID=a process in its network namespace. Steps about our own ways fail there. */
const foreign = process.env['COMPAT_HOST']
const needsRoot = process.getuid?.() !== 0 ? 'needs root' : false

describe('docker client', { skip: docker === undefined ? 'no genuine docker client on this machine' : needsRoot }, () => steps([docker ?? 'docker']))
describe('gantry client', { skip: needsRoot }, () => steps([`${root}/build/node`, `${root}/build/gantry.cjs`]))

function steps([program = '', ...first]: readonly string[]): void {
  let daemon: TestDaemon
  let scratch = ''
  const run = (...args: readonly string[]): Promise<Ran> => exec(program, [...first, '-H', daemon.host, ...args])
  const feed = (input: string, ...args: readonly string[]): Promise<Ran> => exec(program, [...first, '-H', daemon.host, ...args], { input })
  /** Runs and asserts success; gives the output without its last line feed. */
  const ok = async (...args: readonly string[]): Promise<string> => {
    const ran = await run(...args)
    assert.equal(ran.code, 0, `${args.join(' ')}: ${ran.err}`)
    return ran.out.trimEnd()
  }
  const fails = async (code: number, message: RegExp, ...args: readonly string[]): Promise<void> => {
    const ran = await run(...args)
    assert.equal(ran.code, code, ran.err)
    assert.match(ran.err, message)
  }
  before(async () => {
    daemon = foreign === undefined ? await testDaemon() : foreignDaemon(foreign, Number(process.env['COMPAT_PID']))
    scratch = `${daemon.home}/scratch`
    mkdirSync(scratch)
  })
  after(async () => {
    const ids = (await run('ps', '-aq')).out.trim().split('\n').filter((id) => id !== '')
    if (ids.length > 0) await run('rm', '-f', '-v', ...ids)
    const left = foreign === undefined ? await settledCensus(daemon) : NOTHING
    await daemon.dispose()
    assert.deepEqual(left, NOTHING)
  })

  it('version: both sides', async () => assert.equal(await ok('version', '-f', '{{.Server.Os}}'), 'linux'))
  it('info: truthful driver', async () => assert.equal(await ok('info', '-f', '{{.Driver}} {{.Swarm.LocalNodeState}}'), 'erofs inactive'))
  it('images: the bundled one', async () => assert.equal(await ok('images', '--format', '{{.Repository}}:{{.Tag}}'), 'busybox:latest'))
  it('run: foreground output', async () => assert.equal(await ok('run', '--rm', 'busybox', 'echo', 'hello'), 'hello'))
  it('run: exit code of the process', async () => assert.equal((await run('run', '--rm', 'busybox', 'sh', '-c', 'exit 3')).code, 3))
  it('run: 127 for a missing program', () => fails(127, /executable file not found in \$PATH/, 'run', '--rm', 'busybox', 'nope'))
  it('run: 126 for a program that cannot run', () => fails(126, /permission denied/, 'run', '--rm', 'busybox', '/etc'))
  it('run: 125 for what the daemon refuses', () => fails(125, /Minimum memory limit allowed is 6MB/, 'run', '--rm', '--memory', '1k', 'busybox', 'true'))
  it('run: 128 + n for a signal', async () => assert.equal((await run('run', '--rm', 'busybox', 'sh', '-c', "sh -c 'kill -9 $$'; exit $?")).code, 137))
  it('run: standard error apart', async () => {
    const ran = await run('run', '--rm', 'busybox', 'sh', '-c', 'echo out; echo err >&2')
    assert.deepEqual([ran.out, ran.err], ['out\n', 'err\n'])
  })
  it('run -i: standard input', async () => assert.equal((await feed('one\ntwo\n', 'run', '-i', '--rm', 'busybox', 'cat')).out, 'one\ntwo\n'))
  it('run -i: a megabyte through cat', async () => {
    const text = 'x'.repeat(1 << 20)
    assert.equal((await feed(text, 'run', '-i', '--rm', 'busybox', 'cat')).out.length, text.length)
  })
  it('run -t: a terminal', async () => assert.match((await exec('script', ['-qec', `${[program, ...first].join(' ')} -H ${daemon.host} run --rm -t busybox tty`, '/dev/null'])).out, /\/dev\/pts\/0/))
  it('run -e, --env-file', async () => {
    writeFileSync(`${scratch}/env`, '# comment\nC=3\n')
    assert.equal(await ok('run', '--rm', '-e', 'A=1', '-e', 'B=2', '--env-file', `${scratch}/env`, 'busybox', 'sh', '-c', 'echo $A$B$C'), '123')
  })
  it('run -w: made when missing', async () => assert.equal(await ok('run', '--rm', '-w', '/some/where', 'busybox', 'pwd'), '/some/where'))
  it('run -u: numbers', async () => assert.equal(await ok('run', '--rm', '-u', '1000:2000', 'busybox', 'id'), 'uid=1000 gid=2000 groups=2000'))
  it('run -u: names of the image', async () => assert.match(await ok('run', '--rm', '-u', 'nobody', 'busybox', 'id'), /^uid=65534\(nobody\)/))
  it('run -u: an unknown name', () => fails(125, /unable to find user ghost/, 'run', '--rm', '-u', 'ghost', 'busybox', 'id'))
  it('run -v: a bind, read-only', async () => {
    writeFileSync(`${scratch}/file`, 'content')
    assert.equal((await run('run', '--rm', '-v', `${scratch}:/s:ro`, 'busybox', 'sh', '-c', 'cat /s/file; touch /s/x')).code, 1)
  })
  it('run -v: a bind, written', async () => {
    await ok('run', '--rm', '-v', `${scratch}:/s`, 'busybox', 'sh', '-c', 'echo made > /s/made')
    assert.equal(readFileSync(`${scratch}/made`, 'utf8'), 'made\n')
  })
  it('run -v: a named volume keeps its content', async () => {
    await ok('run', '--rm', '-v', 'keep:/data', 'busybox', 'sh', '-c', 'echo kept > /data/file')
    assert.equal(await ok('run', '--rm', '-v', 'keep:/data', 'busybox', 'cat', '/data/file'), 'kept')
  })
  it('run -v: image content is copied into a new volume', async () => assert.match(await ok('run', '--rm', '-v', 'fresh:/etc', 'busybox', 'cat', '/etc/group'), /^root:x:0:/))
  it('volume ls, inspect, rm', async () => {
    assert.match(await ok('volume', 'ls', '-q'), /^fresh\nkeep$/)
    assert.equal(await ok('volume', 'inspect', '-f', '{{.Driver}}', 'keep'), 'local')
    assert.equal(await ok('volume', 'rm', 'keep', 'fresh'), 'keep\nfresh')
  })
  it('volume create: labels', async () => {
    await ok('volume', 'create', '--label', 'a=b', 'labelled')
    assert.equal(await ok('volume', 'ls', '-q', '--filter', 'label=a=b'), 'labelled')
    await ok('volume', 'rm', 'labelled')
  })
  it('run --entrypoint', async () => assert.equal(await ok('run', '--rm', '--entrypoint', 'echo', 'busybox', 'a', 'b'), 'a b'))
  it('run -h', async () => assert.equal(await ok('run', '--rm', '-h', 'box', 'busybox', 'hostname'), 'box'))
  it('run --read-only', async () => assert.match((await run('run', '--rm', '--read-only', 'busybox', 'touch', '/x')).err, /Read-only file system/))
  it('run --network none', async () => assert.doesNotMatch(await ok('run', '--rm', '--network', 'none', 'busybox', 'ip', 'link'), /eth0/))
  it('run --network host', async () => assert.match(await ok('run', '--rm', '--network', 'host', 'busybox', 'ip', 'link'), new RegExp(`gt${daemon.name}`)))
  it('run -m, --cpus, --pids-limit', async () => {
    const ran = await ok('run', '--rm', '-m', '32m', '--cpus', '0.5', '--pids-limit', '20', 'busybox', 'sh', '-c', 'cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes cpu/cpu.cfs_quota_us pids/pids.max 2>/dev/null || cat memory.max cpu.max pids.max')
    assert.match(ran, /^33554432\n(50000|50000 100000)\n20$/)
  })
  it('run -m: killed for memory', async () => {
    await run('run', '--name', 'greedy', '-m', '16m', 'busybox', 'sh', '-c', 'x=a; while true; do x=$x$x; done')
    assert.equal(await ok('inspect', '-f', '{{.State.OOMKilled}} {{.State.ExitCode}}', 'greedy'), 'true 137')
    await ok('rm', 'greedy')
  })
  it('run --init: a reaper as pid 1', async () => assert.match(await ok('run', '--rm', '--init', 'busybox', 'ps'), /1 root {5}\{gantry-init\}/))
  it('the default profile inside', async () => {
    const status = await ok('run', '--rm', 'busybox', 'cat', '/proc/self/status')
    assert.match(status, /CapInh:\t0000000000000000\nCapPrm:\t00000000a80425fb\nCapEff:\t00000000a80425fb\nCapBnd:\t00000000a80425fb\nCapAmb:\t0{16}/)
    assert.match(status, /Seccomp:\t2/)
  })
  it('run -d, ps, ps -q, filters', async () => {
    await ok('run', '-d', '--name', 'web', '--label', 'role=web', '-p', '127.0.0.1:18080:80', '-p', '18081:80', 'busybox', 'sh', '-c', 'mkdir /www; echo page > /www/index.html; exec httpd -f -h /www')
    assert.equal(await ok('ps', '--format', '{{.Names}} {{.Image}}'), 'web busybox')
    assert.equal((await ok('ps', '-q')).length, 12)
    assert.equal(await ok('ps', '-a', '--filter', 'label=role=web', '--format', '{{.Names}}'), 'web')
    assert.equal(await ok('ps', '--filter', 'status=exited', '--filter', 'name=web', '-q'), '')
  })
  it('published ports: from the host, by address and wildcard', async () => {
    await until('httpd listens', async () => (await exec('nsenter', ['--net', '-t', String(daemon.holder), '/bin/busybox', 'wget', '-qO-', 'http://127.0.0.1:18081/'])).out === 'page\n')
    assert.equal(await daemon.inside('/bin/busybox', 'wget', '-qO-', 'http://127.0.0.1:18080/'), 'page\n')
  })
  it('published ports: from another container, and from the container itself', async () => {
    const gateway = await ok('inspect', '-f', '{{.NetworkSettings.Gateway}}', 'web')
    assert.equal(await ok('run', '--rm', 'busybox', 'wget', '-qO-', `http://${gateway}:18081/`), 'page')
    assert.equal(await ok('exec', 'web', 'wget', '-qO-', `http://${gateway}:18081/`), 'page')
  })
  it('port, and a port that is taken', async () => {
    assert.match(await ok('port', 'web'), /80\/tcp -> 127\.0\.0\.1:18080/)
    await fails(125, /port is already allocated/, 'run', '--rm', '-p', '18081:80', 'busybox', 'true')
  })
  it('inspect: what clients read', async () => {
    const [seen] = JSON.parse(await ok('inspect', 'web'))
    assert.equal(seen.Name, '/web')
    assert.equal(seen.State.Status, 'running')
    assert.equal(seen.HostConfig.NetworkMode, 'bridge')
    assert.deepEqual(seen.NetworkSettings.Ports['80/tcp'][0], { HostIp: '127.0.0.1', HostPort: '18080' })
    assert.equal(seen.NetworkSettings.Networks.bridge.IPAddress, seen.NetworkSettings.IPAddress)
    assert.match(seen.GraphDriver.Data.UpperDir, /erofs/)
  })
  it('network ls, inspect', async () => {
    assert.match(await ok('network', 'ls', '--format', '{{.Name}}'), /^bridge\nhost\nnone$/)
    assert.match(await ok('network', 'inspect', 'bridge', '-f', '{{range .Containers}}{{.Name}} {{end}}'), /web/)
  })
  it('exec: output and exit code', async () => {
    const ran = await run('exec', 'web', 'sh', '-c', 'echo out; echo err >&2; exit 7')
    assert.deepEqual([ran.code, ran.out, ran.err], [7, 'out\n', 'err\n'])
  })
  it('exec -e -u -w', async () => assert.equal(await ok('exec', '-e', 'A=b', '-u', 'nobody', '-w', '/tmp', 'web', 'sh', '-c', 'echo $A $(id -u) $(pwd)'), 'b 65534 /tmp'))
  it('exec -i', async () => assert.equal((await feed('typed', 'exec', '-i', 'web', 'cat')).out, 'typed'))
  it('exec -t', async () => assert.match((await exec('script', ['-qec', `${[program, ...first].join(' ')} -H ${daemon.host} exec -t web tty`, '/dev/null'])).out, /\/dev\/pts\/0/))
  it('exec -d', async () => {
    await ok('exec', '-d', 'web', 'touch', '/detached')
    await until('the file is there', async () => (await run('exec', 'web', 'test', '-e', '/detached')).code === 0)
  })
  it('exec: a missing program is 127', () => fails(127, /^$/, 'exec', 'web', 'nope'))
  it('top', async () => assert.match(await ok('top', 'web'), /httpd -f/))
  it('cp in, and out', async () => {
    writeFileSync(`${scratch}/in.txt`, 'copied\n')
    await ok('cp', `${scratch}/in.txt`, 'web:/tmp/')
    assert.equal(await ok('exec', 'web', 'cat', '/tmp/in.txt'), 'copied')
    await ok('cp', 'web:/www/.', `${scratch}/www`)
    assert.equal(readFileSync(`${scratch}/www/index.html`, 'utf8'), 'page\n')
  })
  it('cp: what is not there', () => fails(1, /Could not find the file/, 'cp', 'web:/nowhere', `${scratch}/x`))
  it('diff', async () => assert.match(await ok('diff', 'web'), /A \/www\nA \/www\/index.html/))
  it('pause, unpause', async () => {
    await ok('pause', 'web')
    assert.match(await ok('ps', '--format', '{{.Status}}'), /\(Paused\)/)
    await ok('unpause', 'web')
  })
  it('stats: once, and as a stream', async () => {
    assert.match(await ok('stats', '--no-stream', '--format', '{{.Name}} {{.PIDs}} {{.MemPerc}}', 'web'), /^web [1-9]\d* [\d.]+%$/)
    const ran = await exec('timeout', ['-s', 'KILL', '4', program, ...first, '-H', daemon.host, 'stats', '--format', '{{.Name}}|{{.CPUPerc}}', 'web'])
    assert.match(ran.out, /web\|[\d.]+%/)
  })
  it('update: limits of what runs, and the record', async () => {
    await ok('update', '-m', '64m', '--memory-swap', '128m', '--pids-limit', '77', '--restart', 'on-failure:3', 'web')
    assert.match(await ok('exec', 'web', 'sh', '-c', 'cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/pids/pids.max 2>/dev/null || cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max'), /^67108864\n77$/)
    await ok('update', '-m', '256m', '--memory-swap', '512m', 'web')
    assert.equal(await ok('inspect', '-f', '{{.HostConfig.Memory}} {{.HostConfig.PidsLimit}} {{.HostConfig.RestartPolicy.Name}}', 'web'), '268435456 77 on-failure')
    await fails(1, /Memory limit should be smaller than already set memoryswap limit/, 'update', '-m', '1g', 'web')
    await ok('update', '--restart', 'no', 'web')
  })
  it('rename', async () => {
    await ok('rename', 'web', 'site')
    assert.equal(await ok('ps', '--format', '{{.Names}}'), 'site')
    await ok('rename', 'site', 'web')
  })
  it('restart keeps name and ports', async () => {
    await ok('restart', '-t', '0', 'web')
    await until('httpd listens again', async () => (await exec('nsenter', ['--net', '-t', String(daemon.holder), '/bin/busybox', 'wget', '-qO-', 'http://127.0.0.1:18080/'])).out === 'page\n')
  })
  it('cp into a created one that is removed at its end', async () => {
    writeFileSync(`${scratch}/early`, 'early')
    await ok('create', '--rm', '--name', 'early', 'busybox', 'cat', '/early')
    await ok('cp', `${scratch}/early`, 'early:/')
    assert.equal(await ok('start', '-a', 'early'), 'early')
  })
  it('restart of one that would be removed at its end', async () => {
    await ok('run', '-d', '--rm', '--name', 'stays', 'busybox', 'sleep', '100')
    await ok('restart', '-t', '0', 'stays')
    assert.equal(await ok('inspect', '-f', '{{.State.Running}}', 'stays'), 'true')
    await ok('kill', 'stays')
    await until('it is gone', async () => (await run('inspect', 'stays')).code === 1)
  })
  it('commit, and a container from it', async () => {
    await ok('commit', '-c', 'ENV FROM=commit', 'web', 'site:1')
    assert.equal(await ok('run', '--rm', 'site:1', 'sh', '-c', 'cat /www/index.html; echo $FROM'), 'page\ncommit')
  })
  it('history, image inspect, tag, rmi', async () => {
    assert.equal((await ok('history', '-q', 'site:1')).split('\n').length, 2)
    assert.equal(await ok('image', 'inspect', '-f', '{{.Os}}', 'site:1'), 'linux')
    await ok('tag', 'site:1', 'site:2')
    assert.match(await ok('rmi', 'site:2'), /^Untagged: site:2$/)
  })
  it('save, rmi, load: the same image', async () => {
    const id = await ok('image', 'inspect', '-f', '{{.Id}}', 'site:1')
    await ok('save', '-o', `${scratch}/site.tar`, 'site:1')
    await ok('rmi', 'site:1')
    assert.match(await ok('load', '-i', `${scratch}/site.tar`), /Loaded image: site:1/)
    assert.equal(await ok('image', 'inspect', '-f', '{{.Id}}', 'site:1'), id)
    await ok('rmi', 'site:1')
  })
  it('ps -s, inspect -s, container prune: bytes that were written', async () => {
    await ok('run', '--name', 'writer', 'busybox', 'sh', '-c', 'head -c 123456 /dev/zero > /file')
    assert.match(await ok('ps', '-a', '-s', '--filter', 'name=writer', '--format', '{{.Size}}'), /^123kB \(virtual [\d.]+MB\)$/)
    assert.equal(await ok('inspect', '-s', '-f', '{{.SizeRw}}', 'writer'), '123456')
    assert.match(await ok('container', 'prune', '-f'), /Total reclaimed space: 123\.5kB$/)
    assert.equal(await ok('ps', '-aq', '--filter', 'name=writer'), '')
  })
  it('export, import', async () => {
    await ok('export', '-o', `${scratch}/root.tar`, 'web')
    assert.match(await ok('import', '-c', 'CMD ["cat","/www/index.html"]', `${scratch}/root.tar`, 'flat'), /^sha256:/)
    assert.equal(await ok('run', '--rm', 'flat'), 'page')
    await ok('rmi', 'flat')
  })
  it('stop, start, wait, kill', async () => {
    assert.equal(await ok('stop', '-t', '1', 'web'), 'web')
    assert.equal(await ok('start', 'web'), 'web')
    const waiting = run('wait', 'web')
    await sleep(200)
    await ok('kill', 'web')
    assert.equal((await waiting).out, '137\n')
  })
  it('stop of a stopped one, kill of a stopped one', async () => {
    assert.equal(await ok('stop', 'web'), 'web')
    await fails(1, /is not running/, 'kill', 'web')
  })
  it('rm: refused while it runs, forced', async () => {
    await ok('start', 'web')
    await fails(1, /container is running: stop the container before removing or force remove/, 'rm', 'web')
    assert.equal(await ok('rm', '-f', 'web'), 'web')
  })
  it('logs: tail, timestamps, since, follow', async () => {
    await ok('run', '-d', '--name', 'talker', 'busybox', 'sh', '-c', 'echo one; echo two; sleep 0.5; echo three')
    assert.equal(await ok('logs', '-f', 'talker'), 'one\ntwo\nthree')
    assert.equal(await ok('logs', '--tail', '1', 'talker'), 'three')
    assert.match(await ok('logs', '-t', '--tail', '1', 'talker'), /^\d{4}-\d\d-\d\dT[\d:.]+Z three$/)
    assert.equal(await ok('logs', '--since', '1h', 'talker'), 'one\ntwo\nthree')
    assert.equal(await ok('logs', '--until', '1h', 'talker'), '')
    await ok('rm', 'talker')
  })
  it('logs: rotation by size and count keeps the newest', async () => {
    await ok('run', '--name', 'rotates', '--log-opt', 'max-size=100k', '--log-opt', 'max-file=3', 'busybox', 'seq', '6000')
    const lines = (await ok('logs', 'rotates')).split('\n').map(Number)
    assert.equal(lines.at(-1), 6000)
    assert.ok(lines.length < 6000 && lines.length > 1000)
    assert.deepEqual(lines, lines.map((_, index) => (lines[0] ?? 0) + index))
    // Further back than the newest file reaches.
    assert.deepEqual((await ok('logs', '--tail', '3000', 'rotates')).split('\n').map(Number), lines.slice(-3000))
    assert.equal((await ok('logs', '--tail', '100000', 'rotates')).split('\n').length, lines.length)
    await ok('rm', 'rotates')
    await fails(125, /unknown log opt 'colour'/, 'run', '--rm', '--log-opt', 'colour=red', 'busybox', 'true')
  })
  it('create, start -a: output of a created one', async () => {
    await ok('create', '--name', 'later', 'busybox', 'echo', 'now')
    assert.equal(await ok('start', '-a', 'later'), 'now')
    await ok('rm', 'later')
  })
  it('start -ai: input to a created one', async () => {
    await ok('create', '-i', '--name', 'asks', 'busybox', 'cat')
    assert.equal((await feed('answer', 'start', '-ai', 'asks')).out, 'answer')
    await ok('rm', 'asks')
  })
  it('attach: joins what runs', async () => {
    await ok('run', '-d', '--name', 'ticks', 'busybox', 'sh', '-c', 'for i in 1 2 3 4 5 6 7 8; do echo tick $i; sleep 0.2; done; exit 4')
    const ran = await run('attach', 'ticks')
    assert.equal(ran.code, 4)
    assert.match(ran.out, /tick 8/)
    await ok('rm', 'ticks')
  })
  it('attach: detach keys leave it running', async () => {
    await ok('run', '-dit', '--name', 'shell', 'busybox', 'sh')
    const ran = await exec('script', ['-qec', `sh -c "(sleep 0.5; printf '\\020\\021') | script -qec '${[program, ...first].join(' ')} -H ${daemon.host} attach shell' /dev/null"`, '/dev/null'])
    assert.match(ran.out, /read escape sequence|detach/i)
    assert.equal(await ok('inspect', '-f', '{{.State.Running}}', 'shell'), 'true')
    await ok('rm', '-f', 'shell')
  })
  it('a name that is taken', async () => {
    await ok('create', '--name', 'twin', 'busybox')
    await fails(1, /Conflict\. The container name "\/twin" is already in use/, 'create', '--name', 'twin', 'busybox')
    await ok('rm', 'twin')
  })
  it('an image that is not there says so', () => fails(125, /Unable to find image 'absent:latest' locally[^]*Error response from daemon: Get "https:/, 'run', '--rm', 'absent', 'true'))
  it('--stop-signal, --stop-timeout', async () => {
    await ok('run', '-d', '--name', 'polite', '--stop-signal', 'USR1', '--stop-timeout', '20', 'busybox', 'sh', '-c', 'trap "exit 9" USR1; while true; do sleep 0.1; done')
    await sleep(300)
    await ok('stop', 'polite')
    assert.equal(await ok('inspect', '-f', '{{.State.ExitCode}}', 'polite'), '9')
    await ok('rm', 'polite')
  })
  it('events: what happened, filtered', async () => {
    // The client cuts its own time to whole seconds.
    await sleep(1100)
    const lines = await ok('events', '--since', '1h', '--until', '0s', '--filter', 'container=polite', '--format', '{{.Action}}')
    assert.deepEqual(lines.split('\n'), ['create', 'start', 'kill', 'die', 'stop', 'destroy'])
  })
  it('restart policy: on-failure counts', async () => {
    await ok('run', '-d', '--name', 'again', '--restart', 'on-failure:2', 'busybox', 'false')
    await until('two restarts', async () => (await ok('inspect', '-f', '{{.RestartCount}} {{.State.Status}}', 'again')) === '2 exited')
    await ok('rm', 'again')
  })
  it('API versions: an old one works, one that is too old and one that is too new are refused', async () => {
    const at = (version: string): Promise<Ran> => exec(program, [...first, '-H', daemon.host, 'ps'], { env: { DOCKER_API_VERSION: version } })
    assert.equal((await at('1.24')).code, 0)
    assert.match((await at('1.23')).err, /too old/)
    assert.match((await at('1.99')).err, /too new/)
  })
  it('a plugin that is not there says so', () => fails(1, /plugin "own" not found|unknown command: gantry plugin/, 'plugin', 'inspect', 'own'))
}
