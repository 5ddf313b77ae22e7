import { nftables as nft } from '@gantry/linux'
import { type Address, addressBytes, lastAddress, type Subnet } from '../address.ts'
import type { Protocol } from '../port-allocator.ts'

/** A published port: what the host listens on, and where it leads. */
export interface PublishedPort {
  readonly protocol: Protocol
  /** undefined is any address of the family. */
  readonly hostAddress: Address | undefined
  readonly hostPort: number
  readonly address: Address
  readonly port: number
}

/** A port of a container that is open as it is: published in a routed network, or named by a link. */
export interface OpenPort {
  readonly address: Address
  readonly protocol: Protocol
  readonly port: number
  /** Only from here; undefined: from everywhere. */
  readonly from: Address | undefined
}

/** How a bridge network treats what comes from elsewhere (`com.docker.network.bridge.gateway_mode_ipv4`). */
export type GatewayMode = 'nat' | 'nat-unprotected' | 'routed' | 'isolated'

/** A subnet of a network as the firewall knows it. */
export interface FirewalledSubnet {
  readonly subnet: Subnet
  readonly masquerade: boolean
  /** Leaves under this address of the host. */
  readonly sourceAddress: Address | undefined
  readonly mode: GatewayMode
}

/** A bridge network as the firewall knows it. */
export interface FirewalledNetwork {
  readonly bridge: string
  readonly subnets: readonly FirewalledSubnet[]
  /** Containers of it may talk to each other. */
  readonly icc: boolean
  readonly internal: boolean
  /** Interfaces of the host from which containers may be reached directly. */
  readonly trusted: readonly string[]
}

const PROTOCOLS: Readonly<Record<Protocol, number>> = { tcp: 6, udp: 17, sctp: 132 }
const { TYPE } = nft
const IFNAME = { type: TYPE.ifname, bytes: 16 }
const IPV4 = { type: TYPE.ipv4, bytes: 4 }
const IPV6 = { type: TYPE.ipv6, bytes: 16 }
const PROTO = { type: TYPE.proto, bytes: 1 }
const SERVICE = { type: TYPE.service, bytes: 2 }

/** The sets; ids tie rules of the same batch to them. */
const SETS = {
  br: { name: 'br', id: 1, key: [IFNAME] },
  internal: { name: 'internal', id: 2, key: [IFNAME] },
  same: { name: 'same', id: 3, key: [IFNAME, IFNAME], data: 'verdict' },
  trusted: { name: 'trusted', id: 4, key: [IFNAME, IFNAME] },
  hair4: { name: 'hair4', id: 5, key: [IPV4, IFNAME], interval: true },
  hair6: { name: 'hair6', id: 6, key: [IPV6, IFNAME], interval: true },
  masq4: { name: 'masq4', id: 7, key: [IPV4], interval: true },
  masq6: { name: 'masq6', id: 8, key: [IPV6], interval: true },
  snat4: { name: 'snat4', id: 9, key: [IPV4], data: [IPV4], interval: true },
  snat6: { name: 'snat6', id: 10, key: [IPV6], data: [IPV6], interval: true },
  bare4: { name: 'bare4', id: 11, key: [IPV4], interval: true },
  bare6: { name: 'bare6', id: 12, key: [IPV6], interval: true },
  routed4: { name: 'routed4', id: 13, key: [IPV4], interval: true },
  routed6: { name: 'routed6', id: 14, key: [IPV6], interval: true },
  pub4: { name: 'pub4', id: 15, key: [IPV4, PROTO, SERVICE], data: [IPV4, SERVICE] },
  pub6: { name: 'pub6', id: 16, key: [IPV6, PROTO, SERVICE], data: [IPV6, SERVICE] },
  any4: { name: 'any4', id: 17, key: [PROTO, SERVICE], data: [IPV4, SERVICE] },
  any6: { name: 'any6', id: 18, key: [PROTO, SERVICE], data: [IPV6, SERVICE] },
  open4: { name: 'open4', id: 19, key: [IPV4, PROTO, SERVICE] },
  open6: { name: 'open6', id: 20, key: [IPV6, PROTO, SERVICE] },
  link4: { name: 'link4', id: 21, key: [IPV4, IPV4, PROTO, SERVICE] },
} as const satisfies Readonly<Record<string, nft.SetSpec>>

