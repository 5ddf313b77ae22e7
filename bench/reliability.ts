/**
 * The runtime's part of the reliability scorecard (R1, R2, R8, R9, R10, R18, R20, R21, R23), each figure beside its aim and
 * beside what dockerd 20.10 gave on a machine of the same kind.
 *
 *   npm run bench:reliability -- [--only R1,R8] [--log-bytes N]
 */
import { execFile } from 'node:child_process'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { connect } from 'node:net'
import { parseArgs, promisify } from 'node:util'
import { settledCensus } from '../tests/census.ts'
import { exec, ownClient, root, sleep, type TestDaemon, testDaemon, until } from '../tests/harness.ts'

const { values } = parseArgs({ options: { only: { type: 'string', default: '' }, 'log-bytes': { type: 'string', default: String(1 << 30) } } })
const run = promisify(execFile)
const MIB = 1 << 20

interface Row {
  readonly id: string
  readonly what: string
  readonly figure: string
  readonly aim: string
  readonly anchor: string
  readonly good: boolean
}

// Assigned by the first measure.
let daemon!: TestDaemon
let started = false
const { gantry, ok } = ownClient(() => daemon)
const rssOf = (pid: number): number => Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1024
const fdsOf = (pid: number): number => readdirSync(`/proc/${pid}/fd`).length
const left = async (): Promise<number> => Object.values(await settledCensus(daemon, 10_000)).flat().length
const removeAll = async (): Promise<void> => {
  for (const id of (await ok('ps', '-aq')).split('\n').filter((one) => one !== '')) await ok('rm', '-f', '-v', id)
}
/** The highest resident size of the daemon while something goes on. */
async function peakWhile(work: () => Promise<unknown>): Promise<number> {
  let peak = 0
  const timer = setInterval(() => {
    peak = Math.max(peak, rssOf(daemon.pid()))
  }, 50)
  await work().finally(() => clearInterval(timer))
  return peak
}

