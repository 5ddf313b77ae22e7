import { EngineError } from '@gantry/std'
import { type Address, contains, formatAddress, formatSubnet, lastAddress, nthAddress, overlaps, parseCidr, type Subnet, subnetAt } from './address.ts'

/** Hands out the addresses of one subnet: the next after the last, so that one that was just given back rests for long. */
export interface AddressPool {
  readonly subnet: Subnet
  /** Any that is free, or this one; one that is taken is an error. */
  take(wanted?: Address): Address
  /** Marks an address that is in use already. */
  reserve(address: Address): void
  release(address: Address): void
  readonly used: number
  /** Addresses that cannot be handed out any more, and those of the range that can. */
  counts(): { readonly subnet: string; readonly inUse: bigint; readonly available: bigint }
}

/** Makes a pool over a range of a subnet. The first address of a subnet, and the last one of IPv4, are never handed out. */
export function addressPool(subnet: Subnet, reserved: readonly Address[], range: Subnet = subnet): AddressPool {
  const taken = new Set(reserved.map((address) => address.value))
  const isTiny = subnet.prefix >= (subnet.family === 4 ? 31 : 127)
  const lowest = range.base > subnet.base || isTiny ? range.base : subnet.base + 1n
  const end = lastAddress(subnet).value
  const highest = lastAddress(range).value < end || subnet.family === 6 || isTiny ? lastAddress(range).value : end - 1n
  let next = lowest
  return {
    subnet,
    take(wanted) {
      if (wanted !== undefined) {
        if (taken.has(wanted.value)) throw new EngineError('conflict', 'Address already in use')
        taken.add(wanted.value)
        return wanted
      }
      const limit = BigInt(taken.size) + 1n
      for (let tried = 0n; tried <= highest - lowest && tried <= limit; tried++) {
        const value = next
        next = next >= highest ? lowest : next + 1n
        if (taken.has(value)) continue
        taken.add(value)
        return { family: subnet.family, value }
      }
      throw new EngineError('unavailable', `no available IPv${subnet.family} addresses on this network's address pools: ${formatSubnet(subnet)}`)
    },
    reserve({ value }) {
      taken.add(value)
      if (value >= next && value < highest && value >= lowest) next = value + 1n
    },
    release: ({ value }) => void taken.delete(value),
    get used() {
      return taken.size
    },
    counts() {
      const outside = isTiny ? 0n : subnet.family === 4 ? 2n : 1n
      const inRange = [...taken].filter((value) => value >= lowest && value <= highest).length
      return { subnet: formatSubnet(subnet), inUse: BigInt(taken.size) + outside, available: highest - lowest + 1n - BigInt(inRange) }
    },
  }
}

/** Where subnets come from that nobody chose (`--default-address-pool`): cut out of `base`, `size` bits each. */
export interface DefaultPool {
  readonly base: Subnet
  readonly size: number
}

const v4 = (a: number, b: number, prefix: number, size: number): DefaultPool => ({ base: { family: 4, base: (BigInt(a) << 24n) | (BigInt(b) << 16n), prefix }, size })

/** Docker's: 172.17 to 172.31 of 16 bits, then 192.168 in pieces of 20. */
export const DEFAULT_POOLS: readonly DefaultPool[] = [v4(172, 17, 16, 16), v4(172, 18, 16, 16), v4(172, 19, 16, 16), v4(172, 20, 14, 16), v4(172, 24, 14, 16), v4(172, 28, 14, 16), v4(192, 168, 16, 20)]

/** A unique local prefix of this data root (RFC 4193), in pieces of 64 bits. */
export function localPool(seed: Buffer): DefaultPool {
  const global = BigInt(`0x${seed.subarray(0, 5).toString('hex')}`)
  return { base: { family: 6, base: ((0xfdn << 40n) | global) << 80n, prefix: 48 }, size: 64 }
}

const PIECES = 1n << 16n

/** The first piece of the pools that nothing overlaps. */
export function freeSubnet(family: 4 | 6, pools: readonly DefaultPool[], inUse: readonly Subnet[]): Subnet {
  for (const { base, size } of pools.filter((pool) => pool.base.family === family)) {
    const count = 1n << BigInt(size - base.prefix)
    for (let n = 0n; n < count && n < PIECES; n++) {
      const piece = subnetAt(nthAddress(base, n << BigInt((family === 4 ? 32 : 128) - size)), size)
      if (!inUse.some((one) => overlaps(piece, one))) return piece
    }
  }
  throw new EngineError('unavailable', 'all predefined address pools have been fully subnetted')
}

/** A gateway that nobody chose: the first address of the range or of the subnet. */
export function firstAddress(subnet: Subnet, taken: readonly Address[]): Address {
  for (let n = subnet.prefix >= (subnet.family === 4 ? 31 : 127) ? 0n : 1n; ; n++) {
    const address = nthAddress(subnet, n)
    if (!contains(subnet, address)) throw new EngineError('invalid', `no address is left for a gateway in ${formatSubnet(subnet)}`)
    if (!taken.some((one) => one.value === address.value)) return address
  }
}

/** Reads `base=10.0.0.0/8,size=24` (`--default-address-pool`). */
export function parseDefaultPool(text: string): DefaultPool {
  const parts = new Map(text.split(',').map((part) => [part.slice(0, part.indexOf('=')).trim(), part.slice(part.indexOf('=') + 1).trim()]))
  const { subnet } = parseCidr(parts.get('base') ?? '', '--default-address-pool')
  const size = Number(parts.get('size'))
  if (parts.size !== 2 || !Number.isInteger(size) || size < subnet.prefix || size > (subnet.family === 4 ? 32 : 128)) throw new EngineError('invalid', `--default-address-pool: expected base=SUBNET,size=BITS, got "${text}"`)
  return { base: subnet, size }
}

