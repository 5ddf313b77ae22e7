import { link } from '@gantry/linux'
import { EngineError, newId } from '@gantry/std'
import { type Address, addressBytes, contains, type Family, formatAddress, macFor, parseAddress, parseCidr, parseMac } from './address.ts'
import { checkRoom } from './drivers/bridge.ts'
import { askedSettings, type OpenNetwork, option } from './drivers/driver.ts'
import type { Attachment, EndpointAddress, EndpointInfo, EndpointRequest, JoinRequest } from './network.ts'

/** eth0 gets a fixed index, so that its messages can be written before it exists; those after it the next ones. */
const FIRST_INDEX = 16
const SETTINGS = 'com.docker.network.endpoint.sysctls'
const SHORT_ID = 12
const INTERFACE = /^[a-zA-Z][\w.-]{0,14}$/

/** Names by which others on a network of users find a container. */
function dnsNames(join: Pick<JoinRequest, 'containerId' | 'containerName' | 'hostname'>, request: EndpointRequest): readonly string[] {
  return [...new Set([join.containerName, ...request.aliases, join.containerId.slice(0, SHORT_ID), join.hostname].filter((name) => name !== ''))]
}

function wantedAddress(network: OpenNetwork, family: Family, text: string): Address | undefined {
  if (text === '') return undefined
  const field = family === 4 ? 'IPv4Address' : 'IPv6Address'
  const address = parseAddress(text, field)
  if (address.family !== family) throw new EngineError('invalid', `invalid IPv${family} address: ${text}`)
  if (network.info.builtin) throw new EngineError('invalid', `invalid config for network ${network.info.name}: invalid endpoint settings:\n* user specified IP address is supported on user defined networks only\n* user specified IP address is supported only when connecting to networks with user configured subnets`)
  const subnet = network.pools.get(family)?.pool.subnet
  if (subnet === undefined || !contains(subnet, address)) throw new EngineError('invalid', `invalid config for network ${network.info.name}: invalid endpoint settings:\nno configured subnet or ip-range contain the IP address ${text}`)
  return address
}

/** Checks what is asked for against the kind of network. */
function checkRequest(network: OpenNetwork, request: EndpointRequest): void {
  askedSettings(request.options[SETTINGS] ?? '')
  if (network.info.builtin && request.aliases.length > 0) throw new EngineError('invalid', `invalid config for network ${network.info.name}: invalid endpoint settings:\nnetwork-scoped aliases are only supported for user-defined networks`)
}

/** Takes addresses for a container on a network. What it has taken it gives back when it fails. */
export function takeEndpoint(network: OpenNetwork, join: Pick<JoinRequest, 'containerId' | 'containerName' | 'hostname'>, request: EndpointRequest, others: readonly EndpointInfo[], members: number): EndpointInfo {
  checkRequest(network, request)
  if (network.info.driver === 'bridge') checkRoom(network.info, members)
  const ordinal = [...Array(others.length + 1).keys()].find((n) => !others.some((one) => one.index === FIRST_INDEX + n)) ?? others.length
  const interfaceName = request.options['com.docker.network.endpoint.ifname'] ?? `${option(network.info, 'com.docker.network.container_iface_prefix', 'eth')}${ordinal}`
  if (!INTERFACE.test(interfaceName) || others.some((one) => one.interfaceName === interfaceName)) throw new EngineError('invalid', `com.docker.network.endpoint.ifname: "${interfaceName}" is no name of an interface, or taken`)
  const wanted = { 4: wantedAddress(network, 4, request.ipv4), 6: wantedAddress(network, 6, request.ipv6) }
  const mac = request.mac === '' ? undefined : parseMac(request.mac, 'MacAddress')
  for (const one of request.linkLocal) parseAddress(one, 'LinkLocalIPs')
  const taken = new Map<Family, EndpointAddress>()
  try {
    for (const [family, { pool, gateway }] of network.pools) {
      const address = pool.take(wanted[family])
      taken.set(family, { address: formatAddress(address), prefix: pool.subnet.prefix, gateway: gateway === undefined ? '' : formatAddress(gateway) })
    }
  } catch (error) {
    for (const [family, { address }] of taken) network.pools.get(family)?.pool.release(parseAddress(address, 'address'))
    throw error
  }
  const ipv4 = taken.get(4)
  return {
    id: newId(), networkId: network.info.id, networkName: network.info.name, containerId: join.containerId, request, interfaceName, index: FIRST_INDEX + ordinal, ipv4, ipv6: taken.get(6),
    mac: mac ?? macFor(ipv4 === undefined ? undefined : parseAddress(ipv4.address, 'address')), dnsNames: network.info.builtin ? [] : dnsNames(join, request),
  }
}

const each = (endpoint: EndpointInfo): readonly (readonly [Family, EndpointAddress])[] => [...(endpoint.ipv4 === undefined ? [] : [[4, endpoint.ipv4] as const]), ...(endpoint.ipv6 === undefined ? [] : [[6, endpoint.ipv6] as const])]

/** Gives its addresses back. */
export function returnEndpoint(network: OpenNetwork, endpoint: EndpointInfo): void {
  for (const [family, { address }] of each(endpoint)) network.pools.get(family)?.pool.release(parseAddress(address, 'address'))
}

/** Marks its addresses as used, after a restart. */
export function reserveEndpoint(network: OpenNetwork, endpoint: EndpointInfo): void {
  for (const [family, { address }] of each(endpoint)) network.pools.get(family)?.pool.reserve(parseAddress(address, 'address'))
}

/** The endpoint over which a family leaves: the highest priority, then the first name. */
export function gatewayEndpoint(endpoints: readonly EndpointInfo[], family: Family): EndpointInfo | undefined {
  const candidates = endpoints.filter((one) => ((family === 4 ? one.ipv4 : one.ipv6)?.gateway ?? '') !== '')
  return candidates.sort((a, b) => b.request.gatewayPriority - a.request.gatewayPriority || (a.networkName < b.networkName ? -1 : 1))[0]
}

/** Messages of the default routes that have moved to another endpoint. */
export function movedGateways(before: readonly EndpointInfo[], after: readonly EndpointInfo[]): readonly Buffer[] {
  return ([4, 6] as const).flatMap((family) => {
    const [old, now] = [gatewayEndpoint(before, family), gatewayEndpoint(after, family)]
    const own = family === 4 ? now?.ipv4 : now?.ipv6
    return now === undefined || own === undefined || old?.id === now.id ? [] : [link.addDefaultRoute(now.index, addressBytes(parseAddress(own.gateway, 'gateway')))]
  })
}

/** The messages that make an endpoint, with the default routes that are its own. */
export function endpointAttachment(network: OpenNetwork, endpoint: EndpointInfo, all: readonly EndpointInfo[]): Attachment {
  const gateways = ([4, 6] as const).filter((family) => gatewayEndpoint(all, family) === endpoint)
  return network.attach({ interfaceName: endpoint.interfaceName, index: endpoint.index, mac: endpoint.mac, ipv4: endpoint.ipv4, ipv6: endpoint.ipv6, linkLocal: endpoint.request.linkLocal, settings: endpoint.request.options[SETTINGS] ?? '', gateways })
}

/** Subnets of a network's pools. */
export function subnetsOf(network: Pick<OpenNetwork, 'info'>): ReturnType<typeof parseCidr>['subnet'][] {
  return network.info.ipam.pools.map((pool) => parseCidr(pool.subnet, 'subnet').subnet)
}