const MEASURES: Readonly<Record<string, () => Promise<readonly Omit<Row, 'id'>[]>>> = {
  async R1() {
    let [leaks, lost, restarts] = [0, 0, 0]
    for (const moment of [40, 100, 200, 400]) {
      const acknowledged: string[] = []
      const starts = Array.from({ length: 20 }, (_, n) => gantry('run', '-d', '--name', `r1-${n}`, 'busybox', 'sleep', '1000').then((ran) => (ran.code === 0 ? acknowledged.push(`r1-${n}`) : 0), () => 0))
      await sleep(moment)
      await daemon.kill()
      await Promise.all(starts)
      await daemon.start().then(() => restarts++)
      const running = new Set((await ok('ps', '--format', '{{.Names}}')).split('\n'))
      lost += acknowledged.filter((name) => !running.has(name)).length
      await removeAll()
      leaks += await left()
    }
    return [{ what: 'daemon killed at 4 moments of 20 parallel starts: leaked, acknowledged and lost, first restarts', figure: `${leaks}, ${lost}, ${restarts}/4`, aim: '0, 0, 4/4', anchor: '104 leaked in one kill; restart failed 3 of 3', good: leaks === 0 && lost === 0 && restarts === 4 }]
  },
  async R2() {
    for (let n = 0; n < 21; n++) await ok('run', '-d', '--name', `r2-${n}`, 'busybox', 'sh', '-c', 'i=0; while :; do echo $i; i=$((i+1)); sleep 0.05; done')
    await sleep(1000)
    await daemon.kill()
    await sleep(4000)
    const began = performance.now()
    await daemon.start()
    const ready = performance.now() - began
    const running = (await ok('ps', '-q')).split('\n').length
    let gaps = 0
    for (let n = 0; n < 21; n++) (await ok('logs', `r2-${n}`)).split('\n').forEach((line, index) => (gaps += Number(line) === index ? 0 : 1))
    const inside = (await gantry('exec', 'r2-0', 'true')).code === 0
    await removeAll()
    return [{ what: '21 running, killed, 4 s down: running after, missing log lines, exec, ready', figure: `${running}, ${gaps}, ${inside ? 'yes' : 'no'}, ${ready.toFixed(0)} ms`, aim: '21, 0, yes, < 1000 ms', anchor: '21, 0, yes, 843 ms', good: running === 21 && gaps === 0 && inside && ready < 1000 }]
  },
  async R8() {
    const bytes = Number(values['log-bytes'])
    const before = rssOf(daemon.pid())
    const began = performance.now()
    const peak = await peakWhile(async () => {
      await ok('run', '-d', '--name', 'burst', '--log-opt', 'max-size=-1', 'busybox', 'sh', '-c', `yes "$(printf %063d 7)" | head -c ${bytes}`)
      await gantry('wait', 'burst')
    })
    const wall = (performance.now() - began) / 1000
    const id = await ok('inspect', '-f', '{{.Id}}', 'burst')
    const file = statSync(`${daemon.home}/data/containers/${id}/${id}-json.log`).size
    const lines = Number((await exec('sh', ['-c', `wc -l < ${daemon.home}/data/containers/${id}/${id}-json.log`])).out)
    return [{ what: `burst of ${bytes / MIB} MiB: growth of the daemon, wall, bytes lost, log by data`, figure: `${(peak - before).toFixed(1)} MB, ${wall.toFixed(1)} s, ${bytes - lines * 64}, ${(file / bytes).toFixed(2)}`, aim: '< 30 MB, 0 lost', anchor: '+3 MB, 22.9 s, 0, 1.69', good: peak - before < 30 && lines * 64 === bytes }]
  },
  async R9() {
    const before = rssOf(daemon.pid())
    const began = performance.now()
    let got = ''
    const peak = await peakWhile(async () => {
      got = (await run('sh', ['-c', `${root}/build/node ${root}/build/gantry.cjs -H ${daemon.host} logs burst | wc -c`])).stdout.trim()
    })
    await ok('rm', '-f', 'burst')
    return [{ what: 'the same read back through the API: bytes, wall, growth of the daemon', figure: `${got}, ${((performance.now() - began) / 1000).toFixed(1)} s, ${(peak - before).toFixed(1)} MB`, aim: 'all, flat', anchor: 'all, 60 s, flat', good: Number(got) === Number(values['log-bytes']) }]
  },
  async R10() {
    const rows: Omit<Row, 'id'>[] = []
    for (const readers of [1, 20]) {
      await ok('run', '-d', '--name', 'yes', '--log-driver', 'none', 'busybox', 'yes')
      const before = rssOf(daemon.pid())
      const sockets = Array.from({ length: readers }, () => {
        const socket = connect(daemon.host.replace('unix://', ''))
        socket.write('POST /containers/yes/attach?stream=1&stdout=1 HTTP/1.1\r\nHost: d\r\nUpgrade: tcp\r\nConnection: Upgrade\r\n\r\n')
        socket.on('error', () => undefined)
        socket.pause()
        return socket
      })
      // One KB a fifth of a second, each.
      const timer = setInterval(() => {
        for (const socket of sockets) socket.read(1024)
      }, 200)
      const peak = await peakWhile(() => sleep(4000))
      const pid = Number(await ok('inspect', '-f', '{{.State.Pid}}', 'yes'))
      const cpu = (): number => readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\) /, '').split(' ').slice(11, 13).reduce((sum, one) => sum + Number(one), 0)
      const spent = cpu()
      await sleep(1000)
      const held = cpu() - spent < 20
      clearInterval(timer)
      for (const socket of sockets) socket.destroy()
      await removeAll()
      rows.push({ what: `${readers} slow reader${readers > 1 ? 's' : ''} against \`yes\`: growth of the daemon, container held back`, figure: `${(peak - before).toFixed(1)} MB, ${held ? 'yes' : 'no'}`, aim: '< 10 MB, yes', anchor: readers > 1 ? '+10 MB, yes' : '+4 MB, yes', good: peak - before < 10 && held })
    }
    return rows
  },
  async R18() {
    await ok('run', '-d', '--name', 'many', 'busybox', 'sleep', '1000')
    const began = performance.now()
    const codes = await Promise.all(Array.from({ length: 100 }, async () => {
      const { Id } = await daemon.api.json<{ Id: string }>('POST', '/containers/many/exec', { json: { Cmd: ['true'] } })
      await daemon.api.send('POST', `/exec/${Id}/start`, { json: { Detach: true } }).then((response) => response.resume())
      await until('it has ended', async () => !(await daemon.api.json<{ Running: boolean }>('GET', `/exec/${Id}/json`)).Running)
      return (await daemon.api.json<{ ExitCode: number }>('GET', `/exec/${Id}/json`)).ExitCode
    }))
    const wall = (performance.now() - began) / 1000
    const good = codes.filter((code) => code === 0).length
    await removeAll()
    return [{ what: '100 execs at once in one container: success, wall', figure: `${good}, ${wall.toFixed(2)} s`, aim: '100', anchor: '100, 3.3 s', good: good === 100 }]
  },
  async R20() {
    await ok('run', '-d', '--name', 'box', 'busybox', 'sleep', '1000')
    const pid = Number(await ok('inspect', '-f', '{{.State.Pid}}', 'box'))
    const shim = Number(/^PPid:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1])
    const began = performance.now()
    process.kill(shim, 'SIGKILL')
    await until('it is known', async () => (await ok('inspect', '-f', '{{.State.Status}}', 'box')) === 'exited')
    const ms = performance.now() - began
    const state = await ok('inspect', '-f', '{{.State.ExitCode}}', 'box')
    const gone = (await exec('kill', ['-0', String(pid)])).code !== 0
    await removeAll()
    return [{ what: 'shim killed: exit code, known after, process gone', figure: `${state}, ${ms.toFixed(0)} ms, ${gone ? 'yes' : 'no'}`, aim: '137, < 2000 ms, yes', anchor: '137, -, yes', good: state === '137' && ms < 2000 && gone }]
  },
  async R21() {
    await gantry('run', '--name', 'greedy', '-m', '64m', 'busybox', 'sh', '-c', 'x=a; while true; do x=$x$x; done')
    const oom = await ok('inspect', '-f', '{{.State.OOMKilled}} {{.State.ExitCode}}', 'greedy')
    await ok('run', '-d', '--name', 'bomb', '--pids-limit', '100', 'busybox', 'sh', '-c', 'f() { f | f & f; }; f')
    await sleep(1500)
    const began = performance.now()
    await ok('rm', '-f', 'bomb')
    const ms = performance.now() - began
    const names = Array.from({ length: 20 }, (_, n) => `w${n}`)
    for (const name of names) await ok('run', '-d', '--name', name, 'busybox', 'sleep', '1000')
    const waits = names.map((name) => gantry('wait', name))
    await sleep(500)
    for (const name of names) process.kill(Number(await ok('inspect', '-f', '{{.State.Pid}}', name)), 'SIGKILL')
    const answered = (await Promise.all(waits)).filter((ran) => ran.out.trim() === '137').length
    await removeAll()
    return [{ what: 'out of memory at 64 MB; fork bomb of 100 removed; 20 inits killed from the host: waits answered', figure: `${oom}; ${ms.toFixed(0)} ms; ${answered}/20`, aim: 'true 137; < 1000 ms; 20/20', anchor: 'true 137; 13 ms; 20/20', good: oom === 'true 137' && ms < 1000 && answered === 20 }]
  },
  async R23() {
    for (let n = 0; n < 20; n++) await ok('run', '--rm', '-p', '0:80', 'busybox', 'true')
    const [rss, fds] = [rssOf(daemon.pid()), fdsOf(daemon.pid())]
    const began = performance.now()
    for (let n = 0; n < 100; n++) await ok('run', '--rm', '-p', '0:80', 'busybox', 'true')
    const ms = (performance.now() - began) / 100
    await until('all is tidy', async () => (await left()) === 0)
    const grown = ((rssOf(daemon.pid()) - rss) * 1024) / 100
    const more = fdsOf(daemon.pid()) - fds
    return [{ what: '100 runs with a port, one after another: growth a run, descriptors, time a run', figure: `${grown.toFixed(0)} KB, ${more >= 0 ? '+' : ''}${more}, ${ms.toFixed(0)} ms`, aim: '< 20 KB, +0', anchor: '56 KB, +0, 453 ms', good: grown < 20 && more <= 0 }]
  },
}

async function main(): Promise<number> {
  const wanted = values.only === '' ? Object.keys(MEASURES) : values.only.split(',')
  const rows: Row[] = []
  for (const id of wanted) {
    const measure = MEASURES[id]
    if (measure === undefined) throw new Error(`--only: no measure ${id}; there are ${Object.keys(MEASURES).join(', ')}`)
    process.stderr.write(`${id} …\n`)
    if (!started) daemon = await testDaemon()
    started = true
    for (const row of await measure()) rows.push({ id, ...row })
  }
  const last = await left()
  for (const row of rows) process.stdout.write(`${row.id.padEnd(4)} ${row.good ? 'met   ' : 'NOT MET'} ${row.what}\n       here ${row.figure} | aim ${row.aim} | dockerd 20.10 ${row.anchor}\n`)
  process.stdout.write(`left on the host afterwards: ${last}\n`)
  return rows.every((row) => row.good) && last === 0 ? 0 : 1
}

try {
  process.exitCode = await main()
} finally {
  if (started) await daemon.dispose()
}