/** One word of flags in a register is not zero. */
function anyOf(bits: number): readonly nft.Expression[] {
  const zero = Buffer.alloc(4)
  return [nft.bitwise(nft.hostWord(bits), zero), nft.compare(zero, { not: true })]
}
type Rule = readonly nft.Expression[]
const isFamily = (family: 4 | 6): Rule => [nft.meta('nfproto'), nft.compare(Buffer.from([family === 4 ? 2 : 10]))]
const CT_STATUS_DNAT = 0x20
const CT_STATE = { invalid: 1, established: 2, related: 4 } as const
const translated = (): Rule => [nft.conntrack('status'), ...anyOf(CT_STATUS_DNAT)]
const localAddress = (of: 'source' | 'destination'): Rule => [nft.addressType(of), nft.compare(nft.hostWord(2))]
const DESTINATION_PORT = 2
/** Where headers have their addresses, and how many 4-byte registers one takes. */
const AT = { 4: { source: 12, destination: 16, bytes: 4, registers: 1 }, 6: { source: 8, destination: 24, bytes: 16, registers: 4 } } as const

/** Rules that are the same for both families but for lengths. */
function familyRules(family: 4 | 6): { readonly dn: readonly Rule[]; readonly hairpin: Rule; readonly snat: Rule; readonly masquerade: Rule; readonly open: readonly Rule[] } {
  const { source, destination, bytes, registers } = AT[family]
  const is = isFamily(family)
  const [hair, masq, snat, bare, routed, pub, any, open] = family === 4 ? [SETS.hair4, SETS.masq4, SETS.snat4, SETS.bare4, SETS.routed4, SETS.pub4, SETS.any4, SETS.open4] : [SETS.hair6, SETS.masq6, SETS.snat6, SETS.bare6, SETS.routed6, SETS.pub6, SETS.any6, SETS.open6]
  const load = (which: 'source' | 'destination', to = 0): nft.Expression => nft.payload('network', which === 'source' ? source : destination, bytes, to)
  const nat = nft.destinationNat(family === 4 ? 'ipv4' : 'ipv6', 8, 8 + registers)
  // Link-local neighbours have no way back through a translation; ::1 cannot be translated at all.
  const guards: Rule = family === 4 ? [] : [load('source'), nft.bitwise(Buffer.concat([Buffer.from([0xff, 0xc0]), Buffer.alloc(14)]), Buffer.alloc(16)), nft.compare(Buffer.concat([Buffer.from([0xfe, 0x80]), Buffer.alloc(14)]), { not: true }), load('destination'), nft.compare(Buffer.concat([Buffer.alloc(15), Buffer.from([1])]), { not: true })]
  const notBridge = [nft.meta('oifname'), nft.lookup(SETS.br, { not: true })]
  return {
    dn: [
      [...is, ...guards, load('destination', 0), nft.meta('l4proto', registers), nft.payload('transport', DESTINATION_PORT, 2, registers + 1), nft.lookup(pub, { to: 8 }), nat],
      [...is, ...guards, nft.meta('l4proto', 0), nft.payload('transport', DESTINATION_PORT, 2, 1), nft.lookup(any, { to: 8 }), nat],
    ],
    hairpin: [...is, ...translated(), load('source'), nft.meta('oifname', registers), nft.lookup(hair), nft.masquerade()],
    snat: [...is, ...notBridge, load('source'), nft.lookup(snat, { to: 8 }), nft.sourceNat(family === 4 ? 'ipv4' : 'ipv6', 8)],
    masquerade: [...is, load('source'), nft.lookup(masq), ...notBridge, nft.masquerade()],
    open: [
      [...is, load('destination'), nft.lookup(bare), nft.verdict('accept')],
      [...is, load('destination', 0), nft.meta('l4proto', registers), nft.payload('transport', DESTINATION_PORT, 2, registers + 1), nft.lookup(open), nft.verdict('accept')],
      [...is, nft.meta('l4proto'), nft.compare(Buffer.from([family === 4 ? 1 : 58])), load('destination'), nft.lookup(routed), nft.verdict('accept')],
    ],
  }
}

