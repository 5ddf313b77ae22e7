import { createSocket, type Socket as DatagramSocket } from 'node:dgram'
import { connect, type Server, type Socket } from 'node:net'
import { HANDLES, type Launcher, syscallProgram } from '@gantry/linux'
import { logger, newId } from '@gantry/std'
import { formatAddress } from './address.ts'
import type { RelayedPort } from './publish.ts'

const log = logger('libnetwork.relay')
/** Clients of a relayed UDP port at a time, and how long one is remembered. */
const PEERS = 1024
const PEER_MS = 60_000

/** A port that this process passes on. */
export interface Relay {
  close(): void
}

/** Passes bytes both ways; the end of one direction is passed on, too. */
function passStream(client: Socket, host: string, port: number): void {
  const target = connect({ host, port, allowHalfOpen: true })
  const both = [client, target] as const
  for (const one of both) {
    one.on('error', (cause) => {
      log.debug('a relayed connection broke', { host, port, cause })
      for (const other of both) other.destroy()
    })
  }
  client.pipe(target)
  target.pipe(client)
}

function relayStream(server: Server, host: string, port: number): Relay {
  const clients = new Set<Socket>()
  server.on('connection', (client) => {
    clients.add(client)
    client.once('close', () => clients.delete(client))
    passStream(client, host, port)
  })
  return {
    close() {
      server.close()
      for (const client of clients) client.destroy()
    },
  }
}

function relayDatagrams(socket: DatagramSocket, host: string, port: number): Relay {
  const peers = new Map<string, { readonly socket: DatagramSocket; timer: NodeJS.Timeout }>()
  const forget = (key: string): void => {
    const peer = peers.get(key)
    peers.delete(key)
    if (peer === undefined) return
    clearTimeout(peer.timer)
    peer.socket.close()
  }
  socket.on('message', (message, from) => {
    const key = `${from.address} ${from.port}`
    let peer = peers.get(key)
    if (peer === undefined) {
      const [oldest] = peers.keys()
      if (peers.size >= PEERS && oldest !== undefined) forget(oldest)
      const own = createSocket(host.includes(':') ? 'udp6' : 'udp4')
      own.on('message', (answer) => socket.send(answer, from.port, from.address, () => undefined)) // its loss is what UDP is
      own.on('error', () => forget(key))
      peer = { socket: own, timer: setTimeout(() => forget(key), PEER_MS).unref() }
      peers.set(key, peer)
    }
    peer.timer.refresh()
    peer.socket.send(message, port, host, (failed) => (failed === null ? undefined : forget(key)))
  })
  socket.on('error', (cause) => log.warn('a relayed port failed', { port, cause }))
  return {
    close() {
      for (const key of [...peers.keys()]) forget(key)
      socket.close()
    },
  }
}

/** Listens on the sockets that the launcher holds for these ports, and passes what comes to the container. */
export async function openRelays(launcher: Launcher, ports: readonly RelayedPort[]): Promise<readonly Relay[]> {
  if (ports.length === 0) return []
  const wanted = ports.map((one) => ({ ...one, token: newId(), kind: one.held.protocol === 'tcp' ? ('tcp' as const) : ('udp6' as const) }))
  const handles = wanted.map((one) => launcher.handle(one.token))
  await launcher.inline(
    syscallProgram((p) => {
      for (const { held, token, kind } of wanted) {
        const text = launcher.handleText(kind, token) ?? Buffer.alloc(0)
        p.scoped(() => {
          const fd = p.register()
          p.op('the held port', 'kept', [held.slot], { to: fd })
          p.op(`hand port ${held.hostPort} over`, 'sendFd', [HANDLES, fd, p.bytes(text), text.length])
        })
      }
    }),
  )
  return Promise.all(
    wanted.map(async ({ held, to }, index) => {
      const handle = await handles[index]
      const host = formatAddress(to)
      return held.protocol === 'tcp' ? relayStream(handle as Server, host, held.port) : relayDatagrams(handle as DatagramSocket, host, held.port)
    }),
  )
}
