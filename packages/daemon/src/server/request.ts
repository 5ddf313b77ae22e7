import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import { asObject, checkDepth, collect, EngineError, type JsonObject } from '@gantry/std'

/** A request on its way to a handler. */
export interface ApiRequest {
  readonly message: IncomingMessage
  readonly response: ServerResponse
  /** The body, where it has been read before. */
  readonly body?: Buffer
  /** Parts of the path that the route names. */
  readonly params: Readonly<Record<string, string>>
  readonly query: URLSearchParams
  readonly apiVersion: number
  /** Aborts when the client goes away. */
  readonly signal: AbortSignal
  /** Takes the connection over as a raw stream. */
  readonly hijack: (contentType: string, protocol?: string) => Duplex
  /** Takes the connection over as a web socket. */
  readonly webSocket: () => Promise<Duplex>
}

/** The body as it comes. Whoever stops reading it does not end the connection: the answer has to go over it. */
export function bodyOf(request: ApiRequest): AsyncIterable<Uint8Array> {
  return request.message.iterator({ destroyOnReturn: false })
}

const BODY_LIMIT = 16 << 20
const DEPTH_LIMIT = 100

/** The body as a JSON object; an empty body gives an empty object. */
export async function jsonBody(request: ApiRequest): Promise<JsonObject> {
  const length = Number(request.message.headers['content-length'] ?? -1)
  if (length > BODY_LIMIT) throw new EngineError('invalid', `request body of ${length} bytes is too large`)
  const bytes = request.body ?? (await collect(bodyOf(request), BODY_LIMIT))
  if (bytes.length === 0) return {}
  const type = request.message.headers['content-type'] ?? ''
  if (!/^application\/json\b/i.test(type)) throw new EngineError('invalid', `unsupported Content-Type header (${type}): must be 'application/json'`)
  const text = bytes.toString('utf8')
  checkDepth(text, DEPTH_LIMIT)
  try {
    return asObject(JSON.parse(text), 'body')
  } catch (cause) {
    if (cause instanceof EngineError) throw new EngineError('invalid', 'invalid JSON: expected an object', { cause })
    throw new EngineError('invalid', `invalid JSON: ${cause instanceof Error ? cause.message : 'not JSON'}`, { cause })
  }
}

/** True for anything but empty, `0`, `no`, `false` and `none`. */
export function flag(query: URLSearchParams, name: string, fallback = false): boolean {
  const value = query.get(name)
  if (value === null) return fallback
  return !['', '0', 'no', 'false', 'none'].includes(value.trim().toLowerCase())
}

/** A whole number, or the fallback when it is not there. */
export function numberOf(query: URLSearchParams, name: string, fallback: number): number {
  const value = query.get(name)
  if (value === null || value === '') return fallback
  if (!/^-?\d{1,15}$/.test(value)) throw new EngineError('invalid', `${name}: expected a whole number, got "${value}"`)
  return Number(value)
}

/** A part of the path; the router has made sure that it is there. */
export function param(request: ApiRequest, name: string): string {
  return request.params[name] ?? ''
}
