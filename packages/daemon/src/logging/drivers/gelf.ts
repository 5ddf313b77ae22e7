import { randomBytes } from 'node:crypto'
import { deflateSync, gzipSync } from 'node:zlib'
import { EngineError } from '@gantry/std'
import { type LogLine, nanosOf } from '../read.ts'
import { openDatagrams, openStream, parseAddress, writeAll } from './connect.ts'
import { type LogDriver, type LogSource, messageOfLine } from './driver.ts'

const [PORT, CHUNK, CHUNKS, CHUNK_MAGIC] = [12_201, 1420, 128, 0x1e0f] as const
const LEVEL = { stdout: 6, stderr: 3 } as const

/** One message (GELF 1.1). */
export function gelfMessage(line: LogLine, source: LogSource): string {
  const nanos = nanosOf(line)
  return JSON.stringify({
    version: '1.1', host: source.hostname, short_message: messageOfLine(line).text, timestamp: Number(nanos / 1_000_000n) / 1000, level: LEVEL[line.stream],
    _command: source.command, _container_id: source.id, _container_name: source.name, _created: source.created, _image_id: source.imageId, _image_name: source.imageName, _tag: source.tag,
    ...Object.fromEntries(Object.entries(source.attributes).filter(([name]) => name !== 'tag').map(([name, value]) => [`_${name}`, value])),
  })
}

/** Cuts a datagram that is too long into at most 128: {u16 magic, id, u8 number, u8 count} part. */
export function gelfChunks(payload: Buffer, id: Buffer = randomBytes(8)): readonly Buffer[] {
  if (payload.length <= CHUNK) return [payload]
  const room = CHUNK - 12
  const count = Math.ceil(payload.length / room)
  if (count > CHUNKS) throw new EngineError('invalid', `a message of ${payload.length} bytes is more than ${CHUNKS} chunks hold`)
  return Array.from({ length: count }, (_, index) => {
    const head = Buffer.alloc(12)
    head.writeUInt16BE(CHUNK_MAGIC, 0)
    id.copy(head, 2)
    head.writeUInt8(index, 10)
    head.writeUInt8(count, 11)
    return Buffer.concat([head, payload.subarray(index * room, (index + 1) * room)])
  })
}

const COMPRESSIONS: Readonly<Record<string, (text: string, level: number) => Buffer>> = { gzip: (text, level) => gzipSync(text, { level }), zlib: (text, level) => deflateSync(text, { level }), none: (text) => Buffer.from(text) }

function settings(options: Readonly<Record<string, string>>) {
  const text = options['gelf-address'] ?? ''
  if (text === '') throw new EngineError('invalid', 'gelf-address is a required parameter')
  const address = parseAddress(text, 'gelf-address', ['udp', 'tcp'], PORT)
  const type = options['gelf-compression-type'] ?? 'gzip'
  const compress = COMPRESSIONS[type]
  if (compress === undefined) throw new EngineError('invalid', `gelf: invalid compression type: ${JSON.stringify(type)}: expected gzip, zlib or none`)
  const level = Number(options['gelf-compression-level'] ?? '1')
  if (!Number.isInteger(level) || level < -1 || level > 9) throw new EngineError('invalid', `gelf-compression-level: expected a number from -1 to 9, got ${JSON.stringify(options['gelf-compression-level'])}`)
  if (address.scheme === 'tcp' && (options['gelf-compression-type'] ?? options['gelf-compression-level']) !== undefined) throw new EngineError('invalid', 'compression is only supported on UDP')
  return { address, compress: (message: string) => compress(message, level) }
}

/** Sends lines to a GELF receiver. */
export const GELF: LogDriver = {
  options: new Set(['gelf-address', 'gelf-compression-type', 'gelf-compression-level']),
  unused: new Set(['gelf-tcp-max-reconnect', 'gelf-tcp-reconnect-delay']),
  opensLater: () => false,
  check: (options) => void settings(options),
  async open(options, source) {
    const { address, compress } = settings(options)
    if (address.scheme === 'tcp') {
      const socket = await openStream(address)
      socket.resume()
      return { send: (lines) => writeAll(socket, Buffer.from(lines.map((line) => `${gelfMessage(line, source)}\0`).join(''))), close: async () => void socket.end() }
    }
    const datagrams = openDatagrams(address)
    return {
      async send(lines) {
        for (const line of lines) for (const chunk of gelfChunks(compress(gelfMessage(line, source)))) await datagrams.send(chunk)
      },
      close: async () => datagrams.close(),
    }
  },
}
