/** Log drivers that send lines elsewhere: the receivers are real sockets beside the daemon. */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { after, before, describe, it } from 'node:test'
import { disposeClean } from '../census.ts'
import { exec, ownClient, root, sleep, type TestDaemon, testDaemon, until } from '../harness.ts'

const skip = process.getuid?.() === 0 ? false : 'needs root'

interface Receiver {
  readonly lines: readonly string[]
  /** All that has come, as one text. */
  text(): string
  stop(): Promise<void>
}

/** Starts a receiver in the daemon's network namespace. */
async function receiver(daemon: TestDaemon, program: readonly string[]): Promise<Receiver> {
  const child: ChildProcess = spawn('nsenter', ['--net', '-t', String(daemon.holder), ...program], { stdio: ['ignore', 'pipe', 'inherit'] })
  const lines: string[] = []
  let rest = ''
  child.stdout?.on('data', (chunk: Buffer) => {
    const parts = (rest + chunk.toString()).split('\n')
    rest = parts.pop() ?? ''
    lines.push(...parts)
  })
  await until('the receiver listens', () => lines.length > 0)
  lines.shift()
  return {
    lines, text: () => lines.join('\n'),
    stop: () => new Promise((resolve) => {
      child.once('exit', () => resolve())
      child.kill('SIGKILL')
    }),
  }
}
const listen = (daemon: TestDaemon, what: string): Promise<Receiver> => receiver(daemon, [process.execPath, `${root}/tests/log-receiver.ts`, what])

