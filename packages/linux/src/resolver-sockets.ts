import { SOCKET } from './constants.ts'
import { HANDLES } from './launcher.ts'
import type { NetlinkBatch } from './netlink/message.ts'
import type { ProgramBuilder } from './program.ts'

/** How the sockets of a container's resolver are opened. */
export interface ResolverPlan {
  /** Address and port that they are bound to: `struct sockaddr_in`. */
  readonly address: Buffer
  /** An nf_tables batch that leads 127.0.0.11:53 there. */
  readonly rules: NetlinkBatch
  /** What goes along with the sockets, for udp and tcp. */
  readonly texts: readonly [udp: Buffer, tcp: Buffer]
}

/** Opens the sockets: in the network namespace that the program is in, which has its loopback up. */
export function openResolverSockets(p: ProgramBuilder, plan: ResolverPlan): void {
  p.scoped(() => {
    const address = p.bytes(plan.address)
    for (const [index, type] of [SOCKET.DGRAM, SOCKET.STREAM].entries()) {
      const fd = p.register()
      const text = plan.texts[index] ?? Buffer.alloc(0)
      p.call('socket of the resolver', 'socket', [SOCKET.INET, type | SOCKET.CLOEXEC, 0], { to: fd })
      p.call('bind it to its port', 'bind', [fd, address, 16])
      p.op('hand it to the daemon', 'sendFd', [HANDLES, fd, p.bytes(text), text.length])
      p.call('close it', 'close', [fd])
    }
    const netfilter = p.register()
    p.call('netfilter socket', 'socket', [SOCKET.NETLINK, SOCKET.RAW | SOCKET.CLOEXEC, SOCKET.NETFILTER], { to: netfilter })
    p.op(plan.rules.what, 'netlink', [netfilter, p.bytes(plan.rules.bytes), plan.rules.bytes.length, plan.rules.acks])
    p.call('close it', 'close', [netfilter])
  })
}

