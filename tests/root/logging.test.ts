/** Logs: the journal of `--log-driver local`, and a disk that is full. */
import assert from 'node:assert/strict'
import { appendFileSync, mkdirSync, readdirSync, rmSync, statfsSync, statSync, writeFileSync } from 'node:fs'
import { after, before, describe, it } from 'node:test'
import { NOTHING, settledCensus } from '../census.ts'
import { exec, ownClient, sleep, type TestDaemon, testDaemon, until } from '../harness.ts'

const skip = process.getuid?.() !== 0 ? 'needs root' : false

describe('logs', { skip }, () => {
  let daemon: TestDaemon
  let data = ''
  const { gantry, ok } = ownClient(() => daemon)
  before(async () => {
    daemon = await testDaemon([], async ({ home }) => {
      data = `${home}/data`
      mkdirSync(data)
      assert.equal((await exec('mount', ['-t', 'tmpfs', '-o', 'size=24m', 'gtest', data])).code, 0)
      return []
    })
  })
  after(async () => {
    for (const id of (await ok('ps', '-aq')).split('\n').filter((one) => one !== '')) await ok('rm', '-f', id)
    const left = await settledCensus(daemon)
    await daemon.stop()
    assert.equal((await exec('umount', [data])).code, 0)
    await daemon.dispose()
    assert.deepEqual({ ...left, mounts: left.mounts.filter((line) => !line.includes(` ${data} `)) }, NOTHING)
  })
  const logFile = async (name: string): Promise<string> => {
    const id = await ok('inspect', '-f', '{{.Id}}', name)
    const file = readdirSync(`${data}/containers/${id}`).find((one) => one.endsWith('.log'))
    return `${data}/containers/${id}/${file}`
  }

  it('all that a container says comes after the time of its start', async () => {
    for (let round = 0; round < 10; round++) {
      await ok('run', '-d', '--name', 'early', 'busybox', 'sh', '-c', 'echo first; sleep 1000')
      const started = await ok('inspect', '-f', '{{.State.StartedAt}}', 'early')
      await until('it is in the log', async () => (await ok('logs', 'early')) === 'first')
      assert.equal(await ok('logs', '--since', started, 'early'), 'first')
      await ok('rm', '-f', 'early')
    }
  })
  for (const driver of ['json-file', 'local']) {
    it(`labels, variables and a tag stand beside each line (${driver})`, async () => {
      await ok('run', '-d', '--name', 'told', '--label', 'team=x', '--log-driver', driver, '--log-opt', 'labels=team', '--log-opt', 'env-regex=^AP', '--log-opt', 'tag={{.Name}}', '-e', 'APP=b c', 'busybox', 'sh', '-c', 'echo one; echo two >&2; sleep 1000')
      await until('both lines', async () => (await gantry('logs', '--details', 'told')).out === 'APP=b+c,tag=told,team=x one\n')
      assert.equal((await gantry('logs', '--details', 'told')).err, 'APP=b+c,tag=told,team=x two\n')
      assert.equal((await gantry('logs', 'told')).out, 'one\n')
      await ok('rm', '-f', 'told')
      assert.match((await gantry('run', '--rm', '--log-driver', driver, '--log-opt', 'tag={{.Nosuch}}', 'busybox', 'true')).err, /log-opt tag: \{\{\.Nosuch\}\}: expected one of/)
      assert.match((await gantry('run', '--rm', '--log-driver', driver, '--log-opt', 'mode=sometimes', 'busybox', 'true')).err, /logger: invalid mode: sometimes/)
    })
  }
  it('the journal: both streams, tail, timestamps, a line without its end, follow', async () => {
    await ok('run', '--name', 'j1', '--log-driver', 'local', 'busybox', 'sh', '-c', 'for i in 1 2 3; do echo out $i; echo err $i >&2; sleep 0.02; done; printf end')
    const logs = await gantry('logs', 'j1')
    assert.deepEqual([logs.out, logs.err], ['out 1\nout 2\nout 3\nend', 'err 1\nerr 2\nerr 3\n'])
    assert.equal((await gantry('logs', '--tail', '1', 'j1')).out, 'end')
    assert.match((await gantry('logs', '-t', '--tail', '1', 'j1')).out, /^\d{4}-\d\d-\d\dT[\d:]+\.\d+Z end$/)
    assert.match(await logFile('j1'), /journal\.log$/)
    await ok('run', '-d', '--name', 'j2', '--log-driver', 'local', 'busybox', 'sh', '-c', 'for i in 1 2 3 4 5; do echo $i; sleep 0.1; done')
    assert.equal((await gantry('logs', '-f', 'j2')).out, '1\n2\n3\n4\n5\n')
  })
  it('the journal is read past what a crash has cut off', async () => {
    await ok('run', '-d', '--name', 'j3', '--log-driver', 'local', 'busybox', 'sh', '-c', 'echo first; sleep 1000')
    await until('it has spoken', async () => (await gantry('logs', 'j3')).out === 'first\n')
    await ok('kill', 'j3')
    const torn = Buffer.alloc(27)
    torn.write('GRJ1', 0)
    torn.writeUInt32LE(500, 4)
    appendFileSync(await logFile('j3'), torn)
    await ok('start', 'j3')
    await until('it has spoken again', async () => (await gantry('logs', 'j3')).out === 'first\nfirst\n')
    assert.equal((await gantry('logs', '--tail', '1', 'j3')).out, 'first\n')
  })
  it('the journal rotates by size and count', async () => {
    await ok('run', '--name', 'j4', '--log-driver', 'local', '--log-opt', 'max-size=64k', '--log-opt', 'max-file=3', 'busybox', 'sh', '-c', 'i=0; while [ $i -lt 4000 ]; do echo "line $i of many"; i=$((i+1)); done')
    const directory = (await logFile('j4')).replace(/\/[^/]*$/, '')
    const files = readdirSync(directory).filter((name) => name.includes('.log'))
    assert.ok(files.length <= 3)
    for (const file of files) assert.ok(statSync(`${directory}/${file}`).size < 200_000)
    const lines = (await gantry('logs', 'j4')).out.trimEnd().split('\n')
    assert.equal(lines.at(-1), 'line 3999 of many')
    const first = Number(/line (\d+)/.exec(lines[0] ?? '')?.[1])
    assert.deepEqual(lines, Array.from({ length: 4000 - first }, (_, n) => `line ${first + n} of many`), 'without a gap')
    assert.match((await gantry('run', '--rm', '--log-driver', 'local', '--log-opt', 'compress=true', 'busybox', 'true')).err, /WARNING: log-opt compress: rotated logs are kept as they are, not compressed/)
  })
  for (const driver of ['json-file', 'local']) {
    it(`a full disk holds the container back and loses nothing (${driver})`, async () => {
      await until('nothing more is going to be removed', () => readdirSync(`${data}/trash`).length === 0)
      const { bavail, bsize } = statfsSync(data)
      writeFileSync(`${data}/filler`, Buffer.alloc(bavail * bsize - 1_000_000))
      await ok('run', '-d', '--name', 'full', '--log-driver', driver, 'busybox', 'sh', '-c', 'i=0; while [ $i -lt 100000 ]; do echo "line $i"; i=$((i+1)); done; exit 4')
      await until('the disk is full', () => statfsSync(data).bavail < 3)
      await sleep(600)
      assert.equal(await ok('inspect', '-f', '{{.State.Status}}', 'full'), 'running', 'held back, not killed')
      assert.match(await ok('info', '--format', '{{.ContainersRunning}}'), /^[1-9]/, 'the daemon answers')
      rmSync(`${data}/filler`)
      await until('it has ended', async () => (await ok('inspect', '-f', '{{.State.Status}}', 'full')) === 'exited', 20_000)
      const lines = (await gantry('logs', 'full')).out.trimEnd().split('\n')
      assert.deepEqual([lines.length, lines[0], lines.at(-1), lines.every((line, n) => line === `line ${n}`)], [100_000, 'line 0', 'line 99999', true])
      assert.equal(await ok('inspect', '-f', '{{.State.ExitCode}}', 'full'), '4')
      await ok('rm', 'full')
    })
  }
  it('a full disk holds nobody back who may lose lines (mode=non-blocking)', async () => {
    await until('nothing more is going to be removed', () => readdirSync(`${data}/trash`).length === 0)
    const { bavail, bsize } = statfsSync(data)
    writeFileSync(`${data}/filler`, Buffer.alloc(bavail * bsize - 1_000_000))
    await ok('run', '-d', '--name', 'lossy', '--log-driver', 'local', '--log-opt', 'mode=non-blocking', 'busybox', 'sh', '-c', 'i=0; while [ $i -lt 100000 ]; do echo "line $i"; i=$((i+1)); done; exit 4')
    await until('it has ended, the disk being full', async () => (await ok('inspect', '-f', '{{.State.Status}}', 'lossy')) === 'exited', 30_000)
    assert.equal(await ok('inspect', '-f', '{{.State.ExitCode}}', 'lossy'), '4')
    rmSync(`${data}/filler`)
    const lines = (await gantry('logs', 'lossy')).out.trimEnd().split('\n')
    assert.ok(lines.length > 100 && lines.length < 100_000, `${lines.length} lines`)
    assert.equal(lines[50], 'line 50')
    await ok('rm', 'lossy')
  })
})
