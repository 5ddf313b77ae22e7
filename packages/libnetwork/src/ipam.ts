import { EngineError } from '@gantry/std'
import { formatIpv4, formatSubnet, lastAddress, overlaps, type Subnet } from './address.ts'

/** Hands out the addresses of one subnet: the next after the last, so that one that was just given back rests for long. */
export interface AddressPool {
  take(): number
  /** Marks an address that is in use already. */
  reserve(address: number): void
  release(address: number): void
  readonly used: number
}

/** Makes a pool over a range of a subnet; its first and last address are never handed out. */
export function addressPool(subnet: Subnet, reserved: readonly number[], range: Subnet = subnet): AddressPool {
  const taken = new Set(reserved)
  const first = Math.max(range.base, subnet.base + 1)
  const last = Math.min(lastAddress(range), lastAddress(subnet) - 1)
  let next = first
  return {
    take() {
      for (let tried = 0; tried <= last - first; tried++) {
        const address = next
        next = next >= last ? first : next + 1
        if (taken.has(address)) continue
        taken.add(address)
        return address
      }
      throw new EngineError('unavailable', `no available IPv4 addresses on this network's address pools: ${formatSubnet(subnet)}`)
    },
    reserve(address) {
      taken.add(address)
      if (address >= next && address < last) next = address + 1
    },
    release: (address) => {
      taken.delete(address)
    },
    get used() {
      return taken.size
    },
  }
}

const POOLS: readonly Subnet[] = [17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31].map((second) => ({ base: ((172 << 24) | (second << 16)) >>> 0, prefix: 16 }))

/** The first default pool that nothing on the host overlaps. */
export function freeSubnet(inUse: readonly Subnet[]): Subnet {
  const free = POOLS.find((pool) => !inUse.some((one) => overlaps(pool, one)))
  if (free === undefined) throw new EngineError('unavailable', `no free subnet: all of ${POOLS.map((pool) => formatIpv4(pool.base)).join(', ')} are in use`)
  return free
}
