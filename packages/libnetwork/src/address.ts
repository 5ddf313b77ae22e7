import ipaddr from 'ipaddr.js'
import { EngineError, randomHex } from '@gantry/std'

export type Family = 4 | 6

/** An address as a number. */
export interface Address {
  readonly family: Family
  readonly value: bigint
}

/** A subnet. */
export interface Subnet {
  readonly family: Family
  /** First address. */
  readonly base: bigint
  readonly prefix: number
}

const bitsOf = (family: Family): number => (family === 4 ? 32 : 128)

/** 4 or 16 bytes, network order. */
export function addressBytes({ family, value }: Address): Buffer {
  const bytes = Buffer.alloc(family === 4 ? 4 : 16)
  if (family === 4) bytes.writeUInt32BE(Number(value))
  else {
    bytes.writeBigUInt64BE(value >> 64n, 0)
    bytes.writeBigUInt64BE(value & 0xffffffffffffffffn, 8)
  }
  return bytes
}

/** The address that these 4 or 16 bytes are. */
export function addressOf(bytes: Uint8Array): Address {
  const buffer = Buffer.from(bytes)
  return buffer.length === 4 ? { family: 4, value: BigInt(buffer.readUInt32BE(0)) } : { family: 6, value: (buffer.readBigUInt64BE(0) << 64n) | buffer.readBigUInt64BE(8) }
}

/** `172.17.0.2`, `fd00::2` */
export function formatAddress(address: Address): string {
  if (address.family === 4) return [...addressBytes(address)].join('.')
  return new ipaddr.IPv6([...addressBytes(address)]).toRFC5952String()
}

/** Reads an address of either family. */
export function parseAddress(text: string, field: string): Address {
  const isV4 = ipaddr.IPv4.isValidFourPartDecimal(text)
  if (!isV4 && (!text.includes(':') || !ipaddr.IPv6.isValid(text) || text.includes('%'))) throw new EngineError('invalid', `${field}: invalid IP address: ${text}`)
  return addressOf(Buffer.from(isV4 ? ipaddr.IPv4.parse(text).toByteArray() : ipaddr.IPv6.parse(text).toByteArray()))
}

/** Reads `172.17.0.1/16`: the address as written, and its subnet. */
export function parseCidr(text: string, field: string): { readonly address: Address; readonly subnet: Subnet } {
  const [addressText = '', prefixText = ''] = text.split('/')
  const prefix = Number(prefixText)
  if (!text.includes('/') || !/^\d{1,3}$/.test(prefixText)) throw new EngineError('invalid', `${field}: invalid CIDR address: ${text}`)
  const address = parseAddress(addressText, field)
  if (prefix > bitsOf(address.family)) throw new EngineError('invalid', `${field}: invalid CIDR address: ${text}`)
  return { address, subnet: subnetAt(address, prefix) }
}

/** The subnet of so many bits that an address is in. */
export function subnetAt({ family, value }: Address, prefix: number): Subnet {
  const free = BigInt(bitsOf(family) - prefix)
  return { family, base: (value >> free) << free, prefix }
}

/** The last address of a subnet. */
export function lastAddress({ family, base, prefix }: Subnet): Address {
  return { family, value: base | ((1n << BigInt(bitsOf(family) - prefix)) - 1n) }
}

/** The nth address of a subnet. */
export function nthAddress({ family, base }: Subnet, n: bigint): Address {
  return { family, value: base + n }
}

/** `172.17.0.0/16` */
export function formatSubnet(subnet: Subnet): string {
  return `${formatAddress({ family: subnet.family, value: subnet.base })}/${subnet.prefix}`
}

/** True when two subnets share an address. */
export function overlaps(a: Subnet, b: Subnet): boolean {
  return a.family === b.family && a.base <= lastAddress(b).value && b.base <= lastAddress(a).value
}

/** True when the address is in the subnet. */
export function contains(subnet: Subnet, address: Address): boolean {
  return subnet.family === address.family && address.value >= subnet.base && address.value <= lastAddress(subnet).value
}

/** A MAC address that follows from the IPv4 address, so that a reused address needs no new neighbour entry; any, where there is none. */
export function macFor(address: Address | undefined): string {
  const bytes = address?.family === 4 ? addressBytes(address).toString('hex') : randomHex(4)
  return `02:42:${(bytes.match(/../g) ?? []).join(':')}`
}

const MAC = /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/

/** Reads a MAC address of one host. */
export function parseMac(text: string, field: string): string {
  const mac = text.toLowerCase().replaceAll('-', ':')
  if (!MAC.test(mac)) throw new EngineError('invalid', `${field}: invalid MAC address: ${text}`)
  if ((Number.parseInt(mac.slice(0, 2), 16) & 1) !== 0 || mac === '00:00:00:00:00:00') throw new EngineError('invalid', `${field}: not the MAC address of a host: ${text}`)
  return mac
}
