import { readFileSync } from 'node:fs'
import type { ClientRequest, IncomingMessage, RequestOptions } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { collect, EngineError, type ErrorKind } from '@gantry/std'
import { askShortly } from './short.ts'
import { sshStream } from './ssh.ts'

/** Where the daemon is, and how to prove who one is. */
export interface Endpoint {
  /** `unix:///path`, `tcp://host:port`, `ssh://[user@]host[:port]` */
  readonly host: string
  readonly tls?: { readonly ca?: string; readonly cert?: string; readonly key?: string; readonly verify: boolean }
  /** API version to ask for, such as `1.44`; the daemon's own when left out. */
  readonly version?: string
  /** Go with every request. */
  readonly headers?: Readonly<Record<string, string>>
}

/** What goes out. */
export interface CallOptions {
  readonly query?: Readonly<Record<string, string | number | boolean | readonly string[] | undefined>>
  /** Sent as JSON. */
  readonly json?: unknown
  /** Sent as it comes. */
  readonly body?: AsyncIterable<Uint8Array> | Uint8Array
  readonly contentType?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly signal?: AbortSignal
}

/** What the daemon answered instead of what was asked for. */
export class DaemonError extends EngineError {
  readonly status: number
  constructor(kind: ErrorKind, message: string, status: number) {
    super(kind, message)
    this.name = 'DaemonError'
    this.status = status
  }
}

/** Talks to one daemon. */
export interface Transport {
  /** Resolves once the head is there; an error status becomes a DaemonError with the daemon's words. */
  send(method: string, path: string, options?: CallOptions): Promise<IncomingMessage>
  json<T>(method: string, path: string, options?: CallOptions): Promise<T>
  /** Takes the connection over. */
  hijack(path: string, options?: CallOptions): Promise<Duplex>
}

const KINDS: Readonly<Record<number, ErrorKind>> = { 400: 'invalid', 401: 'unauthorized', 403: 'forbidden', 404: 'not-found', 409: 'conflict', 501: 'unsupported', 503: 'unavailable' }
const BODY_LIMIT = 256 << 20

/** Where a daemon of this form of address listens; the port only where it is named. */
export function placeOf(host: string): { readonly path: string } | { readonly host: string; readonly port: number | undefined } {
  if (host.startsWith('unix://')) return { path: host.slice('unix://'.length) }
  const match = /^(?:tcp|https?):\/\/(\[[^\]]+\]|[^:/]+)(?::(\d+))?/.exec(host)
  if (match === null) throw new EngineError('invalid', `unable to parse docker host \`${host}\``)
  return { host: (match[1] ?? '').replace(/^\[|\]$/g, ''), port: match[2] === undefined ? undefined : Number(match[2]) }
}

/** What is told when nobody answers there. */
export function unreachable(host: string, cause: Error): EngineError {
  return new EngineError('unavailable', `Cannot connect to the Gantry daemon at ${host}. Is the daemon running?`, { cause })
}

function target(endpoint: Endpoint): RequestOptions & { readonly secure: boolean } {
  const { host, tls } = endpoint
  // A stream is what a request needs; the rest of a socket it can do without.
  if (host.startsWith('ssh://')) return { host: 'gantry', createConnection: () => sshStream(host) as unknown as Socket, secure: false }
  const place = placeOf(host)
  if ('path' in place) return { socketPath: place.path, secure: false }
  const files = tls === undefined ? {} : { rejectUnauthorized: tls.verify, ...(tls.ca && { ca: readFileSync(tls.ca) }), ...(tls.cert && { cert: readFileSync(tls.cert) }), ...(tls.key && { key: readFileSync(tls.key) }) }
  return { host: place.host, port: place.port ?? (tls === undefined ? 2375 : 2376), secure: tls !== undefined, ...files }
}

function pathWith(path: string, query: CallOptions['query']): string {
  const search = new URLSearchParams()
  for (const [name, value] of Object.entries(query ?? {})) {
    if (value === undefined || value === false || value === '') continue
    for (const one of Array.isArray(value) ? value : [value === true ? '1' : value]) search.append(name, String(one))
  }
  const text = search.toString()
  return text === '' ? path : `${path}?${text}`
}

async function failure(response: IncomingMessage): Promise<DaemonError> {
  return failureOf(response.statusCode ?? 500, (await collect(response, BODY_LIMIT)).toString('utf8'))
}

function failureOf(status: number, text: string): DaemonError {
  let message = text.trim()
  try {
    message = String((JSON.parse(text) as { message?: unknown }).message ?? message)
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
  }
  return new DaemonError(KINDS[status] ?? 'internal', message === '' ? `status ${status}` : message, status)
}

