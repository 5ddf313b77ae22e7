import { type Address, formatAddress, parseAddress } from './address.ts'
import { bridgeSettings } from './drivers/bridge.ts'
import type { OpenNetwork } from './drivers/driver.ts'
import { gatewayEndpoint } from './endpoints.ts'
import type { OpenPort, PublishedPort } from './firewall/table.ts'
import type { Binding, EndpointInfo, LinkedPorts } from './network.ts'
import type { HeldPort } from './port-allocator.ts'

/** A port that the daemon passes on by itself: the kernel cannot translate IPv6 to IPv4, nor ::1 at all. */
export interface RelayedPort {
  readonly held: HeldPort
  readonly to: Address
}

/** How a container's ports are served. */
export interface Publication {
  readonly ports: readonly PublishedPort[]
  readonly open: readonly OpenPort[]
  readonly relayed: readonly RelayedPort[]
  readonly bindings: readonly Binding[]
}

export const NO_PUBLICATION: Publication = { ports: [], open: [], relayed: [], bindings: [] }

/** What a container's held ports come to with the networks that it is in. */
export function publication(held: readonly HeldPort[], endpoints: readonly EndpointInfo[], network: (id: string) => OpenNetwork | undefined): Publication {
  const [ports, open, relayed, bindings]: [PublishedPort[], OpenPort[], RelayedPort[], Binding[]] = [[], [], [], []]
  const target = (family: 4 | 6): { readonly address: Address; readonly mode: string } | undefined => {
    const endpoint = gatewayEndpoint(endpoints, family)
    const own = family === 4 ? endpoint?.ipv4 : endpoint?.ipv6
    const there = endpoint === undefined ? undefined : network(endpoint.networkId)
    if (own === undefined || there === undefined || there.info.driver !== 'bridge') return undefined
    return { address: parseAddress(own.address, 'address'), mode: bridgeSettings(there.info).modes[family] }
  }
  const targets = { 4: target(4), 6: target(6) }
  for (const one of held) {
    const { protocol, family, hostAddress, hostPort, port } = one
    const direct = targets[family]
    const shown: Binding = { protocol, port, hostIp: hostAddress !== undefined ? formatAddress(hostAddress) : family === 4 ? '0.0.0.0' : '::', hostPort }
    if (direct?.mode === 'routed') {
      open.push({ address: direct.address, protocol, port, from: undefined })
      continue
    }
    if (direct !== undefined) ports.push({ protocol, hostAddress, hostPort, address: direct.address, port })
    const other = family === 6 ? (targets[6]?.address ?? targets[4]?.address) : undefined
    if (other !== undefined && protocol !== 'sctp') relayed.push({ held: one, to: other })
    if (direct !== undefined || other !== undefined) bindings.push(shown)
  }
  return { ports, open, relayed, bindings }
}

/** Ports that links open where containers may not talk to each other. */
export function linkOpenings(own: EndpointInfo | undefined, links: readonly LinkedPorts[], endpointOf: (containerId: string) => EndpointInfo | undefined): readonly OpenPort[] {
  const from = own?.ipv4 === undefined ? undefined : parseAddress(own.ipv4.address, 'address')
  if (from === undefined) return []
  // Two names for one source open the same.
  const sources = new Map(links.map((link) => [link.containerId, link.ports]))
  return [...sources].flatMap(([containerId, ports]) => {
    const source = endpointOf(containerId)
    if (source?.ipv4 === undefined || source.networkId !== own?.networkId) return []
    const address = parseAddress(source.ipv4.address, 'address')
    return ports.map(({ port, protocol }): OpenPort => ({ address, protocol, port, from }))
  })
}
