import { nftables as nft } from '@gantry/linux'
import { ipv4Bytes, lastAddress, type Subnet } from '../address.ts'

/** A published port: what the host listens on, and where it leads. */
export interface PublishedPort {
  readonly protocol: 'tcp' | 'udp' | 'sctp'
  /** 0 is any address. */
  readonly hostAddress: number
  readonly hostPort: number
  readonly address: number
  readonly port: number
}

/** A bridge network as the firewall knows it. */
export interface FirewalledNetwork {
  readonly bridge: string
  readonly subnet: Subnet
  readonly masquerade: boolean
  /** Containers of it may talk to each other. */
  readonly icc: boolean
  readonly internal: boolean
}

const PROTOCOLS: Readonly<Record<PublishedPort['protocol'], number>> = { tcp: 6, udp: 17, sctp: 132 }
const { TYPE } = nft
const IFNAME = { type: TYPE.ifname, bytes: 16 }
const IPV4 = { type: TYPE.ipv4, bytes: 4 }
const PROTO = { type: TYPE.proto, bytes: 1 }
const SERVICE = { type: TYPE.service, bytes: 2 }

/** The sets; ids tie rules of the same batch to them. */
const SETS = {
  br: { name: 'br', id: 1, key: [IFNAME] },
  internal: { name: 'internal', id: 2, key: [IFNAME] },
  same: { name: 'same', id: 3, key: [IFNAME, IFNAME], data: 'verdict' },
  hair4: { name: 'hair4', id: 4, key: [IPV4, IFNAME], interval: true },
  masq4: { name: 'masq4', id: 5, key: [IPV4], interval: true },
  pub4: { name: 'pub4', id: 6, key: [IPV4, PROTO, SERVICE], data: [IPV4, SERVICE] },
  any4: { name: 'any4', id: 7, key: [PROTO, SERVICE], data: [IPV4, SERVICE] },
} as const satisfies Readonly<Record<string, nft.SetSpec>>

/** One word of flags in a register is not zero. */
function anyOf(bits: number): readonly nft.Expression[] {
  const zero = Buffer.alloc(4)
  return [nft.bitwise(nft.hostWord(bits), zero), nft.compare(zero, { not: true })]
}
const IS_IPV4 = (): readonly nft.Expression[] => [nft.meta('nfproto'), nft.compare(Buffer.from([2]))]
const CT_STATUS_DNAT = 0x20
const CT_STATE = { invalid: 1, established: 2, related: 4 } as const
const translated = (): readonly nft.Expression[] => [nft.conntrack('status'), ...anyOf(CT_STATUS_DNAT)]
const localAddress = (of: 'source' | 'destination'): readonly nft.Expression[] => [nft.addressType(of), nft.compare(nft.hostWord(2))]
const SOURCE = 12
const DESTINATION = 16
const DESTINATION_PORT = 2

/** The chains and rules, which never change. Order inside a chain is order of evaluation. */
function staticRules(table: string): readonly Buffer[] {
  const rule = (chain: string, ...expressions: readonly (readonly nft.Expression[])[]): Buffer => nft.newRule(table, chain, expressions.flat())
  const loopback = Buffer.from([127, 0, 0, 0])
  const interfaceIs = (name: string, not: boolean): readonly nft.Expression[] => [nft.meta('iifname'), nft.compare(nft.interfaceKey(name), { not })]
  const isBridge = (side: 'iifname' | 'oifname', not = false): readonly nft.Expression[] => [nft.meta(side), nft.lookup(SETS.br, { not })]
  const toTranslate = [...localAddress('destination'), nft.verdict('jump', 'dn')]
  return [
    // CVE-2020-8558: route_localnet without this would open the host's 127.0.0.1 to neighbours.
    rule('raw', interfaceIs('lo', true), IS_IPV4(), [nft.payload('network', DESTINATION, 4), nft.bitwise(Buffer.from([255, 0, 0, 0]), Buffer.alloc(4)), nft.compare(loopback), nft.verdict('drop')]),
    rule('dn', IS_IPV4(), [nft.payload('network', DESTINATION, 4, 0), nft.meta('l4proto', 1), nft.payload('transport', DESTINATION_PORT, 2, 2), nft.lookup(SETS.pub4, { to: 4 }), nft.destinationNat('ipv4', 4, 5)]),
    rule('dn', IS_IPV4(), [nft.meta('l4proto', 0), nft.payload('transport', DESTINATION_PORT, 2, 1), nft.lookup(SETS.any4, { to: 4 }), nft.destinationNat('ipv4', 4, 5)]),
    rule('pre', toTranslate),
    rule('out', toTranslate),
    rule('post', isBridge('oifname'), localAddress('source'), translated(), [nft.masquerade()]),
    rule('post', IS_IPV4(), translated(), [nft.payload('network', SOURCE, 4, 0), nft.meta('oifname', 1), nft.lookup(SETS.hair4), nft.masquerade()]),
    rule('post', IS_IPV4(), [nft.payload('network', SOURCE, 4), nft.lookup(SETS.masq4)], isBridge('oifname', true), [nft.masquerade()]),
    rule('forward', isBridge('iifname', true), isBridge('oifname', true), [nft.verdict('accept')]),
    rule('forward', [nft.conntrack('state'), ...anyOf(CT_STATE.established | CT_STATE.related), nft.verdict('accept')]),
    rule('forward', [nft.conntrack('state'), ...anyOf(CT_STATE.invalid), nft.verdict('drop')]),
    rule('forward', [nft.meta('iifname', 0), nft.meta('oifname', 4), nft.lookup(SETS.same, { to: 'verdict' })]),
    rule('forward', [nft.meta('iifname'), nft.lookup(SETS.internal), nft.verdict('drop')]),
    rule('forward', [nft.meta('oifname'), nft.lookup(SETS.internal), nft.verdict('drop')]),
    rule('forward', translated(), [nft.verdict('accept')]),
    rule('forward', isBridge('oifname'), [nft.verdict('drop')]),
  ]
}

