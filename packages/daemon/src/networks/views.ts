import { isSince } from '@gantry/api'
import type { Controller, EndpointInfo, NetworkInfo } from '@gantry/libnetwork'
import { formatNanos } from '@gantry/std'
import type { Container } from '../containers/container.ts'
import { endpointsOf } from '../containers/network/networking.ts'
import type { Filters } from '../server/filters.ts'

const cidr = (own: EndpointInfo['ipv4']): string => (own === undefined ? '' : `${own.address}/${own.prefix}`)

/** Containers on a network that run. */
export function membersOf(containers: readonly Container[], network: NetworkInfo): readonly (readonly [Container, EndpointInfo])[] {
  return containers.flatMap((container) => (container.sandbox?.endpoints ?? []).filter((endpoint) => endpoint.networkId === network.id).map((endpoint) => [container, endpoint] as const))
}

// Not in the types of the library yet.
const { rawJSON: rawJson } = JSON as unknown as { rawJSON(text: string): unknown }
const UINT64_MAX = (1n << 64n) - 1n
/** A number that JSON has room for and JavaScript does not; what is larger is the largest. */
const uint64 = (value: bigint): unknown => rawJson(String(value > UINT64_MAX ? UINT64_MAX : value))

/** `GET /networks/{id}`; in a list without containers. */
export function networkView(network: NetworkInfo, containers: readonly Container[], apiVersion: number, detailed?: { readonly subnets: ReturnType<Controller['subnetCounts']> }): unknown {
  const { ipam } = network
  const pools = ipam.pools.map(({ subnet, ipRange, gateway, aux }) => ({ Subnet: subnet, ...(ipRange !== '' && { IPRange: ipRange }), ...(gateway !== '' && { Gateway: gateway }), ...(Object.keys(aux).length > 0 && { AuxiliaryAddresses: aux }) }))
  return {
    Name: network.name, Id: network.id, Created: formatNanos(BigInt(network.createdAt) * 1_000_000n), Scope: 'local', Driver: network.driver, EnableIPv4: network.ipv4, EnableIPv6: network.ipv6,
    IPAM: { Driver: ipam.driver, Options: network.builtin ? null : ipam.options, Config: network.driver === 'host' || network.driver === 'null' ? null : pools },
    Internal: network.internal, Attachable: network.attachable, Ingress: false, ConfigFrom: { Network: '' }, ConfigOnly: false,
    ...((detailed !== undefined || !isSince(apiVersion, '1.52')) && { Containers: detailed !== undefined ? Object.fromEntries(membersOf(containers, network).map(([container, endpoint]) => [container.id, { Name: container.name, EndpointID: endpoint.id, MacAddress: endpoint.mac, IPv4Address: cidr(endpoint.ipv4), IPv6Address: cidr(endpoint.ipv6) }])) : {} }),
    Options: network.options, Labels: network.labels,
    ...(detailed !== undefined && isSince(apiVersion, '1.52') && { Status: { IPAM: { Subnets: Object.fromEntries([...detailed.subnets].map(([subnet, { inUse, available }]) => [subnet, { IPsInUse: uint64(inUse), DynamicIPsAvailable: uint64(available) }])) } } }),
  }
}

/** True for a network that a container is in or will be in. */
export function isUsed(network: NetworkInfo, containers: readonly Container[]): boolean {
  return containers.some((container) => endpointsOf(container.document).some((one) => one.network === network.name || one.network === network.id))
}

/** Filters of `GET /networks`. */
export function networkMatches(filters: Filters, network: NetworkInfo, containers: readonly Container[]): boolean {
  const type = filters.values('type')
  const dangling = filters.flag('dangling')
  return (
    filters.matches('driver', network.driver) && filters.matches('scope', 'local') &&
    (filters.none('id') || filters.some('id', (id) => network.id.startsWith(id))) &&
    (filters.none('name') || filters.some('name', (name) => network.name.includes(name))) &&
    filters.labels('label', network.labels) && (type.length === 0 || type.includes(network.builtin ? 'builtin' : 'custom')) &&
    (dangling === undefined || (!network.builtin && dangling === !isUsed(network, containers)))
  )
}
