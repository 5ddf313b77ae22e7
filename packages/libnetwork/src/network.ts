import type { NetlinkBatch, ResolverPlan } from '@gantry/linux'
import type { Family } from './address.ts'
import type { PortRequest, Protocol } from './port-allocator.ts'

export const DRIVERS = ['bridge', 'host', 'null', 'macvlan', 'ipvlan'] as const
export type DriverName = (typeof DRIVERS)[number]

/** A pool of addresses of a network, as the API has it; empty texts: not given. */
export interface PoolConfig {
  readonly subnet: string
  readonly ipRange: string
  readonly gateway: string
  /** Addresses that others have, by a name of theirs. */
  readonly aux: Readonly<Record<string, string>>
}

/** What is asked for by `POST /networks/create`. */
export interface NetworkRequest {
  readonly name: string
  readonly driver: string
  readonly ipv4: boolean
  /** undefined: as the daemon does by default. */
  readonly ipv6: boolean | undefined
  readonly internal: boolean
  readonly attachable: boolean
  readonly labels: Readonly<Record<string, string>>
  readonly options: Readonly<Record<string, string>>
  readonly ipam: { readonly driver: string; readonly options: Readonly<Record<string, string>>; readonly pools: readonly PoolConfig[] }
}

/** A network as it is kept, and as `network inspect` shows it. */
export interface NetworkInfo {
  readonly id: string
  readonly name: string
  readonly driver: DriverName
  /** Milliseconds since 1970. */
  readonly createdAt: number
  readonly ipv4: boolean
  readonly ipv6: boolean
  readonly internal: boolean
  readonly attachable: boolean
  readonly labels: Readonly<Record<string, string>>
  readonly options: Readonly<Record<string, string>>
  readonly ipam: { readonly driver: string; readonly options: Readonly<Record<string, string>>; readonly pools: readonly PoolConfig[] }
  /** Made by the daemon: cannot be removed. */
  readonly builtin: boolean
}

/** A published port as it came out. */
export interface Binding {
  readonly protocol: Protocol
  readonly port: number
  readonly hostIp: string
  readonly hostPort: number
}

/** What a container wants of one network (`EndpointSettings`). */
export interface EndpointRequest {
  /** Name or id. */
  readonly network: string
  readonly aliases: readonly string[]
  /** Empty texts: whatever is free. */
  readonly ipv4: string
  readonly ipv6: string
  readonly linkLocal: readonly string[]
  readonly mac: string
  readonly options: Readonly<Record<string, string>>
  readonly gatewayPriority: number
  /** `name:alias`, on networks of users. */
  readonly links: readonly string[]
}

/** An address of an endpoint. */
export interface EndpointAddress {
  readonly address: string
  readonly prefix: number
  /** Empty: none. */
  readonly gateway: string
}

/** One container on one network. */
export interface EndpointInfo {
  readonly id: string
  readonly networkId: string
  readonly networkName: string
  readonly containerId: string
  readonly request: EndpointRequest
  /** `eth0`, and its index inside. */
  readonly interfaceName: string
  readonly index: number
  readonly ipv4: EndpointAddress | undefined
  readonly ipv6: EndpointAddress | undefined
  readonly mac: string
  /** Names by which others on the network find it. */
  readonly dnsNames: readonly string[]
}

/** What a start does for the container's network: messages of the host's side, of the inside, and settings. */
export interface Attachment {
  readonly host: readonly NetlinkBatch[]
  readonly inside: readonly NetlinkBatch[]
  readonly sysctls: readonly (readonly [string, string])[]
  /** Sockets of the embedded resolver, to be opened inside and handed to the daemon. */
  readonly resolver?: ResolverPlan
}

/** Nothing to be done. */
export const NO_ATTACHMENT: Attachment = { host: [], inside: [], sysctls: [] }

/** A container's network: what it has, and what a start has to do. */
export interface Sandbox {
  readonly attachment: Attachment
  readonly endpoints: readonly EndpointInfo[]
  readonly bindings: readonly Binding[]
  /** True when its names are resolved by the daemon. */
  readonly resolver: boolean
  /** Takes everything back: ports, addresses, names, firewall elements. May run twice. */
  release(): Promise<void>
}

/** What a container wants of its networks. */
export interface JoinRequest {
  readonly containerId: string
  readonly containerName: string
  readonly hostname: string
  readonly endpoints: readonly EndpointRequest[]
  readonly ports: readonly PortRequest[]
  /** Servers and options for names that are not of its networks. */
  readonly dns: { readonly servers: readonly string[] }
  /** Ports of other containers that a link opens, on the default bridge without traffic between containers. */
  readonly links: readonly LinkedPorts[]
}

/** Ports of the source of a link. */
export interface LinkedPorts {
  readonly containerId: string
  readonly ports: readonly { readonly port: number; readonly protocol: Protocol }[]
}

/** Families that a network has. */
export function familiesOf(network: Pick<NetworkInfo, 'ipv4' | 'ipv6'>): readonly Family[] {
  return [...(network.ipv4 ? [4 as const] : []), ...(network.ipv6 ? [6 as const] : [])]
}

/** An endpoint without wishes. */
export function plainEndpoint(network: string): EndpointRequest {
  return { network, aliases: [], ipv4: '', ipv6: '', linkLocal: [], mac: '', options: {}, gatewayPriority: 0, links: [] }
}
