import { Duplex, PassThrough, Readable } from 'node:stream'
import { type ClientSession, openSession, type SessionHead } from '@gantry/buildkit'
import { EngineError } from '@gantry/std'
import { createArrivals } from './arrivals.ts'

/** Sessions of clients, by the names that they gave them. */
export interface Sessions {
  /** Opens one over a connection; ends with it. */
  join(socket: Duplex, head: SessionHead, signal: AbortSignal): Promise<void>
  /** Waits a moment: a build may come before its session. */
  find(id: string, signal: AbortSignal): Promise<ClientSession>
}

const WAIT_MS = 10_000

/** Makes the list. */
export function createSessions(): Sessions {
  const sessions = createArrivals<ClientSession>(WAIT_MS, (id) => new EngineError('not-found', `no active session for ${id}`))
  return {
    async join(socket, head, signal) {
      if (!/^[\w-]{1,128}$/.test(head.id)) throw new EngineError('invalid', `X-Docker-Expose-Session-Uuid: ${JSON.stringify(head.id)}: expected the session's name`)
      const session = openSession(socket, head)
      sessions.set(head.id, session)
      const end = (): void => void socket.destroy()
      signal.addEventListener('abort', end, { once: true })
      await session.closed
      signal.removeEventListener('abort', end)
      if (sessions.get(head.id) === session) sessions.delete(head.id)
    },
    find: sessions.find,
  }
}

/** What a client says of its session in the headers that open it. */
export function sessionHead(header: (name: string) => string): SessionHead {
  return { id: header('x-docker-expose-session-uuid'), sharedKey: header('x-docker-expose-session-sharedkey'), methods: header('x-docker-expose-session-grpc-method').split(',').map((method) => method.trim()) }
}

/** A connection inside a call: what comes in it, and what goes out. */
export function tunnel(incoming: AsyncIterable<{ readonly data: Uint8Array }>): { readonly outside: Duplex; readonly outgoing: AsyncIterable<Uint8Array> } {
  const bytes = async function* (): AsyncGenerator<Uint8Array> {
    for await (const { data } of incoming) yield data
  }
  const outgoing = new PassThrough()
  return { outside: Duplex.from({ readable: Readable.from(bytes(), { objectMode: false }), writable: outgoing } as never), outgoing }
}
