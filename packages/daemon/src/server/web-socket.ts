import type { IncomingMessage } from 'node:http'
import { Duplex } from 'node:stream'
import { streamFrameDecoder } from '@gantry/api'
import { EngineError } from '@gantry/std'

/** Most of one message from a client, bytes. */
const MESSAGE_LIMIT = 1 << 20

/** Answers the handshake of a web socket (RFC 6455) and gives the stream of its binary messages. The library is loaded only here. */
export async function acceptWebSocket(message: IncomingMessage, socket: Duplex): Promise<Duplex> {
  const { createWebSocketStream, WebSocketServer } = await import('ws')
  if (message.headers['sec-websocket-key'] === undefined) throw new EngineError('invalid', 'expected the handshake of a web socket')
  const server = new WebSocketServer({ noServer: true, maxPayload: MESSAGE_LIMIT, perMessageDeflate: false })
  return new Promise((resolve) => server.handleUpgrade(message, socket, Buffer.alloc(0), (client) => resolve(createWebSocketStream(client, { allowHalfOpen: false }))))
}

/** For streams whose output comes in frames that name where it was said: only what was said. */
export function withoutFrames(client: Duplex): Duplex {
  const decode = streamFrameDecoder((_, payload) => void client.write(payload))
  const plain = new Duplex({
    allowHalfOpen: true,
    read: () => void client.resume(),
    write(chunk: Buffer, _, done) {
      decode(chunk)
      if (client.writableNeedDrain) client.once('drain', done)
      else done()
    },
    final: (done) => void client.end(done),
    destroy(error, done) {
      client.destroy(error ?? undefined)
      done(error)
    },
  })
  client.on('data', (chunk: Buffer) => {
    if (!plain.push(chunk)) client.pause()
  })
  client.on('end', () => plain.push(null))
  client.on('error', (error) => plain.destroy(error))
  client.on('close', () => plain.destroy())
  return plain
}
