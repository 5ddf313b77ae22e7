import { connect, constants, type ClientHttp2Stream, type IncomingHttpHeaders } from 'node:http2'
import type { Duplex } from 'node:stream'
import { EngineError, type ErrorKind, logger, writePaced } from '@gantry/std'
import { framed, frameReader } from './frames.ts'
import { decode, encode } from './schema.ts'

const log = logger('buildkit.session')
const WINDOW = 8 << 20
const UNARY_MS = 60_000
const AHEAD_BYTES = 4 << 20

/** A call to a client that goes on: messages both ways. */
export interface SessionCall {
  /** Waits where the client takes its time. */
  send(message: Uint8Array): Promise<void>
  /** Several at once. */
  sendAll(messages: readonly Uint8Array[]): Promise<void>
  /** No more is sent. */
  end(): void
  /** What the client sends, as many messages at a time as came; `through` sees the bytes first, and may keep them to itself. Throws what the client says went wrong. */
  received(through?: (chunk: Buffer) => Buffer | undefined): AsyncGenerator<readonly Buffer[]>
  /** Gives the call up. */
  cancel(): void
}

/** What a client offers while it builds: its files, its secrets, who it is. The client serves, we call (gRPC over HTTP/2). */
export interface ClientSession {
  readonly id: string
  /** Says which directory of which machine the client builds, as far as it knows. */
  readonly sharedKey: string
  offers(method: string): boolean
  /** One message there and one back, by their names in the protocol's table. */
  ask<T>(method: string, request: readonly [name: string, fields: object], response: string): Promise<T>
  /** `headers`: the call's metadata. */
  open(method: string, headers: Readonly<Record<string, string | readonly string[]>>, signal: AbortSignal): SessionCall
  /** Resolves when the client is gone. */
  readonly closed: Promise<void>
  close(): void
}

/** Codes of gRPC (google/rpc/code.proto) as kinds of ours. */
const KINDS: Readonly<Record<string, ErrorKind>> = { '3': 'invalid', '5': 'not-found', '7': 'forbidden', '12': 'unsupported', '14': 'unavailable', '16': 'unauthorized' }

function statusError(method: string, headers: IncomingHttpHeaders): EngineError | undefined {
  const status = headers['grpc-status']
  if (status === undefined || status === '0') return undefined
  return new EngineError(KINDS[String(status)] ?? 'internal', decodeURIComponent(String(headers['grpc-message'] ?? `${method} failed with status ${String(status)}`)))
}

/**
 * Reads the messages of an answer. The status comes last, or, where nothing else does, first. Clients send a frame for each of
 * ten thousand files: what `through` has no use for wakes nobody.
 */
async function* messagesOf(method: string, stream: ClientHttp2Stream, through: (chunk: Buffer) => Buffer | undefined): AsyncGenerator<readonly Buffer[]> {
  const read = frameReader()
  let [came, bytes, ended]: [Buffer[], number, boolean] = [[], 0, false]
  let failed: unknown
  let stir = Promise.withResolvers<void>()
  const hear = (headers: IncomingHttpHeaders): void => {
    failed ??= statusError(method, headers)
  }
  // The status may be told a moment after the last byte.
  const end = (cause?: unknown): void => {
    ended = true
    if (cause !== undefined) failed ??= new EngineError('unavailable', `the client ended ${method}`, { cause })
    stir.resolve()
  }
  stream.on('response', hear).on('trailers', hear).on('error', end).once('end', () => setImmediate(end)).once('close', () => end(stream.readableEnded ? undefined : new Error('the call was cut off')))
  stream.on('data', (chunk: Buffer) => {
    const left = through(chunk)
    if (left === undefined) return
    came.push(left)
    bytes += left.length
    if (bytes > AHEAD_BYTES) stream.pause()
    stir.resolve()
  })
  for (;;) {
    if (came.length > 0) {
      const chunks = came
      came = []
      bytes = 0
      stream.resume()
      for (const chunk of chunks) yield read(chunk)
    } else if (ended) break
    else {
      await stir.promise
      stir = Promise.withResolvers()
    }
  }
  if (failed !== undefined) throw failed
}

/** What a client says of itself when it opens a session (`X-Docker-Expose-Session-*`). */
export interface SessionHead {
  readonly id: string
  readonly sharedKey: string
  readonly methods: readonly string[]
}

/** Opens the session of a client over a connection that it has made. */
export function openSession(socket: Duplex, head: SessionHead): ClientSession {
  const methods = new Set(head.methods)
  const http = connect('http://session', { createConnection: () => socket, settings: { initialWindowSize: WINDOW, enablePush: false }, maxSessionMemory: 64 })
  const { promise: closed, resolve } = Promise.withResolvers<void>()
  http.once('connect', () => http.setLocalWindowSize(WINDOW))
  http.on('error', (cause) => log.debug('a session ended with an error', { id: head.id, cause }))
  http.once('close', resolve)
  const open = (method: string, headers: Readonly<Record<string, string | readonly string[]>>, signal: AbortSignal): SessionCall => {
    if (!methods.has(method)) throw new EngineError('unsupported', `the client does not offer ${method}`)
    if (http.closed || http.destroyed) throw new EngineError('unavailable', 'the client has gone')
    const stream = http.request({ ':method': 'POST', ':path': method, 'content-type': 'application/grpc', te: 'trailers', ...(headers as Record<string, string | string[]>) }, { endStream: false, signal })
    stream.on('error', (cause) => log.debug('a call to a client failed', { method, cause }))
    return {
      send: (message) => writePaced(stream, framed(message)),
      sendAll: (messages) => writePaced(stream, Buffer.concat(messages.map(framed))),
      end: () => void stream.end(),
      received: (through = (chunk) => chunk) => messagesOf(method, stream, through),
      cancel: () => stream.close(constants.NGHTTP2_CANCEL),
    }
  }
  return {
    ...head, closed, open,
    offers: (method) => methods.has(method),
    async ask<T>(method: string, [name, fields]: readonly [string, object], response: string): Promise<T> {
      const call = open(method, {}, AbortSignal.timeout(UNARY_MS))
      await call.send(encode(name, fields))
      call.end()
      let answer: T | undefined
      for await (const messages of call.received()) for (const message of messages) answer ??= decode<T>(response, message)
      if (answer === undefined) throw new EngineError('unavailable', `the client did not answer ${method}`)
      return answer
    },
    close: () => void http.close(),
  }
}
