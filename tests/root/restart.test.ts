/** The daemon dies; containers do not notice, and the next daemon finds everything as it is. */
import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { afterEach, describe, it } from 'node:test'
import { disposeClean } from '../census.ts'
import { exec, root, sleep, type TestDaemon, testDaemon, until } from '../harness.ts'

const skip = process.getuid?.() !== 0 ? 'needs root' : false

interface State {
  readonly Status: string
  readonly ExitCode: number
  readonly Running: boolean
}

describe('daemon restart', { skip }, () => {
  let daemon: TestDaemon
  const create = async (name: string, script: string, host: object = {}): Promise<string> => (await daemon.api.json<{ Id: string }>('POST', '/containers/create', { query: { name }, json: { Image: 'busybox', Cmd: ['sh', '-c', script], HostConfig: host } })).Id
  const start = async (id: string): Promise<void> => void (await daemon.api.send('POST', `/containers/${id}/start`)).resume()
  const state = async (id: string): Promise<State> => (await daemon.api.json<{ State: State }>('GET', `/containers/${id}/json`)).State
  const removeAll = async (): Promise<void> => {
    for (const { Id } of await daemon.api.json<readonly { Id: string }[]>('GET', '/containers/json', { query: { all: true } })) (await daemon.api.send('DELETE', `/containers/${Id}`, { query: { force: true } })).resume()
  }
  afterEach(async () => {
    await removeAll()
    await disposeClean(daemon)
  })

  it('kill -9 while 20 containers run and log: all run, no line is lost, ends are known', async () => {
    daemon = await testDaemon()
    const ids: string[] = []
    for (let n = 0; n < 20; n++) {
      const id = await create(`logs${n}`, 'n=0; while true; do echo line $n; n=$((n+1)); usleep 20000; done', n === 0 ? { PortBindings: { '80/tcp': [{ HostPort: '18090' }] } } : {})
      await start(id)
      ids.push(id)
    }
    const ended = await create('ends', 'sleep 1; exit 42')
    await start(ended)
    await daemon.kill()
    await sleep(2000)
    await daemon.start()
    for (const id of ids) assert.equal((await state(id)).Status, 'running')
    assert.deepEqual([(await state(ended)).Status, (await state(ended)).ExitCode], ['exited', 42])
    await sleep(300)
    for (const id of ids) {
      const text = readFileSync(`${daemon.home}/data/containers/${id}/${id}-json.log`, 'utf8')
      const numbers = text.trimEnd().split('\n').map((line) => Number((JSON.parse(line) as { log: string }).log.replace('line ', '')))
      assert.deepEqual(numbers, numbers.map((_, index) => index))
      assert.ok(numbers.length > 100)
    }
    const [first = ''] = ids
    const { Id } = await daemon.api.json<{ Id: string }>('POST', `/containers/${first}/exec`, { json: { Cmd: ['sh', '-c', 'exit 5'] } })
    ;(await daemon.api.send('POST', `/exec/${Id}/start`, { json: { Detach: true } })).resume()
    await until('the exec has ended', async () => (await daemon.api.json<{ ExitCode: number | null }>('GET', `/exec/${Id}/json`)).ExitCode === 5)
    const ports = (await daemon.api.json<{ NetworkSettings: { Ports: Record<string, unknown> } }>('GET', `/containers/${first}/json`)).NetworkSettings.Ports
    assert.deepEqual(ports['80/tcp'], [{ HostIp: '0.0.0.0', HostPort: '18090' }, { HostIp: '::', HostPort: '18090' }])
    ;(await daemon.api.send('POST', `/containers/${first}/stop`, { query: { t: 0 } })).resume()
    assert.deepEqual([(await state(first)).Status, (await state(first)).ExitCode], ['exited', 137])
  })

  it('a clean stop is carried out to its end: no pid file, no socket, nothing in the exec root', async () => {
    daemon = await testDaemon()
    for (let round = 0; round < 4; round++) {
      // Right after work, and without any.
      if (round % 2 === 0) assert.equal((await exec(process.execPath, [`${root}/build/gantry.cjs`, '-H', daemon.host, 'run', '--rm', 'busybox', 'true'])).code, 0)
      await daemon.stop()
      assert.deepEqual(['pid', 'g.sock', 'x'].filter((name) => existsSync(`${daemon.home}/${name}`)), [])
      await daemon.start()
    }
  })
  it('a clean stop leaves containers running too', async () => {
    daemon = await testDaemon()
    const id = await create('stays', 'sleep 1000')
    await start(id)
    await daemon.stop()
    await daemon.start()
    assert.equal((await state(id)).Status, 'running')
  })

  for (const moment of [15, 40, 80, 150]) {
    it(`kill -9 ${moment} ms into 20 parallel starts: the first restart succeeds, nothing acknowledged is lost`, async () => {
      daemon = await testDaemon()
      const ids: string[] = []
      for (let n = 0; n < 20; n++) ids.push(await create(`start${n}`, 'sleep 1000', n % 4 === 0 ? { PortBindings: { '80/tcp': [{ HostPort: String(18100 + n) }] } } : {}))
      const acknowledged = new Set<string>()
      const starting = Promise.allSettled(ids.map((id) => start(id).then(() => acknowledged.add(id))))
      await sleep(moment)
      await daemon.kill()
      await starting
      await daemon.start()
      for (const id of ids) {
        const { Status } = await state(id)
        assert.ok(Status === 'running' || Status === 'created', Status)
        if (acknowledged.has(id)) assert.equal(Status, 'running')
      }
      for (const id of ids) if ((await state(id)).Status === 'created') await start(id)
      for (const id of ids) assert.equal((await state(id)).Status, 'running')
    })
  }

  it('kill -9 of a shim: exited with 137, and its process is gone', async () => {
    daemon = await testDaemon()
    const id = await create('orphan', 'sleep 1000')
    await start(id)
    const pid = (await daemon.api.json<{ State: { Pid: number } }>('GET', `/containers/${id}/json`)).State.Pid
    const shim = Number(/^PPid:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1])
    process.kill(shim, 'SIGKILL')
    await until('the end is known', async () => (await state(id)).Status === 'exited', 2000)
    assert.equal((await state(id)).ExitCode, 137)
  })

  it('a damaged record is set aside and keeps nobody from starting', async () => {
    daemon = await testDaemon()
    const id = await create('broken', 'true')
    const good = await create('good', 'true')
    await daemon.stop()
    const { DatabaseSync } = await import('node:sqlite')
    const db = new DatabaseSync(`${daemon.home}/data/gantry.db`)
    db.prepare("UPDATE container SET document = substr(document, 1, 20) WHERE id = ?").run(id)
    db.close()
    await daemon.start()
    const listed = await daemon.api.json<readonly { Id: string }[]>('GET', '/containers/json', { query: { all: true } })
    assert.deepEqual(listed.map((one) => one.Id), [good])
    assert.match(JSON.stringify((await daemon.api.json<{ Warnings: readonly string[] }>('GET', '/info')).Warnings), new RegExp(id))
  })
})