/** Makes a transport; nothing is sent before the first call. */
export function createTransport(endpoint: Endpoint): Transport {
  const { secure, ...base } = target(endpoint)
  const prefix = endpoint.version === undefined ? '' : `/v${endpoint.version}`
  const outgoing = (method: string, path: string, options: CallOptions, headers: Readonly<Record<string, string>>): { readonly path: string; readonly headers: Readonly<Record<string, string>>; readonly fixed: Uint8Array | undefined } => {
    const json = options.json === undefined ? undefined : Buffer.from(JSON.stringify(options.json))
    const fixed = json ?? (options.body instanceof Uint8Array ? options.body : undefined)
    const length = fixed ? { 'Content-Length': String(fixed.length) } : options.body === undefined && method !== 'GET' ? { 'Content-Length': '0' } : {}
    return {
      path: `${prefix}${pathWith(path, options.query)}`, fixed,
      headers: { ...(base.socketPath && { Host: 'gantry' }), ...endpoint.headers, ...options.headers, ...headers, ...(json && { 'Content-Type': 'application/json' }), ...(options.contentType && { 'Content-Type': options.contentType }), ...length },
    }
  }
  const open = (method: string, path: string, options: CallOptions, extra: Readonly<Record<string, string>>): ClientRequest => {
    const { fixed, headers, ...out } = outgoing(method, path, options, extra)
    // TLS takes 15 ms to load, HTTP 5: only for those who use it.
    const { request: start } = secure ? process.getBuiltinModule('node:https') : process.getBuiltinModule('node:http')
    const request = start({
      ...base, ...out, method, headers, ...(base.createConnection === undefined && { agent: false }),
      // Without TLS nobody needs to know whether the host is an address.
      ...(!secure && { servername: '' }),
      ...(options.signal && { signal: options.signal }),
    })
    if (fixed !== undefined || options.body === undefined) request.end(fixed)
    else void pump(request, options.body as AsyncIterable<Uint8Array>)
    return request
  }
  const told = (error: NodeJS.ErrnoException): Error => (['ENOENT', 'ECONNREFUSED', 'EACCES'].includes(error.code ?? '') ? unreachable(endpoint.host, error) : error)
  const wait = (request: ClientRequest): Promise<IncomingMessage> =>
    new Promise((resolve, reject) => {
      request.once('response', resolve)
      request.once('error', (error: NodeJS.ErrnoException) => reject(told(error)))
    })
  const short = async (method: string, path: string, options: CallOptions): Promise<string> => {
    const { fixed, headers, ...out } = outgoing(method, path, options, {})
    const place = base.socketPath ? { path: base.socketPath } : { host: base.host ?? '', port: Number(base.port) }
    const host = base.socketPath ? {} : { Host: `${place.host?.includes(':') ? `[${place.host}]` : place.host}:${place.port}` }
    const { status, body } = await askShortly(place as { readonly path: string }, { ...out, method, headers: { ...host, ...headers }, body: fixed, signal: options.signal }, BODY_LIMIT).catch((error: NodeJS.ErrnoException) => {
      throw told(error)
    })
    const text = body.toString('utf8')
    if (status >= 400) throw failureOf(status, text)
    return text
  }
  const send = async (method: string, path: string, options: CallOptions = {}): Promise<IncomingMessage> => {
    const response = await wait(open(method, path, options, {}))
    if ((response.statusCode ?? 500) >= 400) throw await failure(response)
    return response
  }
  return {
    send,
    async json<T>(method: string, path: string, options: CallOptions = {}): Promise<T> {
      const isShort = !secure && base.createConnection === undefined && (options.body === undefined || options.body instanceof Uint8Array)
      const text = isShort ? await short(method, path, options) : (await collect(await send(method, path, options), BODY_LIMIT)).toString('utf8')
      return (text === '' ? undefined : JSON.parse(text)) as T
    },
    hijack: (path, options = {}) =>
      new Promise((resolve, reject) => {
        const request = open('POST', path, options, { Connection: 'Upgrade', Upgrade: 'tcp' })
        request.once('upgrade', (_, socket, head: Buffer) => {
          if (head.length > 0) socket.unshift(head)
          resolve(socket)
        })
        request.once('response', (response) => void failure(response).then(reject, reject))
        request.once('error', (error: NodeJS.ErrnoException) => reject(told(error)))
      }),
  }
}

async function pump(request: ClientRequest, body: AsyncIterable<Uint8Array>): Promise<void> {
  try {
    for await (const chunk of body) if (!request.write(chunk)) await new Promise((resolve) => request.once('drain', resolve))
    request.end()
  } catch (error) {
    request.destroy(error instanceof Error ? error : new Error(String(error)))
  }
}
