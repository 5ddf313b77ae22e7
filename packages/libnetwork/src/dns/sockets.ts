import { batch, type Launcher, nftables as nft, openResolverSockets, type ResolverPlan, SOCKET, syscallProgram } from '@gantry/linux'
import { newId } from '@gantry/std'
import type { Socket as DatagramSocket } from 'node:dgram'
import type { Server } from 'node:net'
import { insideOf } from '../host.ts'

/** Where programs inside look for names; software has it hard-coded. */
export const RESOLVER_ADDRESS = '127.0.0.11'
const BYTES = Buffer.from([127, 0, 0, 11])
const DNS_PORT = 53
/** Above what kernels hand out to clients by themselves. */
const FIRST_PORT = 61_000
const LAST_PORT = 65_000
const TABLE = 'gantry-dns'
/** Before connection tracking sees the packet. */
const PRIORITY = -300
const OUTPUT = 3
const UDP = { protocol: 17, sumAt: 6 } as const
const TCP = { protocol: 6, sumAt: 16 } as const
const be16 = (port: number): Buffer => Buffer.from([port >> 8, port & 0xff])
const AT_SOURCE = { address: 12, port: 0 } as const
const AT_DESTINATION = { address: 16, port: 2 } as const

/** The table inside: what goes to 127.0.0.11:53 goes to the resolver's port, and what comes from there comes from 53. */
function rules(port: number): readonly Buffer[] {
  const swap = (side: typeof AT_SOURCE | typeof AT_DESTINATION, from: number, to: number): readonly Buffer[] =>
    [UDP, TCP].map(({ protocol, sumAt }) =>
      nft.newRule(TABLE, 'out', [
        nft.meta('nfproto'), nft.compare(Buffer.from([2])),
        nft.payload('network', side.address, 4), nft.compare(BYTES),
        nft.meta('l4proto'), nft.compare(Buffer.from([protocol])),
        nft.payload('transport', side.port, 2), nft.compare(be16(from)),
        nft.load(be16(to)), nft.writeTransport(side.port, 2, sumAt),
      ]),
    )
  return [nft.newTable(TABLE), nft.deleteTable(TABLE), nft.newTable(TABLE), nft.newChain(TABLE, 'out', { hook: OUTPUT, priority: PRIORITY, type: 'filter' }), ...swap(AT_DESTINATION, DNS_PORT, port), ...swap(AT_SOURCE, port, DNS_PORT)]
}

/** The sockets of one resolver. */
export interface ResolverSockets {
  readonly udp: DatagramSocket
  readonly tcp: Server
}

/** Sockets that are on their way. */
export interface PlannedResolver {
  readonly plan: ResolverPlan
  readonly sockets: Promise<ResolverSockets>
  /** Nobody wants them any more: those that have come are closed. `sockets` stays open, then. */
  cancel(): void
}

/** Plans the sockets of a resolver, and gives them once they have come. */
export function planResolver(launcher: Launcher, port: number): PlannedResolver | undefined {
  const tokens = [newId(), newId()] as const
  const texts = [launcher.handleText('udp4', tokens[0]), launcher.handleText('tcp', tokens[1])] as const
  if (texts[0] === undefined || texts[1] === undefined) return undefined
  const address = Buffer.alloc(16)
  address.writeUInt16LE(SOCKET.INET, 0)
  address.writeUInt16BE(port, 2)
  address.set(BYTES, 4)
  const { bytes, acks } = nft.nftBatch(rules(port))
  const handles = tokens.map((token) => launcher.handle(token))
  let cancelled = false
  // A socket that nobody closes keeps the namespace of a container that has ended.
  const sockets = new Promise<ResolverSockets>((resolve, reject) => {
    Promise.all(handles).then(([udp, tcp]) => (cancelled ? undefined : resolve({ udp: udp as DatagramSocket, tcp: tcp as Server })), reject)
  })
  const cancel = (): void => {
    if (cancelled) return
    cancelled = true
    for (const token of tokens) launcher.forgetHandle(token)
    for (const handle of handles) void handle.then((socket) => socket.close())
  }
  return { plan: { address, rules: { ...batch('lead names to the resolver', []), bytes, acks }, texts: [texts[0], texts[1]] }, sockets, cancel }
}

/** A port for a resolver in a namespace of its own. */
export function resolverPort(): number {
  return FIRST_PORT + Math.floor(Math.random() * (LAST_PORT - FIRST_PORT))
}

/** Opens the resolver of a container that runs already. */
export async function openResolverOf(launcher: Launcher, pid: number, port: number): Promise<ResolverSockets | undefined> {
  const planned = planResolver(launcher, port)
  if (planned === undefined) return undefined
  await launcher.fork(syscallProgram((p) => insideOf(p, pid, () => openResolverSockets(p, planned.plan))))
  return planned.sockets
}
