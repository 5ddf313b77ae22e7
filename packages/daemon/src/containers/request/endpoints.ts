import { isIP } from 'node:net'
import { type EndpointRequest, type NetworkInfo, plainEndpoint } from '@gantry/libnetwork'
import { asInteger, asObject, asString, asStringMap, asStrings, EngineError, type JsonObject } from '@gantry/std'

/** Reads `EndpointSettings` (Engine API). Links are `name:alias`. */
export function decodeEndpoint(value: unknown, network: string, field: string): EndpointRequest {
  const body = asObject(value, field)
  const ipam = asObject(body['IPAMConfig'], `${field}.IPAMConfig`)
  for (const [name, family] of [['IPv4Address', 4], ['IPv6Address', 6]] as const) {
    const text = asString(ipam[name], `${field}.IPAMConfig.${name}`)
    if (text !== '' && isIP(text) !== family) throw new EngineError('invalid', `invalid endpoint settings:\ninvalid IPv${family} address: ${text}`)
  }
  return {
    network,
    aliases: asStrings(body['Aliases'], `${field}.Aliases`),
    ipv4: asString(ipam['IPv4Address'], `${field}.IPAMConfig.IPv4Address`),
    ipv6: asString(ipam['IPv6Address'], `${field}.IPAMConfig.IPv6Address`),
    linkLocal: asStrings(ipam['LinkLocalIPs'], `${field}.IPAMConfig.LinkLocalIPs`),
    mac: asString(body['MacAddress'], `${field}.MacAddress`),
    options: asStringMap(body['DriverOpts'], `${field}.DriverOpts`),
    gatewayPriority: asInteger(body['GwPriority'], `${field}.GwPriority`),
    links: asStrings(body['Links'], `${field}.Links`),
  }
}

/** Reads `NetworkingConfig.EndpointsConfig` of a create request. */
export function decodeEndpoints(body: JsonObject): readonly EndpointRequest[] {
  const config = asObject(asObject(body['NetworkingConfig'], 'NetworkingConfig')['EndpointsConfig'], 'EndpointsConfig')
  return Object.entries(config).map(([name, value]) => decodeEndpoint(value, name, `EndpointsConfig.${name}`))
}

/** What settling needs to know of the networks. */
export type FindNetwork = (nameOrId: string) => NetworkInfo | undefined

/** The networks that a container is in, that of its mode first; without a bridge, the default network is none. `mac` and `links` are of older fields and belong to the mode's network. */
export function settleEndpoints(mode: string, requested: readonly EndpointRequest[], older: { readonly mac: string; readonly links: readonly string[] }, find: FindNetwork): readonly EndpointRequest[] {
  if (mode.startsWith('container:') || mode === 'host' || mode === 'none') {
    const other = requested.find((one) => one.network !== mode && one.network !== 'default')
    if (other !== undefined) throw new EngineError('invalid', `conflicting options: cannot attach both user-defined and non-user-defined network-modes`)
    if (mode !== 'none' && older.mac !== '') throw new EngineError('invalid', `conflicting options: mac-address and the network mode`)
    return mode.startsWith('container:') ? [] : [plainEndpoint(mode)]
  }
  const first = find(mode)
  if (first === undefined && mode === 'bridge') return [plainEndpoint('none')]
  const info = first ?? notYetThere(mode)
  const byNetwork = new Map<string, EndpointRequest>()
  for (const one of requested) {
    const network = one.network === 'default' ? info : (find(one.network) ?? notYetThere(one.network))
    if (network.driver === 'host' || network.driver === 'null') throw new EngineError('invalid', 'conflicting options: cannot attach both user-defined and non-user-defined network-modes')
    byNetwork.set(network.id, { ...one, network: network.name })
  }
  const main = byNetwork.get(info.id) ?? plainEndpoint(info.name)
  if (older.mac !== '' && main.mac !== '' && older.mac.toLowerCase() !== main.mac.toLowerCase()) throw new EngineError('invalid', 'conflicting MAC address options: Config.MacAddress and the network’s own differ')
  byNetwork.delete(info.id)
  const others = [...byNetwork.values()].sort((a, b) => (a.network < b.network ? -1 : 1))
  return [{ ...main, mac: main.mac === '' ? older.mac : main.mac, links: info.builtin ? main.links : [...main.links, ...older.links.map(withAlias)] }, ...others]
}

/** Stands for a network that is unknown now: it may be there when the container starts. */
function notYetThere(name: string): Pick<NetworkInfo, 'id' | 'name' | 'driver' | 'builtin'> {
  return { id: name, name, driver: 'bridge', builtin: false }
}

/** `name` is `name:name`. */
export function withAlias(link: string): string {
  const [name = '', alias = ''] = link.split(':')
  return `${name}:${alias === '' ? (name.split('/').at(-1) ?? name) : alias}`
}
