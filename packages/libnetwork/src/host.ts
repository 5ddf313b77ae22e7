import { existsSync, writeFileSync } from 'node:fs'
import { AT, CLONE, type Launcher, link, type NetlinkBatch, O, parseAnswers, type ProgramBuilder, ProgramError, type Register, SOCKET, syscallProgram } from '@gantry/linux'
import { hasCode, logger } from '@gantry/std'
import { addressOf, type Subnet, subnetAt } from './address.ts'
import type { Attachment } from './network.ts'

const log = logger('libnetwork.host')
const ENODEV = 19
const ENOENT = 2

function netlinkSocket(p: ProgramBuilder, protocol: number = SOCKET.ROUTE): Register {
  const fd = p.register()
  p.call('netlink socket', 'socket', [SOCKET.NETLINK, SOCKET.RAW | SOCKET.CLOEXEC, protocol], { to: fd })
  return fd
}

/** Sends requests to a family of netlink in the host's namespace, or asks for a dump. */
async function netlink(launcher: Launcher, protocol: number, what: string, bytes: Buffer, acks: number | 'dump'): Promise<Buffer> {
  const { output } = await launcher.inline(
    syscallProgram((p) => {
      const failed = p.label()
      const fd = netlinkSocket(p, protocol)
      p.op('on failure', 'onFail', [failed])
      if (acks === 'dump') p.op(what, 'netlinkDump', [fd, p.bytes(bytes), bytes.length])
      else p.op(what, 'netlink', [fd, p.bytes(bytes), bytes.length, acks])
      p.place(failed)
      p.call('close it', 'close', [fd], { ignore: true })
    }),
  )
  return output
}

/** Sends requests about links, addresses and routes in the host's namespace, or asks for a dump. */
export function rtnetlink(launcher: Launcher, what: string, messages: readonly Buffer[], dump = false): Promise<Buffer> {
  return netlink(launcher, SOCKET.ROUTE, what, Buffer.concat(messages), dump ? 'dump' : messages.length)
}

/** Sends requests to netfilter, or asks for a dump. */
export function netfilter(launcher: Launcher, what: string, bytes: Buffer, acks: number | 'dump'): Promise<Buffer> {
  return netlink(launcher, SOCKET.NETFILTER, what, bytes, acks)
}

/** The link of this name. */
export async function findLink(launcher: Launcher, name: string): Promise<link.LinkInfo | undefined> {
  try {
    const answers = parseAnswers(await rtnetlink(launcher, `look for ${name}`, [link.getLink(name)], true))
    return answers.map(link.parseLink).find((info) => info !== undefined)
  } catch (error) {
    if (error instanceof ProgramError && error.errno === ENODEV) return undefined
    throw error
  }
}

/** An address of an interface of the host, with the subnet that it is in. */
export interface HostAddress {
  readonly index: number
  readonly address: ReturnType<typeof addressOf>
  readonly subnet: Subnet
}

/** All addresses of the host. */
export async function hostAddresses(launcher: Launcher): Promise<readonly HostAddress[]> {
  const answers = parseAnswers(await rtnetlink(launcher, 'list addresses', [link.getAddresses()], true))
  return answers.flatMap((answer) => {
    const found = link.parseAddress(answer)
    if (found === undefined || ![4, 16].includes(found.address.length)) return []
    const address = addressOf(found.address)
    return [{ index: found.index, address, subnet: subnetAt(address, found.prefix) }]
  })
}

/** Subnets that the host knows a way to: its own, and those of its routes. */
export async function hostSubnets(launcher: Launcher): Promise<readonly Subnet[]> {
  const addresses = await hostAddresses(launcher)
  const routes: Subnet[] = []
  for (const v6 of [false, true]) {
    const answers = parseAnswers(await rtnetlink(launcher, 'list routes', [link.getRoutes(v6)], true))
    for (const answer of answers) {
      const found = link.parseRoute(answer)
      if (found !== undefined) routes.push(subnetAt(addressOf(found.address), found.prefix))
    }
  }
  return [...addresses.map((one) => one.subnet), ...routes]
}

/** Writes a setting below /proc/sys/net; one that this kernel does not have is told of. */
export function setting(path: string, value: string): void {
  try {
    writeFileSync(`/proc/sys/net/${path}`, value)
  } catch (cause) {
    if (!hasCode(cause, 'ENOENT', 'EROFS', 'EACCES')) throw cause
    log.warn('cannot set', { path, value, cause })
  }
}

/** Where in a batch a pid belongs. */
function withPid(batch: NetlinkBatch, pid: number): Buffer {
  const bytes = Buffer.from(batch.bytes)
  for (const at of batch.pidAt ?? []) bytes.writeUInt32LE(pid, at)
  return bytes
}

/** Carries work out inside the network namespace of a process that runs. */
export function insideOf(p: ProgramBuilder, pid: number, work: (proc: Register) => void): void {
  const [space, proc] = [p.register(), p.register()]
  p.call('open its network namespace', 'openat', [AT.FDCWD, p.text(`/proc/${pid}/ns/net`), O.RDONLY | O.CLOEXEC, 0], { to: space })
  p.call('open the procfs', 'openat', [AT.FDCWD, p.text('/proc'), O.PATH | O.DIRECTORY | O.CLOEXEC, 0], { to: proc })
  p.call('go into its network namespace', 'setns', [space, CLONE.NEWNET])
  work(proc)
}

/** Gives a running container what a start would have given it. */
export async function attachRunning(launcher: Launcher, pid: number, { host, inside, sysctls }: Attachment): Promise<void> {
  await launcher.fork(
    syscallProgram((p) => {
      const fd = netlinkSocket(p)
      for (const batch of host) {
        const bytes = withPid(batch, pid)
        p.op(batch.what, 'netlink', [fd, p.bytes(bytes), bytes.length, batch.acks])
      }
      insideOf(p, pid, (proc) => {
        for (const [path, value] of sysctls) p.op(`${path} = ${value}`, 'writeFile', [proc, p.text(`sys/${path}`), p.text(value), value.length, 0], { tolerate: ENOENT })
        const own = netlinkSocket(p)
        for (const batch of inside) p.op(batch.what, 'netlink', [own, p.bytes(batch.bytes), batch.bytes.length, batch.acks])
      })
    }),
  )
}

/** Sends requests inside a running container's network; a link that is not there any more is none to remove. */
export async function requestInside(launcher: Launcher, pid: number, what: string, messages: readonly Buffer[], tolerate?: number): Promise<void> {
  await launcher.fork(
    syscallProgram((p) =>
      insideOf(p, pid, () => {
        const fd = netlinkSocket(p)
        for (const bytes of messages) p.op(what, 'netlink', [fd, p.bytes(bytes), bytes.length, 1], tolerate === undefined ? {} : { tolerate })
      }),
    ),
  )
}

/** Whether what passes between the ports of a bridge can go through the firewall (br_netfilter is loaded). */
export function bridgesCanBeFiltered(): boolean {
  return existsSync('/proc/sys/net/bridge/bridge-nf-call-iptables')
}
