import assert from 'node:assert/strict'
import { createServer, type Socket } from 'node:net'
import { mkdtempSync, rmSync } from 'node:fs'
import { after, before, describe, it } from 'node:test'
import { askShortly, type ShortAnswer } from './short.ts'

describe('askShortly()', () => {
  let home = ''
  let answer: (socket: Socket, head: string) => void = () => undefined
  const server = createServer((socket) => {
    let text = ''
    socket.on('data', (chunk) => {
      text += String(chunk)
      if (text.includes('\r\n\r\n')) answer(socket, text)
    })
    socket.on('error', () => undefined)
  })
  const ask = (path = '/x', options: { readonly body?: Buffer; readonly signal?: AbortSignal } = {}): Promise<ShortAnswer> =>
    askShortly({ path: `${home}/s` }, { method: 'GET', path, headers: { Host: 'gantry' }, body: options.body, signal: options.signal }, 1000)
  const answering = (text: string): void => {
    answer = (socket) => socket.end(text)
  }
  before(async () => {
    home = mkdtempSync('/tmp/gtest-short-')
    await new Promise<void>((resolve) => server.listen(`${home}/s`, resolve))
  })
  after(() => {
    server.close()
    rmSync(home, { recursive: true })
  })
  it('sends what it is given and closes the connection', async () => {
    let heard = ''
    answer = (socket, head) => {
      heard = head
      socket.end('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
    }
    assert.deepEqual(await ask('/a?b=c', { body: Buffer.from('body') }), { status: 200, body: Buffer.from('ok') })
    assert.match(heard, /^GET \/a\?b=c HTTP\/1\.1\r\nHost: gantry\r\nConnection: close\r\n\r\n/)
  })
  it('takes chunks together, and a body that ends with the connection', async () => {
    answering('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1;x=y\r\nd\r\n0\r\n\r\n')
    assert.equal((await ask()).body.toString(), 'abcd')
    answering('HTTP/1.0 404 Not Found\r\n\r\ngone')
    assert.deepEqual(await ask(), { status: 404, body: Buffer.from('gone') })
  })
  it('says what is wrong with an answer', async () => {
    for (const cut of ['', 'HTTP/1.1 200', 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc']) {
      answering(cut)
      await assert.rejects(ask(), /cut off/)
    }
    answering('220 mail ready\r\n\r\n')
    await assert.rejects(ask(), /does not speak HTTP/)
    answering(`HTTP/1.1 200 OK\r\n\r\n${'x'.repeat(2000)}`)
    await assert.rejects(ask(), /more than 1000 bytes/)
  })
  it('ends when it is told to, and sends nothing that would be two requests', async () => {
    answer = () => undefined
    const controller = new AbortController()
    const asked = ask('/x', { signal: controller.signal })
    controller.abort(new Error('enough'))
    await assert.rejects(asked, /enough/)
    await assert.rejects(ask('/x HTTP/1.1\r\nEvil: yes'), /cannot be sent/)
  })
})
