import { EngineError } from '@gantry/std'
import type { Flag, Parsed } from '../flags.ts'

/** Flags of `run` and `create` that say how a container is on its networks. */
export const NETWORK_FLAGS: readonly Flag[] = [
  { name: 'network', kind: 'list', help: 'Connect a container to a network: NAME, or name=NAME,alias=…,ip=…,ip6=…,mac-address=…,driver-opt=…,gw-priority=…' },
  { name: 'net', kind: 'list', help: 'Connect a container to a network' },
  { name: 'network-alias', kind: 'list', help: 'Add network-scoped alias for the container' },
  { name: 'net-alias', kind: 'list', help: 'Add network-scoped alias for the container' },
  { name: 'ip', kind: 'text', help: 'IPv4 address (e.g., 172.30.100.104)' },
  { name: 'ip6', kind: 'text', help: 'IPv6 address (e.g., 2001:db8::33)' },
  { name: 'link-local-ip', kind: 'list', help: 'Container IPv4/IPv6 link-local addresses' },
  { name: 'mac-address', kind: 'text', help: 'Container MAC address (e.g., 92:d0:c6:0a:29:33)' },
  { name: 'link', kind: 'list', help: 'Add link to another container' },
]

interface Wanted {
  readonly name: string
  readonly aliases: string[]
  readonly linkLocal: string[]
  readonly options: Record<string, string>
  ip: string
  ip6: string
  mac: string
  priority: number
}

function parseNetwork(spec: string): Wanted {
  const wanted = { name: spec, aliases: [] as string[], linkLocal: [] as string[], options: {} as Record<string, string>, ip: '', ip6: '', mac: '', priority: 0 }
  if (!spec.includes('=')) return wanted
  for (const part of spec.split(',')) {
    const at = part.indexOf('=')
    const [key, value] = [part.slice(0, at).trim().toLowerCase(), part.slice(at + 1).trim()]
    if (at < 0) throw new EngineError('invalid', `invalid field ${part} in --network ${spec}: expected key=value`)
    else if (key === 'name') wanted.name = value
    else if (key === 'alias') wanted.aliases.push(value)
    else if (key === 'ip') wanted.ip = value
    else if (key === 'ip6') wanted.ip6 = value
    else if (key === 'link-local-ip') wanted.linkLocal.push(value)
    else if (key === 'mac-address') wanted.mac = value
    else if (key === 'driver-opt') wanted.options[value.slice(0, value.indexOf('='))] = value.slice(value.indexOf('=') + 1)
    else if (key === 'gw-priority' && /^-?\d+$/.test(value)) wanted.priority = Number(value)
    else throw new EngineError('invalid', `invalid field ${part} in --network ${spec}`)
  }
  return wanted
}

/** `NetworkMode` and `NetworkingConfig` of a create request. Addresses and aliases that stand alone belong to the only network. */
export function networking(parsed: Parsed): { readonly mode: string; readonly config: unknown; readonly mac: string } {
  const networks = [...parsed.list('network'), ...parsed.list('net')].map(parseNetwork)
  const [first = parseNetwork('default')] = networks
  const aliases = [...parsed.list('network-alias'), ...parsed.list('net-alias')]
  const alone = parsed.text('ip') !== '' || parsed.text('ip6') !== '' || aliases.length > 0 || parsed.list('link-local-ip').length > 0
  if (networks.length > 1 && alone) throw new EngineError('invalid', 'conflicting options: cannot specify --ip, --ip6, --network-alias or --link-local-ip beside several networks: use --network name=…,ip=…,alias=…')
  first.aliases.push(...aliases)
  first.linkLocal.push(...parsed.list('link-local-ip'))
  first.ip ||= parsed.text('ip')
  first.ip6 ||= parsed.text('ip6')
  first.mac ||= parsed.text('mac-address')
  if (aliases.length > 0 && ['default', 'bridge', 'host', 'none'].includes(first.name)) throw new EngineError('invalid', 'network-scoped aliases are only supported for user-defined networks')
  const isPlain = first.name === 'host' || first.name === 'none' || first.name.startsWith('container:')
  const entries = [first, ...networks.slice(1)].map((one) => [
    one.name,
    { IPAMConfig: { IPv4Address: one.ip, IPv6Address: one.ip6, LinkLocalIPs: one.linkLocal }, Aliases: one.aliases, MacAddress: one.mac, DriverOpts: one.options, GwPriority: one.priority, Links: [] },
  ])
  return { mode: first.name, mac: isPlain ? first.mac : '', config: isPlain && networks.length < 2 ? undefined : { EndpointsConfig: Object.fromEntries(entries) } }
}
