import { type Launcher, ProgramError, SOCKET, syscallProgram } from '@gantry/linux'
import { EngineError } from '@gantry/std'
import { formatIpv4, ipv4Bytes } from './address.ts'

/** What a container asks for; hostPort 0 is any free one, a range is tried in order. */
export interface PortRequest {
  readonly protocol: 'tcp' | 'udp' | 'sctp'
  readonly hostAddress: number
  readonly hostPort: number
  readonly hostPortEnd: number
  readonly port: number
}

/** A port of the host that is held. */
export interface HeldPort {
  readonly protocol: 'tcp' | 'udp' | 'sctp'
  readonly hostAddress: number
  readonly hostPort: number
  readonly slot: number
}

/** Holds ports of the host: its own table for what this daemon publishes, and a bound socket against everybody else. */
export interface PortAllocator {
  hold(request: PortRequest): Promise<HeldPort>
  release(held: readonly HeldPort[]): Promise<void>
}

const EADDRINUSE = 98
const FIRST_SLOT = 16
const LAST_SLOT = 16000
const DYNAMIC = { first: 49153, last: 65535 } as const
const TRIES = 256
const TYPES: Readonly<Record<PortRequest['protocol'], readonly [number, number]>> = { tcp: [SOCKET.STREAM, 6], udp: [SOCKET.DGRAM, 17], sctp: [SOCKET.STREAM, 132] }

/** Makes the allocator; its sockets live in the launcher. */
export function portAllocator(launcher: Launcher): PortAllocator {
  const held = new Map<string, HeldPort[]>()
  const free: number[] = []
  let nextSlot = FIRST_SLOT
  let nextDynamic: number = DYNAMIC.first
  const key = (protocol: string, port: number): string => `${protocol}:${port}`
  const takeSlot = (): number => {
    const slot = free.pop() ?? nextSlot++
    if (slot > LAST_SLOT) throw new EngineError('unavailable', `more than ${LAST_SLOT - FIRST_SLOT} published ports`)
    return slot
  }
  const conflicts = (protocol: string, address: number, port: number): boolean => (held.get(key(protocol, port)) ?? []).some((one) => one.hostAddress === 0 || address === 0 || one.hostAddress === address)
  const bind = async (request: PortRequest, port: number, slot: number): Promise<void> => {
    const [type, protocol] = TYPES[request.protocol]
    const address = Buffer.alloc(16)
    address.writeUInt16LE(SOCKET.INET, 0)
    address.writeUInt16BE(port, 2)
    address.set(ipv4Bytes(request.hostAddress), 4)
    await launcher.inline(
      syscallProgram((p) => {
        const fd = p.register()
        const failed = p.label()
        p.call('socket for the port', 'socket', [SOCKET.INET, type | SOCKET.CLOEXEC, protocol], { to: fd })
        p.op('on failure', 'onFail', [failed])
        p.call(`bind ${formatIpv4(request.hostAddress)}:${port}/${request.protocol}`, 'bind', [fd, p.bytes(address), 16])
        p.op('hold the port', 'keep', [slot, fd])
        p.op('end', 'end', [])
        p.place(failed)
        p.call('close it', 'close', [fd], { ignore: true })
      }),
    )
  }
  const attempt = async (request: PortRequest, port: number): Promise<HeldPort> => {
    const where = `${formatIpv4(request.hostAddress)}:${port}`
    if (conflicts(request.protocol, request.hostAddress, port)) throw new EngineError('conflict', `Bind for ${where} failed: port is already allocated`)
    const one: HeldPort = { protocol: request.protocol, hostAddress: request.hostAddress, hostPort: port, slot: takeSlot() }
    const list = held.get(key(one.protocol, port)) ?? []
    held.set(key(one.protocol, port), [...list, one])
    try {
      await bind(request, port, one.slot)
      return one
    } catch (error) {
      forget(one)
      if (error instanceof ProgramError && error.errno === EADDRINUSE) throw new EngineError('conflict', `failed to bind host port for ${where}/${request.protocol}: address already in use`, { cause: error })
      throw error
    }
  }
  const forget = (one: HeldPort): void => {
    const rest = (held.get(key(one.protocol, one.hostPort)) ?? []).filter((other) => other.slot !== one.slot)
    if (rest.length === 0) held.delete(key(one.protocol, one.hostPort))
    else held.set(key(one.protocol, one.hostPort), rest)
    free.push(one.slot)
  }
  const hold = async (request: PortRequest): Promise<HeldPort> => {
    if (request.hostPort !== 0 && request.hostPortEnd <= request.hostPort) return attempt(request, request.hostPort)
    const [first, last] = request.hostPort === 0 ? [DYNAMIC.first, DYNAMIC.last] : [request.hostPort, request.hostPortEnd]
    let failure: unknown
    for (let tried = 0; tried < TRIES && tried <= last - first; tried++) {
      const port: number = request.hostPort === 0 ? nextDynamic : first + tried
      if (request.hostPort === 0) nextDynamic = nextDynamic >= last ? first : nextDynamic + 1
      try {
        return await attempt(request, port)
      } catch (error) {
        if (!(error instanceof EngineError) || error.kind !== 'conflict') throw error
        failure = error
      }
    }
    throw new EngineError('conflict', 'all ports are allocated', { cause: failure })
  }
  return {
    hold,
    async release(list) {
      if (list.length === 0) return
      await launcher.inline(
        syscallProgram((p) => {
          for (const one of list) p.op(`give port ${one.hostPort} back`, 'keep', [one.slot, -1])
        }),
      )
      for (const one of list) forget(one)
    },
  }
}
