import { chmodSync, rmSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { EngineError, randomHex } from '@gantry/std'
import { SOCKET } from './constants.ts'

/** sizeof(struct sockaddr_un), `linux/un.h`. */
export const SOCKET_ADDRESS_BYTES = 110

/** A unix socket address: family and path. */
export function socketAddress(path: string): Buffer {
  const address = Buffer.alloc(SOCKET_ADDRESS_BYTES)
  address.writeUInt16LE(SOCKET.UNIX, 0)
  address.write(path, 2)
  return address
}

const TOKEN_BYTES = 32
const GREETING_MS = 10_000

/** A stream that somebody was asked to open; the token says which. */
export interface ExpectedStream {
  readonly token: string
  readonly socketPath: string
  readonly socket: Promise<Socket>
  /** Nobody is going to dial any more. */
  cancel(reason: string): void
}

/** Where shims and the helper's children dial to bring a stream. Nothing is ever polled for. */
export interface StreamServer extends AsyncDisposable {
  expect(): ExpectedStream
}

/** Listens on a unix socket that only root reaches. */
export async function listenForStreams(socketPath: string): Promise<StreamServer> {
  rmSync(socketPath, { force: true })
  const waiting = new Map<string, PromiseWithResolvers<Socket>>()
  const greet = (socket: Socket): void => {
    let head = Buffer.alloc(0)
    const timer = setTimeout(() => socket.destroy(), GREETING_MS)
    const onReadable = (): void => {
      const chunk = socket.read() as Buffer | null
      if (chunk === null) return
      head = Buffer.concat([head, chunk])
      if (head.length < TOKEN_BYTES) return
      clearTimeout(timer)
      socket.off('readable', onReadable)
      const token = head.toString('latin1', 0, TOKEN_BYTES)
      const taker = waiting.get(token)
      waiting.delete(token)
      if (taker === undefined) return void socket.destroy()
      if (head.length > TOKEN_BYTES) socket.unshift(head.subarray(TOKEN_BYTES))
      taker.resolve(socket)
    }
    socket.on('error', () => clearTimeout(timer))
    socket.on('readable', onReadable)
  }
  const server = createServer({ allowHalfOpen: true }, greet)
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(socketPath, 1024, resolve)
  })
  chmodSync(socketPath, 0o600)
  return {
    expect() {
      const token = randomHex(TOKEN_BYTES / 2)
      const taker = Promise.withResolvers<Socket>()
      taker.promise.catch(() => undefined)
      waiting.set(token, taker)
      return {
        token,
        socketPath,
        socket: taker.promise,
        cancel: (reason) => {
          if (waiting.delete(token)) taker.reject(new EngineError('internal', reason))
        },
      }
    },
    async [Symbol.asyncDispose]() {
      for (const taker of waiting.values()) taker.reject(new EngineError('unavailable', 'the daemon stops'))
      waiting.clear()
      await new Promise<void>((resolve) => server.close(() => resolve()))
    },
  }
}
