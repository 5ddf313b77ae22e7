import { ERRNO, openResolverSockets, type ProgramBuilder, type Register, SOCKET } from '@gantry/linux'
import type { StartPlan } from './plan.ts'

function netlinkSocket(p: ProgramBuilder): Register {
  const fd = p.register()
  p.call('netlink socket', 'socket', [SOCKET.NETLINK, SOCKET.RAW | SOCKET.CLOEXEC, SOCKET.ROUTE], { to: fd })
  p.call('ask for the kernel’s reasons', 'setsockopt', [fd, 270, 11, p.bytes(Buffer.from([1, 0, 0, 0])), 4], { ignore: true })
  return fd
}

/** Links of the host's side; the pid names the namespace that they lead into. */
export function hostNetwork(p: ProgramBuilder, plan: StartPlan, pid: Register): void {
  if (plan.network.host.length === 0) return
  p.phase('network')
  const socket = netlinkSocket(p)
  for (const batch of plan.network.host) {
    const bytes = p.bytes(batch.bytes)
    for (const at of batch.pidAt ?? []) p.op('pid of the namespace', 'store', [{ blob: bytes.blob + at, length: 4 }, pid, 4])
    p.op(batch.what, 'netlink', [socket, bytes, batch.bytes.length, batch.acks])
  }
  p.call('close the netlink socket', 'close', [socket])
}

/** Addresses and routes, from inside. */
export function insideNetwork(p: ProgramBuilder, plan: StartPlan, proc: Register | undefined): void {
  if (plan.network.inside.length === 0) return
  p.phase('network')
  if (proc !== undefined) for (const [path, value] of plan.network.sysctls) p.op(`${path} = ${value}`, 'writeFile', [proc, p.text(`sys/${path}`), p.text(value), value.length, 0], { tolerate: ERRNO.ENOENT })
  const socket = netlinkSocket(p)
  for (const batch of plan.network.inside) p.op(batch.what, 'netlink', [socket, p.bytes(batch.bytes), batch.bytes.length, batch.acks])
  p.call('close the netlink socket', 'close', [socket])
  if (plan.network.resolver !== undefined) openResolverSockets(p, plan.network.resolver)
}
