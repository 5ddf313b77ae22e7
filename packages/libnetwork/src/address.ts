import ipaddr from 'ipaddr.js'
import { EngineError } from '@gantry/std'

/** An IPv4 subnet as numbers. */
export interface Subnet {
  /** First address. */
  readonly base: number
  readonly prefix: number
}

/** Four bytes. */
export function ipv4Bytes(address: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(address >>> 0)
  return bytes
}

/** `172.17.0.2` */
export function formatIpv4(address: number): string {
  return [...ipv4Bytes(address)].join('.')
}

/** Reads `172.17.0.2`. */
export function parseIpv4(text: string, field: string): number {
  if (!ipaddr.IPv4.isValidFourPartDecimal(text)) throw new EngineError('invalid', `${field}: invalid IPv4 address: ${text}`)
  return Buffer.from(ipaddr.IPv4.parse(text).toByteArray()).readUInt32BE(0)
}

/** Reads `172.17.0.1/16`: the address as written, and its subnet. */
export function parseCidr(text: string, field: string): { readonly address: number; readonly subnet: Subnet } {
  const [address = '', prefixText = ''] = text.split('/')
  const prefix = Number(prefixText)
  if (!/^\d{1,2}$/.test(prefixText) || prefix > 30 || prefix < 1) throw new EngineError('invalid', `${field}: invalid CIDR address: ${text}`)
  const value = parseIpv4(address, field)
  return { address: value, subnet: { base: (value & mask(prefix)) >>> 0, prefix } }
}

/** The bits of the network part. */
export function mask(prefix: number): number {
  return prefix === 0 ? 0 : (0xffffffff << (32 - prefix)) >>> 0
}

/** The last address of a subnet. */
export function lastAddress(subnet: Subnet): number {
  return (subnet.base | (~mask(subnet.prefix) >>> 0)) >>> 0
}

/** `172.17.0.0/16` */
export function formatSubnet(subnet: Subnet): string {
  return `${formatIpv4(subnet.base)}/${subnet.prefix}`
}

/** True when two subnets share an address. */
export function overlaps(a: Subnet, b: Subnet): boolean {
  return a.base <= lastAddress(b) && b.base <= lastAddress(a)
}

/** A MAC address that follows from the IPv4 address, so that a reused address needs no new neighbour entry. */
export function macFor(address: number): string {
  return ['02', '42', ...[...ipv4Bytes(address)].map((byte) => byte.toString(16).padStart(2, '0'))].join(':')
}
