import { Agent as HttpAgent, type IncomingMessage, request as httpRequest } from 'node:http'
import type { Readable } from 'node:stream'
import { EngineError, messageOf } from '@gantry/std'

/** Why a server was not reached, in the words that tools look for in Docker's messages (those of Go's net package). */
function unreachable(method: string, url: URL, error: NodeJS.ErrnoException & { readonly address?: string; readonly port?: number }): string {
  const { code = '', address = url.hostname, port = url.port } = error
  const words: Readonly<Record<string, string>> = {
    ENOTFOUND: `dial tcp: lookup ${url.hostname}: no such host`, EAI_AGAIN: `dial tcp: lookup ${url.hostname}: Temporary failure in name resolution`, ECONNREFUSED: `dial tcp ${address}:${port}: connect: connection refused`,
    EHOSTUNREACH: `dial tcp ${address}:${port}: connect: no route to host`, ENETUNREACH: `dial tcp ${address}:${port}: connect: network is unreachable`, ETIMEDOUT: `dial tcp ${address}:${port}: i/o timeout`, ECONNRESET: 'read: connection reset by peer',
  }
  return `${method.charAt(0)}${method.slice(1).toLowerCase()} "${url.origin}${url.pathname}": ${words[code] ?? (messageOf(error) === '' ? code : messageOf(error))}`
}

/** How the other side proves who it is, and we to it. PEM texts. */
export interface TlsSettings {
  readonly verify: boolean
  readonly ca: readonly string[]
  readonly cert: string
  readonly key: string
}

/** One request. */
export interface HttpInit {
  readonly method?: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: Buffer | Readable
  readonly signal?: AbortSignal | undefined
}

/** Requests over connections that are kept open. */
export interface Http extends Disposable {
  /** Resolves once the head is there, whatever its status. A side that sends nothing for `stallMs` is given up, also in the middle of a body. */
  request(url: URL, init: HttpInit): Promise<IncomingMessage>
}

/** Loaded when it is used: TLS takes 15 ms, which clients of this house do not want to pay. */
const https = (): typeof import('node:https') => process.getBuiltinModule('node:https')
const REDIRECT_LIMIT = 5
/** Milliseconds without a byte from the other side. */
const STALL_MS = 30_000
const CONNECTIONS = 16

/** Headers that are for one host only. */
function isPrivate(name: string): boolean {
  return ['authorization', 'cookie', 'proxy-authorization'].includes(name.toLowerCase())
}

/** Makes the requester of one registry. */
export function createHttp(tls: TlsSettings, stallMs: number = STALL_MS): Http {
  const plain = new HttpAgent({ keepAlive: true, maxSockets: CONNECTIONS })
  const secure = new (https().Agent)({ keepAlive: true, maxSockets: CONNECTIONS, rejectUnauthorized: tls.verify, ...(tls.ca.length > 0 && { ca: [...tls.ca] }), ...(tls.cert !== '' && { cert: tls.cert, key: tls.key }) })
  const once = (url: URL, init: HttpInit): Promise<IncomingMessage> =>
    new Promise((resolve, reject) => {
      const isSecure = url.protocol === 'https:'
      if (!isSecure && url.protocol !== 'http:') throw new EngineError('invalid', `${url.protocol} is not a protocol of registries`)
      const { body } = init
      const request = (isSecure ? https().request : httpRequest)(url, {
        method: init.method ?? 'GET', agent: isSecure ? secure : plain,
        headers: { 'User-Agent': 'gantry', ...init.headers, ...(Buffer.isBuffer(body) ? { 'Content-Length': String(body.length) } : body === undefined && init.method !== undefined && init.method !== 'GET' && init.method !== 'HEAD' ? { 'Content-Length': '0' } : {}) },
        ...(init.signal !== undefined && { signal: init.signal }),
      })
      request.setTimeout(stallMs, () => request.destroy(new EngineError('unavailable', `${url.host}: nothing came for ${stallMs / 1000} s`)))
      request.once('response', resolve)
      // A broken connection may tell of itself more than once; what comes after the head belongs to whoever reads the body.
      request.on('error', (error) => reject(error instanceof EngineError || init.signal?.aborted === true ? error : new EngineError('unavailable', unreachable(init.method ?? 'GET', url, error as NodeJS.ErrnoException), { cause: error })))
      if (body === undefined || Buffer.isBuffer(body)) request.end(body)
      else body.once('error', (error) => request.destroy(error)).pipe(request)
    })
  return {
    async request(url, init) {
      let at = url
      let headers = init.headers ?? {}
      for (let hops = 0; hops <= REDIRECT_LIMIT; hops++) {
        const answer = await once(at, { ...init, headers })
        const { statusCode = 0 } = answer
        const { location } = answer.headers
        const follow = (statusCode === 301 || statusCode === 302 || statusCode === 303 || statusCode === 307 || statusCode === 308) && location !== undefined && (init.method === undefined || init.method === 'GET' || init.method === 'HEAD')
        if (!follow) return answer
        answer.resume()
        const next = new URL(location, at)
        if (at.protocol === 'https:' && next.protocol !== 'https:') throw new EngineError('forbidden', `${at.host} sends us from https to ${next.protocol}//${next.host}: not followed`)
        if (next.origin !== at.origin) headers = Object.fromEntries(Object.entries(headers).filter(([name]) => !isPrivate(name)))
        at = next
      }
      throw new EngineError('invalid', `${url.origin}${url.pathname}: more than ${REDIRECT_LIMIT} redirects`)
    },
    [Symbol.dispose]() {
      plain.destroy()
      secure.destroy()
    },
  }
}
