import { type Launcher, type ProgramBuilder, ProgramError, SOCKET, syscallProgram } from '@gantry/linux'
import { EngineError } from '@gantry/std'
import { type Address, addressBytes, type Family, formatAddress, parseAddress } from './address.ts'

export type Protocol = 'tcp' | 'udp' | 'sctp'

/** What a container asks for; hostPort 0 is any free one, a range is tried in order. */
export interface PortRequest {
  readonly protocol: Protocol
  /** Empty: every address of the host, of both families. */
  readonly hostIp: string
  readonly hostPort: number
  readonly hostPortEnd: number
  readonly port: number
}

/** A port of the host, of one family, that is held. */
export interface HeldPort {
  readonly protocol: Protocol
  readonly family: Family
  /** undefined: every address of the family. */
  readonly hostAddress: Address | undefined
  readonly hostPort: number
  readonly port: number
  readonly slot: number
}

/** Holds ports of the host: its own table for what this daemon publishes, and a bound socket against everybody else. */
export interface PortAllocator {
  /** All or none. */
  hold(requests: readonly PortRequest[]): Promise<readonly HeldPort[]>
  release(held: readonly HeldPort[]): Promise<void>
}

const EADDRINUSE = 98
const EADDRNOTAVAIL = 99
const EAFNOSUPPORT = 97
const FIRST_SLOT = 16
const LAST_SLOT = 16000
const DYNAMIC = { first: 49153, last: 65535 } as const
const TRIES = 256
const TYPES: Readonly<Record<Protocol, readonly [number, number]>> = { tcp: [SOCKET.STREAM, 6], udp: [SOCKET.DGRAM, 17], sctp: [SOCKET.STREAM, 132] }
/** setsockopt(2): IPPROTO_IPV6, IPV6_V6ONLY; SOL_SOCKET, SO_REUSEADDR */
const V6ONLY = [41, 26] as const
const REUSEADDR = [1, 2] as const

/** `0.0.0.0:80`, `[::1]:80` */
export function hostAndPort(family: Family, address: Address | undefined, port: number): string {
  const host = address === undefined ? (family === 4 ? '0.0.0.0' : '::') : formatAddress(address)
  return family === 4 ? `${host}:${port}` : `[${host}]:${port}`
}

/** `struct sockaddr_in` or `struct sockaddr_in6` */
function socketAddress(one: HeldPort): Buffer {
  const buffer = Buffer.alloc(one.family === 4 ? 16 : 28)
  buffer.writeUInt16LE(one.family === 4 ? SOCKET.INET : SOCKET.INET6, 0)
  buffer.writeUInt16BE(one.hostPort, 2)
  if (one.hostAddress !== undefined) buffer.set(addressBytes(one.hostAddress), one.family === 4 ? 4 : 8)
  return buffer
}

function bindOne(p: ProgramBuilder, one: HeldPort): void {
  const [type, protocol] = TYPES[one.protocol]
  const address = socketAddress(one)
  p.scoped(() => {
    const fd = p.register()
    p.call('socket for the port', 'socket', [one.family === 4 ? SOCKET.INET : SOCKET.INET6, type | SOCKET.CLOEXEC, protocol], { to: fd })
    p.op('hold the port', 'keep', [one.slot, fd])
    if (one.family === 6) p.call('not for IPv4', 'setsockopt', [fd, ...V6ONLY, p.bytes(Buffer.from([1, 0, 0, 0])), 4])
    // Relays listen on these: connections of an earlier daemon that have ended must not keep the port (TIME_WAIT).
    if (one.family === 6 && one.protocol === 'tcp') p.call('whatever has ended', 'setsockopt', [fd, ...REUSEADDR, p.bytes(Buffer.from([1, 0, 0, 0])), 4])
    p.call(`bind ${hostAndPort(one.family, one.hostAddress, one.hostPort)}/${one.protocol}`, 'bind', [fd, p.bytes(address), address.length])
  })
}

