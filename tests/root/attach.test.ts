/** Readers of one container: one that never reads must not hold the others back; alone it holds the container back, as with Docker. */
import assert from 'node:assert/strict'
import { connect, type Socket } from 'node:net'
import { after, before, describe, it } from 'node:test'
import { WebSocket } from 'ws'
import { streamFrameDecoder } from '../../packages/api/src/index.ts'
import { disposeClean } from '../census.ts'
import { ownClient, sleep, type TestDaemon, testDaemon, until } from '../harness.ts'

const skip = process.getuid?.() !== 0 ? 'needs root' : false

describe('attached readers', { skip }, () => {
  let daemon: TestDaemon
  const { gantry, ok } = ownClient(() => daemon)
  before(async () => {
    daemon = await testDaemon()
  })
  after(async () => {
    for (const id of (await ok('ps', '-aq')).split('\n').filter((one) => one !== '')) await ok('rm', '-f', id)
    await disposeClean(daemon)
  })
  const attach = (name: string): Socket => {
    const socket = connect(daemon.host.slice('unix://'.length))
    socket.write(`POST /containers/${name}/attach?stream=1&stdout=1 HTTP/1.1\r\nHost: d\r\nUpgrade: tcp\r\nConnection: Upgrade\r\n\r\n`)
    return socket
  }

  it('over a web socket: input and output as binary messages, without frames; what is no web socket is refused', async () => {
    for (const tty of [false, true]) {
      await ok('create', '--name', 'socket', '-i', ...(tty ? ['-t'] : []), 'busybox', 'sh', '-c', 'read line; echo "got $line"; echo err >&2')
      const client = new WebSocket(`ws+unix://${daemon.host.slice('unix://'.length)}:/v1.51/containers/socket/attach/ws?stream=1&stdin=1&stdout=1&stderr=1`)
      let said = ''
      client.on('message', (data: Buffer, binary) => {
        assert.equal(binary, true)
        said += data.toString()
      })
      const closed = new Promise<void>((resolve) => client.once('close', () => resolve()))
      await new Promise((resolve, reject) => client.once('open', resolve).once('error', reject))
      await ok('start', 'socket')
      client.send(Buffer.from('hello\n'))
      await closed
      assert.equal(said.replaceAll('\r', '').replace(/^hello\n/, ''), 'got hello\nerr\n')
      await ok('rm', '-f', 'socket')
    }
    const refused = await daemon.api.send('GET', '/containers/nosuch/attach/ws').catch((error: unknown) => String(error))
    assert.match(String(refused), /No such container: nosuch/)
  })
  it('start -a of an ended container shows its output and tells its exit code, every time', async () => {
    await ok('create', '--name', 'again', 'busybox', 'sh', '-c', 'echo said; exit 7')
    for (const _ of [1, 2, 3]) {
      const { code, out, err } = await gantry('start', '-a', 'again')
      assert.deepEqual({ code, out }, { code: 7, out: 'said\n' }, err)
    }
    const refused = await gantry('attach', 'again')
    assert.equal(refused.code, 1)
    assert.match(refused.err, /cannot attach to a stopped container, start it first/)
  })

  it('one that never reads is let go when another is waiting', async () => {
    await ok('run', '-d', '--name', 'talks', '--log-driver', 'none', 'busybox', 'yes')
    const [deaf, reader] = [attach('talks'), attach('talks')]
    deaf.pause()
    let got = 0
    reader.on('data', (chunk: Buffer) => {
      got += chunk.length
    })
    await until('the output flows again', async () => {
      const before = got
      await sleep(300)
      return got - before > 1 << 20
    }, 15_000)
    deaf.destroy()
    reader.destroy()
    await ok('rm', '-f', 'talks')
  })
  it('twenty that read all get the same', async () => {
    await ok('run', '-d', '--name', 'many', '-i', 'busybox', 'sh', '-c', 'read go; i=0; while [ $i -lt 2000 ]; do echo "line $i"; i=$((i+1)); done')
    const texts = Array.from({ length: 20 }, () => '')
    let attached = 0
    const sockets = texts.map((_, n) => {
      const socket = attach('many')
      const decode = streamFrameDecoder((_, payload) => {
        texts[n] += payload.toString()
      })
      let head = Buffer.alloc(0)
      let upgraded = false
      socket.on('data', (chunk: Buffer) => {
        if (upgraded) return decode(chunk)
        head = Buffer.concat([head, chunk])
        const end = head.indexOf('\r\n\r\n')
        if (end < 0) return undefined
        upgraded = true
        attached++
        return decode(head.subarray(end + 4))
      })
      return socket
    })
    await until('all are attached', () => attached === 20)
    const input = connect(daemon.host.slice('unix://'.length))
    input.write('POST /containers/many/attach?stream=1&stdin=1 HTTP/1.1\r\nHost: d\r\nUpgrade: tcp\r\nConnection: Upgrade\r\n\r\n')
    input.resume()
    await sleep(300)
    input.write('go\n')
    await until('it has ended', () => sockets.every((socket) => socket.readableEnded || socket.destroyed))
    for (const text of texts) assert.equal(text, Array.from({ length: 2000 }, (_, i) => `line ${i}\n`).join(''))
    input.destroy()
  })
})
