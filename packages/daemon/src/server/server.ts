import { createServer, type IncomingHttpHeaders, type IncomingMessage, type Server, ServerResponse } from 'node:http'
import { createServer as createSecureServer } from 'node:https'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { SecureContextOptions } from 'node:tls'
import { EngineError, logger } from '@gantry/std'
import { MAX_API_VERSION } from '@gantry/api'
import { BUILDER_VERSION, GANTRY_VERSION } from '../system/info.ts'
import type { Authorization } from './authorization.ts'
import type { ApiRequest } from './request.ts'
import { sendError } from './respond.ts'
import type { Router } from './router.ts'
import { acceptWebSocket } from './web-socket.ts'

const log = logger('daemon.server')
const HEADERS_LIMIT_BYTES = 16_384
const HEADERS_TIMEOUT_MS = 60_000
const IDLE_MS = 5 * 60_000
const CONNECTIONS = 1000

/** What the server stands on. */
export interface ServerOptions {
  readonly router: Router
  /** Early requests wait until the daemon is ready. */
  readonly accepted: Promise<void>
  readonly tls?: SecureContextOptions & { readonly requestCert: boolean }
  /** Judges the head of a request to a socket that asks for no proof; throws. */
  readonly guard?: (headers: IncomingHttpHeaders) => void
  readonly authorization: Authorization
  /** Clients offer what they call experimental (checkpoints) only to daemons that say so. */
  readonly experimental: boolean
}

const COMMON: Readonly<Record<string, string>> = { 'Api-Version': MAX_API_VERSION, Ostype: 'linux', Server: `Gantry/${GANTRY_VERSION} (linux)` }

function clientGone(message: IncomingMessage, response: ServerResponse): AbortSignal {
  const controller = new AbortController()
  const gone = (): void => controller.abort(new EngineError('unavailable', 'the client has gone'))
  // Kept: a request that is destroyed loses it.
  const { socket } = message
  socket.once('close', gone)
  response.once('close', () => socket.off('close', gone))
  return controller.signal
}

/** The head of a raw stream: 101 when the client asked for the change, else 200. */
function hijackHead(upgrade: boolean, contentType: string, protocol: string, common: Readonly<Record<string, string>>): string {
  const lines = upgrade ? ['HTTP/1.1 101 UPGRADED', ...(contentType === '' ? [] : [`Content-Type: ${contentType}`]), 'Connection: Upgrade', `Upgrade: ${protocol}`] : ['HTTP/1.1 200 OK', `Content-Type: ${contentType}`]
  return `${[...lines, ...Object.entries(common).map(([name, value]) => `${name}: ${value}`)].join('\r\n')}\r\n\r\n`
}

const HTTP2_PREFACE = 'HPE_PAUSED_H2_UPGRADE'

/** A connection that the parser of HTTP/1 has stopped at, as it was before: with the bytes that came. */
function released(socket: Duplex, bytes: Buffer): Duplex {
  for (const event of ['data', 'end', 'close', 'drain', 'error', 'timeout', 'resume', 'pause']) socket.removeAllListeners(event)
  socket.on('error', (cause) => log.debug('a connection of HTTP/2 failed', { cause }))
  socket.pause()
  socket.unshift(bytes)
  return socket
}

/** Makes the HTTP server of one listener. */
export function createApiServer(options: ServerOptions): Server {
  const { router } = options
  const always = { ...COMMON, 'Docker-Experimental': String(options.experimental) }
  const serve = async (message: IncomingMessage, response: ServerResponse, hijack: ApiRequest['hijack'], webSocket: () => Promise<Duplex>): Promise<void> => {
    for (const [name, value] of Object.entries(always)) response.setHeader(name, value)
    try {
      await options.accepted
      options.guard?.(message.headers)
      const url = new URL(message.url ?? '/', 'http://localhost')
      const found = options.router.match(message.method ?? 'GET', url.pathname)
      if (found === undefined) throw new EngineError('not-found', 'page not found')
      const body = options.authorization.active ? await options.authorization.judge(message) : undefined
      if (options.authorization.active) options.authorization.hold(message, response, body, (error) => sendError(response, error))
      const request: ApiRequest = { message, response, ...(body !== undefined && { body }), params: found.params, query: url.searchParams, apiVersion: found.apiVersion, signal: clientGone(message, response), hijack, webSocket }
      await found.route.handle(request)
    } catch (error) {
      // A request that was destroyed has no socket any more.
      if (message.socket?.destroyed !== true || !response.headersSent) log.debug('request failed', { method: message.method, url: message.url, cause: error })
      sendError(response, error)
    }
  }
  const onRequest = (message: IncomingMessage, response: ServerResponse): void => {
    void serve(message, response, (contentType) => {
      const socket = message.socket
      response.detachSocket(socket)
      socket.removeAllListeners('timeout')
      socket.setTimeout(0)
      socket.write(hijackHead(false, contentType, '', always))
      return socket
    }, () => Promise.reject(new EngineError('invalid', 'expected the handshake of a web socket')))
  }
  const onUpgrade = (message: IncomingMessage, socket: Duplex, head: Buffer): void => {
    const response = new ServerResponse(message)
    response.assignSocket(socket as Socket)
    response.shouldKeepAlive = false
    response.on('finish', () => socket.end())
    if (head.length > 0) socket.unshift(head)
    socket.on('error', () => undefined)
    // While the body is still on its way, Node gives a stream of its own around the socket.
    message.socket.setTimeout(0)
    void serve(message, response, (contentType, protocol = 'tcp') => {
      response.detachSocket(socket as Socket)
      socket.write(hijackHead(true, contentType, protocol, always))
      return socket
    }, () => {
      response.detachSocket(socket as Socket)
      return acceptWebSocket(message, socket)
    })
  }
  const common = { maxHeaderSize: HEADERS_LIMIT_BYTES, headersTimeout: HEADERS_TIMEOUT_MS, requestTimeout: 0, keepAliveTimeout: IDLE_MS, noDelay: true, allowHalfOpen: true }
  const server = options.tls === undefined ? createServer(common, onRequest) : (createSecureServer({ ...common, ...options.tls, minVersion: 'TLSv1.2', rejectUnauthorized: options.tls.requestCert }, onRequest) as unknown as Server)
  server.maxConnections = CONNECTIONS
  server.on('upgrade', onUpgrade)
  const taken = new WeakSet<Duplex>()
  server.on('clientError', (error: NodeJS.ErrnoException & { readonly rawPacket?: Buffer }, socket: Duplex) => {
    if (taken.has(socket)) return
    // Who judges requests cannot judge these.
    if (error.code === HTTP2_PREFACE && error.rawPacket !== undefined && router.http2 !== undefined && !options.authorization.active) {
      taken.add(socket)
      return router.http2(released(socket, error.rawPacket))
    }
    if (!socket.writable || error.code === 'ECONNRESET') return void socket.destroy()
    const tooLarge = error.code === 'HPE_HEADER_OVERFLOW'
    socket.end(`HTTP/1.1 ${tooLarge ? '431 Request Header Fields Too Large' : '400 Bad Request'}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`)
  })
  return server
}

/** Headers of `/_ping`. */
export const PING_HEADERS: Readonly<Record<string, string>> = {
  'Content-Type': 'text/plain; charset=utf-8', 'Cache-Control': 'no-cache, no-store, must-revalidate', Pragma: 'no-cache', 'Builder-Version': BUILDER_VERSION, Swarm: 'inactive',
}
