import { randomBytes } from 'node:crypto'
import type { Socket } from 'node:net'
import { EngineError } from '@gantry/std'
import type { Decoder, Encoder } from '@msgpack/msgpack'
import { type LogLine, nanosOf } from '../read.ts'
import { openStream, parseAddress, writeAll } from './connect.ts'
import { type LogDriver, type LogSource, messageOfLine } from './driver.ts'

const [PORT, ACK_MS, EVENT_TIME] = [24_224, 10_000, 0] as const
const BOOLEANS: Readonly<Record<string, boolean>> = { true: true, '1': true, false: false, '0': false }

function flag(options: Readonly<Record<string, string>>, name: string): boolean {
  const text = options[name] ?? 'false'
  const value = BOOLEANS[text.toLowerCase()]
  if (value === undefined) throw new EngineError('invalid', `${name}: expected true or false, got ${JSON.stringify(text)}`)
  return value
}

const address = (options: Readonly<Record<string, string>>) => parseAddress(options['fluentd-address'] || `127.0.0.1:${PORT}`, 'fluentd-address', ['tcp', 'tls', 'unix'], PORT)

/** What is told of one line: the record of Fluentd's forward protocol. */
export function fluentRecord(line: LogLine, source: LogSource): Readonly<Record<string, string>> {
  const { text, partial } = messageOfLine(line)
  const { tag: _, ...attributes } = source.attributes
  return { container_id: source.id, container_name: `/${source.name}`, source: line.stream, log: text, ...(partial && { partial_message: 'true' }), ...attributes }
}

/** Waits for the answer to a message that asked for one. */
function acknowledged(socket: Socket, chunk: string, decode: (bytes: Uint8Array) => unknown): Promise<void> {
  return new Promise((resolve, reject) => {
    const done = (error?: Error): void => {
      clearTimeout(timer)
      socket.off('data', onData)
      socket.off('close', onClose)
      if (error === undefined) resolve()
      else reject(error)
    }
    const onClose = (): void => done(new EngineError('unavailable', 'fluentd has closed the connection before it acknowledged'))
    const onData = (bytes: Buffer): void => {
      const answer = decode(bytes) as { readonly ack?: string } | null
      if (answer?.ack === chunk) done()
      else done(new EngineError('unavailable', `fluentd acknowledged ${JSON.stringify(answer)}, not ${chunk}`))
    }
    const timer = setTimeout(() => done(new EngineError('unavailable', `fluentd did not acknowledge within ${ACK_MS / 1000} s`)), ACK_MS)
    socket.on('data', onData)
    socket.on('close', onClose)
  })
}

interface Packing {
  readonly encode: Encoder
  readonly decode: Decoder
}

async function packing(): Promise<Packing> {
  const { Decoder, Encoder, ExtensionCodec } = await import('@msgpack/msgpack')
  const codec = new ExtensionCodec()
  // EventTime: seconds and nanoseconds, big-endian.
  codec.register({
    type: EVENT_TIME,
    encode: (value: unknown) => {
      if (!(value instanceof EventTime)) return null
      const bytes = Buffer.alloc(8)
      bytes.writeUInt32BE(Number(value.nanos / 1_000_000_000n), 0)
      bytes.writeUInt32BE(Number(value.nanos % 1_000_000_000n), 4)
      return bytes
    },
    decode: (bytes: Uint8Array) => bytes,
  })
  return { encode: new Encoder({ extensionCodec: codec }), decode: new Decoder() }
}

class EventTime {
  readonly nanos: bigint
  constructor(nanos: bigint) {
    this.nanos = nanos
  }
}

/** Sends lines to Fluentd by its forward protocol, a message a line. */
export const FLUENTD: LogDriver = {
  options: new Set(['fluentd-address', 'fluentd-async', 'fluentd-async-connect', 'fluentd-request-ack', 'fluentd-sub-second-precision']),
  unused: new Set(['fluentd-async-reconnect-interval', 'fluentd-buffer-limit', 'fluentd-max-retries', 'fluentd-read-timeout', 'fluentd-retry-wait', 'fluentd-write-timeout']),
  opensLater: (options) => flag(options, options['fluentd-async'] === undefined ? 'fluentd-async-connect' : 'fluentd-async'),
  check(options) {
    address(options)
    for (const name of ['fluentd-async', 'fluentd-async-connect', 'fluentd-request-ack', 'fluentd-sub-second-precision']) flag(options, name)
  },
  async open(options, source) {
    const { encode, decode } = await packing()
    const place = address(options)
    const socket = await openStream(place, place.scheme === 'tls' ? { ca: '', cert: '', key: '', skipVerify: false } : undefined)
    const [precise, ack] = [flag(options, 'fluentd-sub-second-precision'), flag(options, 'fluentd-request-ack')]
    if (!ack) socket.resume()
    const timeOf = (line: LogLine): unknown => (precise ? new EventTime(nanosOf(line)) : Number(nanosOf(line) / 1_000_000_000n))
    return {
      async send(lines) {
        for (const line of lines) {
          const chunk = ack ? randomBytes(16).toString('base64') : ''
          const answered = ack ? acknowledged(socket, chunk, (bytes) => decode.decode(bytes)) : Promise.resolve()
          await Promise.all([writeAll(socket, encode.encode([source.tag, timeOf(line), fluentRecord(line, source), ...(ack ? [{ chunk }] : [])])), answered])
        }
      },
      close: async () => void socket.end(),
    }
  },
}
