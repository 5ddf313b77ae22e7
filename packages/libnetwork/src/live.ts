import type { PlannedResolver } from './dns/sockets.ts'
import type { Resolver } from './dns/resolver.ts'
import { gatewayEndpoint } from './endpoints.ts'
import type { OpenPort } from './firewall/table.ts'
import type { EndpointInfo, JoinRequest } from './network.ts'
import type { HeldPort } from './port-allocator.ts'
import { NO_PUBLICATION, type Publication } from './publish.ts'
import type { Relay } from './relay.ts'

/** A container's network while it lives. */
export interface Live {
  request: JoinRequest
  endpoints: EndpointInfo[]
  held: readonly HeldPort[]
  publication: Publication
  links: readonly OpenPort[]
  relays: readonly Relay[]
  resolver: Resolver | undefined
  resolverPort: number
  planned: PlannedResolver | undefined
}

/** Of a container that has nothing yet. */
export function freshLive(request: JoinRequest): Live {
  return { request, endpoints: [], held: [], publication: NO_PUBLICATION, links: [], relays: [], resolver: undefined, resolverPort: 0, planned: undefined }
}

/** True when the daemon resolves its names. */
export function hasNames(endpoints: readonly EndpointInfo[]): boolean {
  return endpoints.some((one) => one.dnsNames.length > 0)
}

/** True when it may leave its networks. */
export function hasWayOut(endpoints: readonly EndpointInfo[]): boolean {
  return gatewayEndpoint(endpoints, 4) !== undefined || gatewayEndpoint(endpoints, 6) !== undefined
}
