import { connect, type NetConnectOpts } from 'node:net'
import { EngineError } from '@gantry/std'

/** What came back: all of it. */
export interface ShortAnswer {
  readonly status: number
  readonly body: Buffer
}

/** What goes out: a request whose answer is awaited whole. */
export interface ShortRequest {
  readonly method: string
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: Uint8Array | undefined
  readonly signal: AbortSignal | undefined
}

const cutOff = (): EngineError => new EngineError('unavailable', 'the daemon’s answer was cut off')

/** Takes the chunks of a body together (RFC 9112, 7.1). */
function unchunked(bytes: Buffer): Buffer {
  const parts: Buffer[] = []
  for (let at = 0; ; ) {
    const end = bytes.indexOf('\r\n', at)
    const length = end < 0 ? Number.NaN : Number.parseInt(bytes.toString('latin1', at, end), 16)
    if (Number.isNaN(length) || end + 2 + length > bytes.length) throw cutOff()
    if (length === 0) return Buffer.concat(parts)
    parts.push(bytes.subarray(end + 2, end + 2 + length))
    at = end + 2 + length + 2
  }
}

function parse(bytes: Buffer): ShortAnswer {
  const end = bytes.indexOf('\r\n\r\n')
  const head = end < 0 ? '' : bytes.toString('latin1', 0, end)
  const status = Number(/^HTTP\/1\.[01] (\d{3})/.exec(head)?.[1])
  if (Number.isNaN(status)) throw end < 0 ? cutOff() : new EngineError('unavailable', 'whoever listens there does not speak HTTP')
  const rest = bytes.subarray(end + 4)
  if (/^transfer-encoding:\s*chunked\s*$/im.test(head)) return { status, body: unchunked(rest) }
  const length = /^content-length:\s*(\d+)\s*$/im.exec(head)?.[1]
  if (length !== undefined && rest.length < Number(length)) throw cutOff()
  return { status, body: rest }
}

/**
 * Sends a request and takes the whole answer, over a connection of its own. `node:http` does the same for 10 ms of CPU more, of the
 * 40 that a start of the client may take (decision 0023); whatever streams, is large or goes through TLS goes through that.
 */
export function askShortly(place: NetConnectOpts, request: ShortRequest, limitBytes: number): Promise<ShortAnswer> {
  const { method, path, headers, body, signal } = request
  return new Promise((resolve, reject) => {
    if (/[\s\u007f-\uffff]/.test(path) || Object.entries(headers).some((pair) => /[\r\n]/.test(pair.join('')))) return reject(new EngineError('invalid', `the request for ${JSON.stringify(path)} cannot be sent`))
    const socket = connect(place)
    const chunks: Buffer[] = []
    let bytes = 0
    const give = (error: Error): void => {
      socket.destroy()
      reject(error)
    }
    const aborted = (): void => give(signal?.reason instanceof Error ? signal.reason : new EngineError('unavailable', 'given up'))
    if (signal?.aborted === true) return aborted()
    signal?.addEventListener('abort', aborted, { once: true })
    socket.on('error', reject)
    socket.on('data', (chunk: Buffer) => {
      chunks.push(chunk)
      bytes += chunk.length
      if (bytes > limitBytes) give(new EngineError('invalid', `the daemon's answer has more than ${limitBytes} bytes`))
    })
    socket.on('close', () => {
      signal?.removeEventListener('abort', aborted)
      try {
        resolve(parse(Buffer.concat(chunks)))
      } catch (error) {
        reject(error)
      }
    })
    const head = [`${method} ${path} HTTP/1.1`, ...Object.entries({ ...headers, Connection: 'close' }).map(([name, value]) => `${name}: ${value}`), '', ''].join('\r\n')
    socket.write(head, 'latin1')
    if (body !== undefined) socket.write(body)
  })
}
