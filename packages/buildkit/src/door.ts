import { createServer } from 'node:http2'
import type { Duplex } from 'node:stream'
import { Code, ConnectError, type ConnectRouter, type ServiceImpl } from '@connectrpc/connect'
import { connectNodeAdapter } from '@connectrpc/connect-node'
import type { DescService } from '@bufbuild/protobuf'
import { EngineError, type ErrorKind, logger, messageOf } from '@gantry/std'
import { encode, serviceNamed } from './schema.ts'

const log = logger('buildkit.door')
const WINDOW = 1 << 20
const MESSAGE_LIMIT = 16 << 20

/** What a method hears of its call beside the request. */
export interface CallContext {
  readonly signal: AbortSignal
  readonly requestHeader: Headers
  readonly responseHeader: Headers
}

/** Methods by their names; requests and answers have the shapes of the protocol's table. */
export type Methods = Readonly<Record<string, (request: never, context: CallContext) => unknown>>

/** Where connections of clients come in. */
export interface Door {
  accept(socket: Duplex): void
}

const CODES: Readonly<Partial<Record<ErrorKind, Code>>> = { 'not-found': Code.NotFound, unsupported: Code.Unimplemented, forbidden: Code.PermissionDenied, unavailable: Code.Unavailable, unauthorized: Code.Unauthenticated }

/** More of an error, as clients take it apart: `type` is what they know it by. */
export interface ErrorDetail {
  readonly type: string
  readonly json: object
}

/** An error as gRPC carries it; `detailsOf` has what clients show of it. */
function toWire(error: unknown, detailsOf: (error: unknown) => readonly ErrorDetail[]): ConnectError {
  if (error instanceof ConnectError) return error
  const message = messageOf(error)
  const code = (error instanceof EngineError ? CODES[error.kind] : undefined) ?? Code.Unknown
  const details = detailsOf(error).map(({ type, json }) => ({ typeUrl: type, value: Buffer.from(JSON.stringify(json)) }))
  const status = details.length === 0 ? {} : { 'grpc-status-details-bin': Buffer.from(encode('google.rpc.Status', { code, message, details })).toString('base64').replace(/=+$/, '') }
  return new ConnectError(message, code, status)
}

function guarded(methods: Methods, detailsOf: (error: unknown) => readonly ErrorDetail[], streams: ReadonlySet<string>): Methods {
  const entries = Object.entries(methods).map(([name, method]) => {
    if (!streams.has(name)) {
      return [name, async (request: never, context: CallContext) => {
        try {
          return await method(request, context)
        } catch (error) {
          log.debug('a call failed', { name, cause: error })
          throw toWire(error, detailsOf)
        }
      }] as const
    }
    return [name, async function* (request: never, context: CallContext) {
      try {
        yield* method(request, context) as AsyncIterable<unknown>
      } catch (error) {
        log.debug('a stream failed', { name, cause: error })
        throw toWire(error, detailsOf)
      }
    }] as const
  })
  return Object.fromEntries(entries)
}

/** Serves services of the protocol, by their full names, on whatever connections come. */
export function openDoor(services: Readonly<Record<string, Methods>>, detailsOf: (error: unknown) => readonly ErrorDetail[]): Door {
  const routes = (router: ConnectRouter): void => {
    for (const [name, methods] of Object.entries(services)) {
      const service: DescService = serviceNamed(name)
      const streams = new Set(service.methods.filter((method) => method.methodKind !== 'unary').map((method) => method.localName))
      const named = Object.fromEntries(Object.entries(methods).map(([method, work]) => [`${method.charAt(0).toLowerCase()}${method.slice(1)}`, work]))
      router.service(service, guarded(named, detailsOf, streams) as ServiceImpl<DescService>)
    }
  }
  const server = createServer({ settings: { initialWindowSize: WINDOW } }, connectNodeAdapter({ routes, grpc: true, grpcWeb: false, connect: false, readMaxBytes: MESSAGE_LIMIT }))
  server.on('sessionError', (cause) => log.debug('a connection of a client ended with an error', { cause }))
  return {
    accept(socket) {
      // What TLS agreed upon was HTTP/1; the upgrade has changed that.
      if ('alpnProtocol' in socket) Object.assign(socket, { alpnProtocol: 'h2' })
      server.emit('connection', socket)
    },
  }
}