describe('log drivers', { skip }, () => {
  let daemon: TestDaemon
  const { gantry, ok } = ownClient(() => daemon)
  before(async () => {
    daemon = await testDaemon()
  })
  after(() => disposeClean(daemon))

  it('syslog over tcp and udp, with formats, facility and tag; logs still reads', async () => {
    const [tcp, udp] = [await listen(daemon, 'tcp:5140'), await listen(daemon, 'udp:5141')]
    await ok('run', '--name', 'one', '--log-driver', 'syslog', '--log-opt', 'syslog-address=tcp://127.0.0.1:5140', '--log-opt', 'syslog-format=rfc5424', '--log-opt', 'syslog-facility=local3', '--log-opt', 'tag={{.Name}}', 'busybox', 'sh', '-c', 'echo first; echo second >&2')
    await until('both lines', () => tcp.text().includes('first') && tcp.text().includes('second'))
    assert.match(tcp.text(), /<158>1 \S+ \S+ one \d+ one - first/)
    assert.match(tcp.text(), /<155>1 \S+ \S+ one \d+ one - second/)
    const read = await gantry('logs', 'one')
    assert.deepEqual([read.out, read.err], ['first\n', 'second\n'])
    await ok('run', '--rm', '--log-driver', 'syslog', '--log-opt', 'syslog-address=udp://127.0.0.1:5141', 'busybox', 'echo', 'by udp')
    await until('the datagram', () => /^"<30>.*: by udp/m.test(udp.text()))
    await ok('rm', 'one')
    await Promise.all([tcp.stop(), udp.stop()])
  })
  it('fluentd with acknowledgement; gelf with compression', async () => {
    const [fluent, gelf] = [await listen(daemon, 'fluent:24224'), await listen(daemon, 'udp:12201')]
    await ok('run', '--rm', '--name', 'flu', '--label', 'team=red', '--log-driver', 'fluentd', '--log-opt', 'fluentd-request-ack=true', '--log-opt', 'fluentd-sub-second-precision=true', '--log-opt', 'labels=team', '--log-opt', 'tag=app.{{.Name}}', 'busybox', 'echo', 'to fluentd')
    await until('the record', () => fluent.lines.length > 0)
    const { tag, record } = JSON.parse(fluent.lines[0] ?? '{}') as { tag: string; record: Readonly<Record<string, string>> }
    assert.deepEqual([tag, record['log'], record['source'], record['container_name'], record['team']], ['app.flu', 'to fluentd', 'stdout', '/flu', 'red'])
    await ok('run', '--rm', '--log-driver', 'gelf', '--log-opt', 'gelf-address=udp://127.0.0.1:12201', 'busybox', 'echo', 'to gelf')
    await until('the message', () => gelf.lines.length > 0)
    assert.equal((JSON.parse(JSON.parse(gelf.lines[0] ?? '""') as string) as { short_message: string }).short_message, 'to gelf')
    await Promise.all([fluent.stop(), gelf.stop()])
  })
  it('a datagram socket of the host takes syslog messages', async () => {
    const path = `${daemon.home}/log.sock`
    const python = 'import socket,sys\ns=socket.socket(socket.AF_UNIX,socket.SOCK_DGRAM)\ns.bind(sys.argv[1])\nprint("ready",flush=True)\nwhile True: print(s.recv(65536).decode(),flush=True)'
    const local = await receiver(daemon, ['python3', '-c', python, path])
    await ok('run', '--rm', '--log-driver', 'syslog', '--log-opt', `syslog-address=unixgram://${path}`, 'busybox', 'sh', '-c', 'for n in 1 2 3; do echo local $n; done')
    await until('three messages', () => /local 1[\s\S]*local 2[\s\S]*local 3/.test(local.text()))
    await local.stop()
  })
  it('nothing is lost and nothing comes twice while the receiver is away, or the daemon', async () => {
    let server = await listen(daemon, 'tcp:5142')
    await ok('run', '-d', '--name', 'count', '--log-driver', 'syslog', '--log-opt', 'syslog-address=tcp://127.0.0.1:5142', 'busybox', 'sh', '-c', 'n=0; while [ $n -lt 60 ]; do n=$((n+1)); echo line $n end; sleep 0.1; done')
    const numbers = (text: string): readonly number[] => [...text.matchAll(/line (\d+) end/g)].map((match) => Number(match[1]))
    await until('some lines', () => numbers(server.text()).length > 5)
    await server.stop()
    const first = numbers(server.text())
    await sleep(600)
    await daemon.stop()
    await sleep(500)
    server = await listen(daemon, 'tcp:5142')
    await daemon.start()
    await until('the last line', () => server.text().includes('line 60 end'), 20_000)
    const second = numbers(server.text())
    // What was in the socket when the receiver was killed is lost, as with every stream without acknowledgements.
    assert.deepEqual(second, Array.from({ length: 60 - (second[0] ?? 0) + 1 }, (_, n) => (second[0] ?? 0) + n))
    assert.ok((second[0] ?? 99) - (first.at(-1) ?? 0) <= 3, `${first.at(-1)} and then ${second[0]}`)
    assert.equal(numbers(await ok('logs', 'count')).length, 60)
    await ok('rm', '-f', 'count')
    await server.stop()
  })
  it('what cannot be is refused: before anything is made, or when the receiver is not there', async () => {
    const refused = async (message: RegExp, ...words: readonly string[]): Promise<void> => assert.match((await gantry('run', '--rm', ...words, 'busybox', 'true')).err, message)
    await refused(/unknown log opt 'colour' for syslog log driver/, '--log-driver', 'syslog', '--log-opt', 'colour=red')
    await refused(/gelf-address is a required parameter/, '--log-driver', 'gelf')
    await refused(/failed to initialize logging driver: dial tcp 127\.0\.0\.1:5999: connect ECONNREFUSED/, '--log-driver', 'syslog', '--log-opt', 'syslog-address=tcp://127.0.0.1:5999')
    await refused(/journald is not enabled on this host|^$/, '--log-driver', 'journald')
    await refused(/plugin "awslogs" not found/, '--log-driver', 'awslogs')
    await ok('run', '--rm', '--log-driver', 'fluentd', '--log-opt', 'fluentd-async=true', 'busybox', 'true')
    await ok('run', '--name', 'hidden', '--log-driver', 'fluentd', '--log-opt', 'fluentd-async=true', '--log-opt', 'cache-disabled=true', 'busybox', 'true')
    assert.match((await gantry('logs', 'hidden')).err, /configured logging driver does not support reading/)
    await ok('rm', 'hidden')
    assert.match((await exec(`${root}/build/node`, ['--', `${root}/build/gantry.cjs`, '-H', daemon.host, 'run', '--rm', '--log-opt', 'compress=true', 'busybox', 'true'])).err, /WARNING: log-opt compress/)
  })
})