/** The chains and rules, which never change. Order inside a chain is order of evaluation. */
function staticRules(): readonly (readonly [chain: string, rule: Rule])[] {
  const rule = (chain: string, ...expressions: readonly Rule[]): readonly [string, Rule] => [chain, expressions.flat()]
  const loopback = Buffer.from([127, 0, 0, 0])
  const interfaceIs = (name: string, not: boolean): Rule => [nft.meta('iifname'), nft.compare(nft.interfaceKey(name), { not })]
  const isBridge = (side: 'iifname' | 'oifname', not = false): Rule => [nft.meta(side), nft.lookup(SETS.br, { not })]
  const toTranslate = [...localAddress('destination'), nft.verdict('jump', 'dn')]
  const [v4, v6] = [familyRules(4), familyRules(6)]
  return [
    // CVE-2020-8558: route_localnet without this would open the host's 127.0.0.1 to neighbours.
    rule('raw', interfaceIs('lo', true), isFamily(4), [nft.payload('network', AT[4].destination, 4), nft.bitwise(Buffer.from([255, 0, 0, 0]), Buffer.alloc(4)), nft.compare(loopback), nft.verdict('drop')]),
    ...[...v4.dn, ...v6.dn].map((one) => rule('dn', one)),
    rule('pre', toTranslate),
    rule('out', toTranslate),
    rule('post', isBridge('oifname'), localAddress('source'), translated(), [nft.masquerade()]),
    ...[v4.hairpin, v6.hairpin, v4.snat, v6.snat, v4.masquerade, v6.masquerade].map((one) => rule('post', one)),
    rule('forward', isBridge('iifname', true), isBridge('oifname', true), [nft.verdict('accept')]),
    rule('forward', [nft.conntrack('state'), ...anyOf(CT_STATE.established | CT_STATE.related), nft.verdict('accept')]),
    rule('forward', [nft.conntrack('state'), ...anyOf(CT_STATE.invalid), nft.verdict('drop')]),
    rule('forward', isFamily(4), [nft.payload('network', AT[4].source, 4, 0), nft.payload('network', AT[4].destination, 4, 1), nft.meta('l4proto', 2), nft.payload('transport', DESTINATION_PORT, 2, 3), nft.lookup(SETS.link4), nft.verdict('accept')]),
    rule('forward', [nft.meta('iifname', 0), nft.meta('oifname', 4), nft.lookup(SETS.same, { to: 'verdict' })]),
    rule('forward', [nft.meta('iifname'), nft.lookup(SETS.internal), nft.verdict('drop')]),
    rule('forward', [nft.meta('oifname'), nft.lookup(SETS.internal), nft.verdict('drop')]),
    rule('forward', [nft.meta('iifname', 0), nft.meta('oifname', 4), nft.lookup(SETS.trusted), nft.verdict('accept')]),
    rule('forward', translated(), [nft.verdict('accept')]),
    ...[...v4.open, ...v6.open].map((one) => rule('forward', one)),
    rule('forward', isBridge('oifname'), [nft.verdict('drop')]),
  ]
}

/** The chain that decides what reaches containers, and how many rules it has. */
export const FORWARD = 'forward'
export const forwardRules = (): number => staticRules().filter(([chain]) => chain === FORWARD).length

/** Elements by the set that they belong into. */
type Elements = readonly (readonly [set: string, element: nft.Element])[]

function portElement(port: PublishedPort): Elements[number] {
  const v4 = port.address.family === 4
  const tail = Buffer.concat([nft.protocolKey(PROTOCOLS[port.protocol]), nft.portKey(port.hostPort)])
  const data = Buffer.concat([addressBytes(port.address), nft.portKey(port.port)])
  return port.hostAddress === undefined ? [v4 ? 'any4' : 'any6', { key: tail, data }] : [v4 ? 'pub4' : 'pub6', { key: Buffer.concat([addressBytes(port.hostAddress), tail]), data }]
}

function openElement({ address, protocol, port, from }: OpenPort): Elements[number] {
  const tail = Buffer.concat([addressBytes(address), nft.protocolKey(PROTOCOLS[protocol]), nft.portKey(port)])
  return from === undefined ? [address.family === 4 ? 'open4' : 'open6', { key: tail }] : ['link4', { key: Buffer.concat([addressBytes(from), tail]) }]
}

