import { createSocket } from 'node:dgram'
import { connect, type Socket } from 'node:net'
import { logger } from '@gantry/std'
import { answerFrom, failure, forDatagram, type Names, type Query, readQuery } from './answer.ts'
import type { ResolverSockets } from './sockets.ts'

const log = logger('libnetwork.dns')
const DNS_PORT = 53
/** Servers that are asked one after another, and how long each has. */
const UPSTREAMS = 3
const UPSTREAM_MS = 4000
/** Queries of one container on their way to servers; more are answered with an error, so that nobody starves others. */
const IN_FLIGHT = 256
/** Queries of all containers. */
const ALL_IN_FLIGHT = 1024
/** Connections of one container, and how long one may be idle. */
const CONNECTIONS = 32
const IDLE_MS = 10_000
const MESSAGE_LIMIT = 65_535

/** What a resolver stands on. */
export interface ResolverOptions {
  readonly names: Names
  /** Servers for all other names; none: such names are not resolved. */
  upstreams(): readonly string[]
}

/** The embedded DNS server of one container. */
export interface Resolver {
  close(): void
}

let flying = 0

function askOverUdp(server: string, bytes: Buffer): Promise<Buffer | undefined> {
  return new Promise((resolve) => {
    const socket = createSocket(server.includes(':') ? 'udp6' : 'udp4')
    let open = true
    const done = (answer: Buffer | undefined): void => {
      if (!open) return
      open = false
      clearTimeout(timer)
      socket.removeAllListeners()
      socket.on('error', () => undefined) // closed already: nobody waits
      socket.close()
      resolve(answer)
    }
    const timer = setTimeout(() => done(undefined), UPSTREAM_MS)
    socket.once('error', () => done(undefined))
    socket.on('message', (answer) => {
      // Only what answers this very query, from the server that was asked (the socket is connected).
      if (answer.length >= 12 && answer.readUInt16BE(0) === bytes.readUInt16BE(0)) done(answer)
    })
    // Without a way to the server the callback gets an error, where the types know of none.
    socket.connect(DNS_PORT, server, (error?: Error | null) => (error instanceof Error ? done(undefined) : socket.send(bytes, (failed) => (failed === null ? undefined : done(undefined)))))
  })
}

/** Messages of a DNS connection, each after its length (RFC 1035, 4.2.2). */
function framed(socket: Socket, onMessage: (message: Buffer) => void): void {
  let held = Buffer.alloc(0)
  socket.on('data', (chunk: Buffer) => {
    held = Buffer.concat([held, chunk])
    while (held.length >= 2 && held.length >= 2 + held.readUInt16BE(0)) {
      const end = 2 + held.readUInt16BE(0)
      onMessage(held.subarray(2, end))
      held = held.subarray(end)
    }
    if (held.length > MESSAGE_LIMIT + 2) socket.destroy()
  })
}

function frame(message: Buffer): Buffer {
  const head = Buffer.alloc(2)
  head.writeUInt16BE(message.length)
  return Buffer.concat([head, message])
}

function askOverTcp(server: string, bytes: Buffer): Promise<Buffer | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ host: server, port: DNS_PORT, timeout: UPSTREAM_MS })
    const done = (answer: Buffer | undefined): void => {
      socket.destroy()
      resolve(answer)
    }
    socket.once('error', () => done(undefined))
    socket.once('timeout', () => done(undefined))
    socket.once('end', () => done(undefined))
    framed(socket, done)
    socket.once('connect', () => socket.write(frame(bytes)))
  })
}

/** Serves one container's names. */
export function openResolver({ udp, tcp }: ResolverSockets, options: ResolverOptions): Resolver {
  let own = 0
  const forward = async (query: Query, bytes: Buffer, overTcp: boolean): Promise<Buffer> => {
    const servers = options.upstreams().slice(0, UPSTREAMS)
    if (servers.length === 0) return failure(query, 'servfail')
    if (own >= IN_FLIGHT || flying >= ALL_IN_FLIGHT) return failure(query, 'refused')
    own++
    flying++
    try {
      for (const server of servers) {
        const answer = await (overTcp ? askOverTcp : askOverUdp)(server, bytes)
        if (answer !== undefined) return answer
      }
      return failure(query, 'servfail')
    } finally {
      own--
      flying--
    }
  }
  const resolve = async (bytes: Buffer, overTcp: boolean): Promise<{ readonly query: Query; readonly answer: Buffer } | undefined> => {
    const query = readQuery(bytes)
    if (query === undefined) return undefined
    const verdict = answerFrom(options.names, query)
    return { query, answer: verdict.kind === 'answer' ? verdict.bytes : await forward(query, bytes, overTcp) }
  }
  udp.on('message', (bytes, from) => {
    resolve(bytes, false).then(
      (found) => {
        if (found !== undefined) udp.send(forDatagram(found.query, found.answer), from.port, from.address, () => undefined) // the asker may be gone
      },
      (cause: unknown) => log.warn('a query failed', { cause }),
    )
  })
  udp.on('error', (cause) => log.debug('the socket of a resolver failed', { cause }))
  const clients = new Set<Socket>()
  tcp.on('connection', (client) => {
    if (clients.size >= CONNECTIONS) return void client.destroy()
    clients.add(client)
    client.setTimeout(IDLE_MS, () => client.destroy())
    client.on('error', () => client.destroy())
    client.once('close', () => clients.delete(client))
    framed(client, (message) => {
      resolve(message, true).then(
        (found) => {
          if (found !== undefined && !client.destroyed) client.write(frame(found.answer))
        },
        (cause: unknown) => log.warn('a query failed', { cause }),
      )
    })
  })
  return {
    close() {
      udp.close()
      tcp.close()
      for (const client of clients) client.destroy()
    },
  }
}
