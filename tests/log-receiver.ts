/** Takes what log drivers send and prints it, a JSON text a message: `udp:PORT`, `tcp:PORT` or `fluent:PORT`, with acknowledgements. Runs beside a daemon in its network namespace. */
import { createSocket } from 'node:dgram'
import { createServer } from 'node:net'
import { gunzipSync } from 'node:zlib'
import { decodeMulti, encode } from '@msgpack/msgpack'

const [kind = '', port = ''] = (process.argv[2] ?? '').split(':')
const say = (value: unknown): void => void process.stdout.write(`${JSON.stringify(value)}\n`)

if (kind === 'udp') {
  const socket = createSocket('udp4')
  socket.on('message', (bytes) => say(bytes[0] === 0x1f ? gunzipSync(bytes).toString() : bytes.toString()))
  socket.bind(Number(port), '127.0.0.1', () => say('ready'))
} else {
  const server = createServer((socket) => {
    socket.on('data', (bytes) => {
      if (kind !== 'fluent') return say(bytes.toString())
      for (const message of decodeMulti(bytes)) {
        const [tag, , record, options] = message as [string, unknown, unknown, { readonly chunk?: string } | undefined]
        say({ tag, record })
        if (options?.chunk !== undefined) socket.write(encode({ ack: options.chunk }))
      }
    })
    socket.on('error', () => undefined)
  })
  server.listen(Number(port), '127.0.0.1', () => say('ready'))
}