/** Makes the allocator; its sockets live in the launcher. */
export function portAllocator(launcher: Launcher): PortAllocator {
  const held = new Map<string, HeldPort[]>()
  const free: number[] = []
  let nextSlot = FIRST_SLOT
  let nextDynamic: number = DYNAMIC.first
  let hostHasV6 = true
  const key = (one: Pick<HeldPort, 'protocol' | 'family' | 'hostPort'>): string => `${one.protocol}${one.family}:${one.hostPort}`
  const takeSlot = (): number => {
    const slot = free.pop() ?? nextSlot++
    if (slot > LAST_SLOT) throw new EngineError('unavailable', `more than ${LAST_SLOT - FIRST_SLOT} published ports`)
    return slot
  }
  const forget = (list: readonly HeldPort[]): void => {
    for (const one of list) {
      const rest = (held.get(key(one)) ?? []).filter((other) => other.slot !== one.slot)
      if (rest.length === 0) held.delete(key(one))
      else held.set(key(one), rest)
      free.push(one.slot)
    }
  }
  const release = async (list: readonly HeldPort[]): Promise<void> => {
    if (list.length === 0) return
    await launcher.inline(
      syscallProgram((p) => {
        for (const one of list) p.op(`give port ${one.hostPort} back`, 'keep', [one.slot, -1], { ignore: true })
      }),
    )
    forget(list)
  }
  /** Enters it into the table; what this daemon publishes already is a conflict. */
  const enter = (request: PortRequest, family: Family, hostPort: number): HeldPort => {
    const hostAddress = request.hostIp === '' || request.hostIp === '0.0.0.0' || request.hostIp === '::' ? undefined : parseAddress(request.hostIp, 'HostIp')
    const one: HeldPort = { protocol: request.protocol, family, hostAddress, hostPort, port: request.port, slot: 0 }
    const list = held.get(key(one)) ?? []
    if (list.some((other) => other.hostAddress === undefined || hostAddress === undefined || other.hostAddress.value === hostAddress.value)) {
      throw new EngineError('conflict', `Bind for ${hostAndPort(family, hostAddress, hostPort)} failed: port is already allocated`)
    }
    const entered = { ...one, slot: takeSlot() }
    held.set(key(one), [...list, entered])
    return entered
  }
  const familiesOf = ({ hostIp }: PortRequest): readonly Family[] => (hostIp === '' ? (hostHasV6 ? [4, 6] : [4]) : [hostIp.includes(':') ? 6 : 4])
  /** Binds these, all or none. */
  const bind = async (list: readonly HeldPort[]): Promise<void> => {
    try {
      await launcher.inline(syscallProgram((p) => list.forEach((one) => bindOne(p, one))))
    } catch (error) {
      await release(list)
      if (error instanceof ProgramError && error.errno === EADDRINUSE) throw new EngineError('conflict', `failed to ${error.step?.what.replace(/^bind /, 'bind host port for ') ?? 'bind'}: address already in use`, { cause: error })
      throw error
    }
  }
  /** IPv6 of the host may be switched off: then both families mean one. */
  const bindWhatIsThere = async (list: readonly HeldPort[], mayLack: boolean): Promise<readonly HeldPort[]> => {
    try {
      await bind(list)
      return list
    } catch (error) {
      if (!mayLack || !(error instanceof ProgramError) || ![EADDRNOTAVAIL, EAFNOSUPPORT].includes(error.errno)) throw error
      hostHasV6 = false
      return []
    }
  }
  const enterAll = (pairs: readonly (readonly [PortRequest, number])[]): readonly HeldPort[] => {
    const entered: HeldPort[] = []
    try {
      for (const [request, port] of pairs) for (const family of familiesOf(request)) entered.push(enter(request, family, port))
    } catch (error) {
      forget(entered)
      throw error
    }
    return entered
  }
  const holdAt = async (pairs: readonly (readonly [PortRequest, number])[]): Promise<readonly HeldPort[]> => {
    if (pairs.length === 0) return []
    const bound = await bindWhatIsThere(enterAll(pairs), pairs.some(([request]) => request.hostIp === ''))
    return bound.length > 0 ? bound : bindWhatIsThere(enterAll(pairs), false)
  }
  const holdOneOf = async (request: PortRequest): Promise<readonly HeldPort[]> => {
    const [first, last] = request.hostPort === 0 ? [DYNAMIC.first, DYNAMIC.last] : [request.hostPort, request.hostPortEnd]
    let failure: unknown
    for (let tried = 0; tried < TRIES && tried <= last - first; tried++) {
      const port: number = request.hostPort === 0 ? nextDynamic : first + tried
      if (request.hostPort === 0) nextDynamic = nextDynamic >= last ? first : nextDynamic + 1
      try {
        return await holdAt([[request, port]])
      } catch (error) {
        if (!(error instanceof EngineError) || error.kind !== 'conflict') throw error
        failure = error
      }
    }
    throw new EngineError('conflict', 'all ports are allocated', { cause: failure })
  }
  return {
    release,
    async hold(requests) {
      const isFixed = (one: PortRequest): boolean => one.hostPort !== 0 && one.hostPortEnd <= one.hostPort
      const all = [...(await holdAt(requests.filter(isFixed).map((one) => [one, one.hostPort])))]
      try {
        for (const request of requests.filter((one) => !isFixed(one))) all.push(...(await holdOneOf(request)))
      } catch (error) {
        await release(all)
        throw error
      }
      return all
    },
  }
}