/** An interval of one field: its first address, and the one after its last. */
function interval(set: string, subnet: Subnet, data?: Buffer): Elements {
  const { family, base } = subnet
  const after = lastAddress(subnet).value + 1n
  return [
    [set, { key: addressBytes({ family, value: base }), ...(data !== undefined && { data }) }],
    // An interval up to the last address of all has no end.
    ...(after >> (family === 4 ? 32n : 128n) === 0n ? [[set, { key: addressBytes({ family, value: after }), intervalEnd: true }] as const] : []),
  ]
}

function subnetElements(bridge: Buffer, internal: boolean, { subnet, masquerade, sourceAddress, mode }: FirewalledSubnet): Elements {
  const { family } = subnet
  const key = (end: boolean): Buffer => Buffer.concat([addressBytes(end ? lastAddress(subnet) : { family, value: subnet.base }), bridge])
  const translates = mode === 'nat' || mode === 'nat-unprotected'
  return [
    [`hair${family}`, { key: key(false), keyEnd: key(true) }],
    ...(!internal && translates && sourceAddress !== undefined ? interval(`snat${family}`, subnet, addressBytes(sourceAddress)) : []),
    ...(!internal && translates && masquerade && sourceAddress === undefined ? interval(`masq${family}`, subnet) : []),
    ...(!internal && mode === 'nat-unprotected' ? interval(`bare${family}`, subnet) : []),
    ...(!internal && mode === 'routed' ? interval(`routed${family}`, subnet) : []),
  ]
}

function networkElements(network: FirewalledNetwork): Elements {
  const name = nft.interfaceKey(network.bridge)
  return [
    ['br', { key: name }],
    ['same', { key: Buffer.concat([name, name]), data: network.icc ? nft.VERDICT.accept : nft.VERDICT.drop }],
    ...(network.internal ? [['internal', { key: name }] as const] : []),
    ...network.trusted.map((one) => ['trusted', { key: Buffer.concat([nft.interfaceKey(one), name]) }] as const),
    ...network.subnets.flatMap((subnet) => subnetElements(name, network.internal, subnet)),
  ]
}

function messages(table: string, elements: Elements, send: (table: string, set: string, list: readonly nft.Element[]) => readonly Buffer[]): readonly Buffer[] {
  const groups = Map.groupBy(elements, ([set]) => set)
  return [...groups].flatMap(([set, list]) => send(table, set, list.map(([, element]) => element)))
}
const withoutData = (elements: Elements): Elements => elements.map(([set, { data: _, ...element }]) => [set, element])

/** What comes and goes in the table. */
export interface TableChange {
  readonly networks?: readonly FirewalledNetwork[]
  readonly ports?: readonly PublishedPort[]
  readonly open?: readonly OpenPort[]
}

const elementsOf = ({ networks = [], ports = [], open = [] }: TableChange): Elements => [...networks.flatMap(networkElements), ...ports.map(portElement), ...open.map(openElement)]

/** Adds elements, as one batch. */
export function addMessages(table: string, change: TableChange): readonly Buffer[] {
  return messages(table, elementsOf(change), nft.addElements)
}

/** Takes them away. */
export function removeMessages(table: string, change: TableChange): readonly Buffer[] {
  return messages(table, withoutData(elementsOf(change)), nft.deleteElements)
}

/** The whole table in one batch: what was there before is gone in the same instant. */
export function buildTable(table: string, flags: number, state: TableChange): readonly Buffer[] {
  return [
    // One that nobody owns cannot become one that is owned; kernels that know owned ones that stay know this way, too.
    ...(flags === 0 ? [nft.newTable(table), nft.deleteTable(table)] : [nft.destroyTable(table)]),
    nft.newTable(table, flags),
    ...Object.values(SETS).map((set) => nft.newSet(table, set)),
    nft.newChain(table, 'dn'),
    nft.newChain(table, 'raw', { hook: 0, priority: -300, type: 'filter' }),
    nft.newChain(table, 'pre', { hook: 0, priority: -100, type: 'nat' }),
    nft.newChain(table, 'out', { hook: 3, priority: -100, type: 'nat' }),
    nft.newChain(table, 'post', { hook: 4, priority: 100, type: 'nat' }),
    nft.newChain(table, 'forward', { hook: 2, priority: 0, type: 'filter' }),
    ...staticRules().map(([chain, rule]) => nft.newRule(table, chain, rule)),
    ...addMessages(table, state),
  ]
}