/** Where a port's element goes, and what it is. */
function portElement(port: PublishedPort): { readonly set: string; readonly element: nft.Element } {
  const tail = Buffer.concat([nft.protocolKey(PROTOCOLS[port.protocol]), nft.portKey(port.hostPort)])
  const data = Buffer.concat([ipv4Bytes(port.address), nft.portKey(port.port)])
  return port.hostAddress === 0 ? { set: SETS.any4.name, element: { key: tail, data } } : { set: SETS.pub4.name, element: { key: Buffer.concat([ipv4Bytes(port.hostAddress), tail]), data } }
}

function grouped(ports: readonly PublishedPort[]): ReadonlyMap<string, readonly nft.Element[]> {
  const groups = new Map<string, nft.Element[]>()
  for (const port of ports) {
    const { set, element } = portElement(port)
    groups.set(set, [...(groups.get(set) ?? []), element])
  }
  return groups
}

/** Adds the elements of these ports, as one batch. */
export function publishMessages(table: string, ports: readonly PublishedPort[]): readonly Buffer[] {
  return [...grouped(ports)].flatMap(([set, list]) => nft.addElements(table, set, list))
}

/** Takes them away. */
export function unpublishMessages(table: string, ports: readonly PublishedPort[]): readonly Buffer[] {
  return [...grouped(ports)].flatMap(([set, list]) => nft.deleteElements(table, set, list.map((element) => ({ key: element.key }))))
}

function networkElements(table: string, network: FirewalledNetwork): readonly Buffer[] {
  const name = nft.interfaceKey(network.bridge)
  const [first, last] = [ipv4Bytes(network.subnet.base), ipv4Bytes(lastAddress(network.subnet))]
  return [
    ...nft.addElements(table, SETS.br.name, [{ key: name }]),
    ...nft.addElements(table, SETS.same.name, [{ key: Buffer.concat([name, name]), data: network.icc ? nft.VERDICT.accept : nft.VERDICT.drop }]),
    ...nft.addElements(table, SETS.hair4.name, [{ key: Buffer.concat([first, name]), keyEnd: Buffer.concat([last, name]) }]),
    ...(network.internal ? nft.addElements(table, SETS.internal.name, [{ key: name }]) : []),
    ...(network.masquerade && !network.internal ? nft.addElements(table, SETS.masq4.name, [{ key: first }, { key: ipv4Bytes(lastAddress(network.subnet) + 1), intervalEnd: true }]) : []),
  ]
}

/** The whole table in one batch: what was there before is gone in the same instant. */
export function buildTable(table: string, flags: number, networks: readonly FirewalledNetwork[], ports: readonly PublishedPort[]): readonly Buffer[] {
  return [
    nft.newTable(table, flags),
    nft.deleteTable(table),
    nft.newTable(table, flags),
    ...Object.values(SETS).map((set) => nft.newSet(table, set)),
    nft.newChain(table, 'dn'),
    nft.newChain(table, 'raw', { hook: 0, priority: -300, type: 'filter' }),
    nft.newChain(table, 'pre', { hook: 0, priority: -100, type: 'nat' }),
    nft.newChain(table, 'out', { hook: 3, priority: -100, type: 'nat' }),
    nft.newChain(table, 'post', { hook: 4, priority: 100, type: 'nat' }),
    nft.newChain(table, 'forward', { hook: 2, priority: 0, type: 'filter' }),
    ...staticRules(table),
    ...networks.flatMap((network) => networkElements(table, network)),
    ...publishMessages(table, ports),
  ]
}
