import { EngineError } from '@gantry/std'
import { type Command, type Context, each, filterQuery } from '../command.ts'
import type { Flag, Parsed } from '../flags.ts'
import { listing, short } from '../output.ts'
import { keyValues } from './create-body.ts'
import { inspectAll } from './containers.ts'
import { confirm, FORCE } from './prune.ts'

interface NetworkRow {
  readonly Id: string
  readonly Name: string
  readonly Driver: string
  readonly Scope: string
  readonly EnableIPv6: boolean
  readonly Internal: boolean
  readonly Labels: Readonly<Record<string, string>>
}

const FORMAT: Flag = { name: 'format', short: 'f', kind: 'text', help: 'Format output using a custom template' }
const FILTER: Flag = { name: 'filter', short: 'f', kind: 'list', help: 'Filter output based on conditions provided' }

async function list(context: Context, parsed: Parsed): Promise<number> {
  const networks = await context.api.json<readonly NetworkRow[]>('GET', '/networks', { query: { filters: filterQuery(parsed.list('filter')) } })
  const items = networks.map((network) => ({ ID: short(network.Id, parsed.bool('no-trunc')), Name: network.Name, Driver: network.Driver, Scope: network.Scope, IPv6: String(network.EnableIPv6), Internal: String(network.Internal), Labels: Object.entries(network.Labels).map(([key, value]) => `${key}=${value}`).join(',') }))
  const head = { ID: 'NETWORK ID', Name: 'NAME', Driver: 'DRIVER', Scope: 'SCOPE', IPv6: 'IPV6', Internal: 'INTERNAL', Labels: 'LABELS' }
  process.stdout.write(parsed.bool('quiet') ? items.map((item) => `${item.ID}\n`).join('') : listing(items, parsed.text('format') || context.setting('networksFormat'), [['NETWORK ID', (n) => n.ID], ['NAME', (n) => n.Name], ['DRIVER', (n) => n.Driver], ['SCOPE', (n) => n.Scope]], head, { full: parsed.bool('no-trunc') }))
  return 0
}

/** Ranges, gateways and auxiliary addresses go with the subnet that they are in; the daemon tells when none fits. */
function pools(parsed: Parsed): readonly unknown[] {
  const subnets = parsed.list('subnet')
  const isV6 = (text: string): boolean => text.includes(':')
  const fitting = (flag: string, subnet: string): string => parsed.list(flag).find((one) => isV6(one) === isV6(subnet)) ?? ''
  const aux = (subnet: string): Readonly<Record<string, string>> => Object.fromEntries(Object.entries(keyValues(parsed.list('aux-address'))).filter(([, address]) => isV6(address) === isV6(subnet)))
  if (subnets.length === 0 && ['ip-range', 'gateway', 'aux-address'].some((flag) => parsed.list(flag).length > 0)) throw new EngineError('invalid', 'every ip-range or gateway must have a corresponding subnet')
  return subnets.map((Subnet) => ({ Subnet, IPRange: fitting('ip-range', Subnet), Gateway: fitting('gateway', Subnet), AuxiliaryAddresses: aux(Subnet) }))
}

async function create(context: Context, parsed: Parsed): Promise<number> {
  const [Name = ''] = parsed.rest
  const body = {
    Name, Driver: parsed.text('driver') || 'bridge', Internal: parsed.bool('internal'), Attachable: parsed.bool('attachable'), Ingress: parsed.bool('ingress'), Scope: parsed.text('scope'), ConfigOnly: parsed.bool('config-only'), ...(parsed.has('config-from') && { ConfigFrom: { Network: parsed.text('config-from') } }), Labels: keyValues(parsed.list('label')), Options: keyValues(parsed.list('opt')),
    ...(parsed.has('ipv4') && { EnableIPv4: parsed.bool('ipv4') }), ...(parsed.has('ipv6') && { EnableIPv6: parsed.bool('ipv6') }),
    IPAM: { Driver: parsed.text('ipam-driver') || 'default', Options: keyValues(parsed.list('ipam-opt')), Config: pools(parsed) },
  }
  const { Id } = await context.api.json<{ Id: string }>('POST', '/networks/create', { json: body })
  process.stdout.write(`${Id}\n`)
  return 0
}

async function connect(context: Context, parsed: Parsed): Promise<number> {
  const [network = '', Container = ''] = parsed.rest
  const EndpointConfig = {
    IPAMConfig: { IPv4Address: parsed.text('ip'), IPv6Address: parsed.text('ip6'), LinkLocalIPs: parsed.list('link-local-ip') }, Aliases: parsed.list('alias'), Links: parsed.list('link'), DriverOpts: keyValues(parsed.list('driver-opt')), GwPriority: parsed.number('gw-priority') ?? 0,
  }
  ;(await context.api.send('POST', `/networks/${network}/connect`, { json: { Container, EndpointConfig } })).resume()
  return 0
}

async function disconnect(context: Context, parsed: Parsed): Promise<number> {
  const [network = '', Container = ''] = parsed.rest
  ;(await context.api.send('POST', `/networks/${network}/disconnect`, { json: { Container, Force: parsed.bool('force') } })).resume()
  return 0
}

async function remove(context: Context, parsed: Parsed): Promise<number> {
  const code = await each(parsed.rest, async (name) => {
    try {
      await context.api.send('DELETE', `/networks/${name}`)
      return name
    } catch (error) {
      if (parsed.bool('force') && error instanceof EngineError && error.kind === 'not-found') return undefined
      throw error
    }
  })
  if (code !== 0) process.stderr.write(`exit status ${code}\n`)
  return code
}

async function rename(context: Context, parsed: Parsed): Promise<number> {
  const [network = '', name = ''] = parsed.rest
  ;(await context.api.send('POST', `/networks/${network}/rename`, { query: { name } })).resume()
  return 0
}

async function why(context: Context, parsed: Parsed): Promise<number> {
  const [from = '', target = ''] = parsed.rest
  const match = /^(.+):(\d{1,5})(?:\/(tcp|udp|sctp))?$/.exec(target)
  if (match === null) throw new EngineError('invalid', `expected CONTAINER:PORT, got ${JSON.stringify(target)}`)
  const { Reaches, Reasons } = await context.api.json<{ Reaches: boolean; Reasons: readonly string[] }>('GET', '/gantry/network/why', { query: { from, to: match[1], port: match[2], protocol: match[3] ?? 'tcp' } })
  process.stdout.write(`${from} ${Reaches ? 'reaches' : 'does not reach'} ${target}\n${Reasons.map((reason) => `  ${reason}\n`).join('')}`)
  return Reaches ? 0 : 1
}

async function prune(context: Context, parsed: Parsed): Promise<number> {
  await confirm(parsed, 'This will remove all custom networks not used by at least one container.')
  const { NetworksDeleted } = await context.api.json<{ NetworksDeleted: readonly string[] | null }>('POST', '/networks/prune', { query: { filters: filterQuery(parsed.list('filter')) } })
  if (NetworksDeleted !== null) process.stdout.write(`Deleted Networks:\n${NetworksDeleted.map((name) => `${name}\n`).join('')}\n`)
  return 0
}

const bool = (name: string, help: string, letter?: string): Flag => ({ name, kind: 'bool', help, ...(letter !== undefined && { short: letter }) })
const many = (name: string, help: string, letter?: string): Flag => ({ name, kind: 'list', help, ...(letter !== undefined && { short: letter }) })
const text = (name: string, help: string, letter?: string): Flag => ({ name, kind: 'text', help, ...(letter !== undefined && { short: letter }) })

/** Commands on networks. */
export const NETWORK_COMMANDS: readonly Command[] = [
  {
    names: ['network create'], usage: 'network create [OPTIONS] NETWORK', help: 'Create a network', run: create,
    flags: [
      text('driver', 'Driver to manage the network: bridge, macvlan', 'd'), many('subnet', 'Subnet in CIDR format that represents a network segment'), many('gateway', 'IPv4 or IPv6 gateway for the subnet'), many('ip-range', 'Allocate container ip from a sub-range'),
      many('aux-address', 'Auxiliary IPv4 or IPv6 addresses used by the network driver'), bool('ipv4', 'Enable IPv4 address assignment'), bool('ipv6', 'Enable IPv6 address assignment'), bool('internal', 'Restrict external access to the network'),
      bool('attachable', 'Enable manual container attachment'), text('scope', "Control the network's scope"), bool('ingress', 'Create swarm routing-mesh network'), bool('config-only', 'Create a configuration only network'), text('config-from', 'The network from which to copy the configuration'), many('label', 'Set metadata on a network'), many('opt', 'Set driver specific options', 'o'), text('ipam-driver', 'IP Address Management Driver'), many('ipam-opt', 'Set IPAM driver specific options'),
    ],
  },
  { names: ['network ls', 'network list'], usage: 'network ls [OPTIONS]', help: 'List networks', flags: [FILTER, bool('quiet', 'Only display network IDs', 'q'), text('format', 'Format output using a custom template'), bool('no-trunc', 'Do not truncate the output')], run: list },
  { names: ['network inspect'], usage: 'network inspect [OPTIONS] NETWORK [NETWORK...]', help: 'Display detailed information on one or more networks', flags: [FORMAT, bool('verbose', 'Verbose output for diagnostics', 'v')], run: (context, parsed) => inspectAll(parsed.rest, parsed.text('format'), (name) => context.api.json('GET', `/networks/${name}`, { query: { verbose: parsed.bool('verbose') } })) },
  {
    names: ['network rm', 'network remove'], usage: 'network rm NETWORK [NETWORK...]', help: 'Remove one or more networks', flags: [bool('force', 'Do not error if the network does not exist', 'f')],
    run: remove,
  },
  {
    names: ['network connect'], usage: 'network connect [OPTIONS] NETWORK CONTAINER', help: 'Connect a container to a network', run: connect,
    flags: [text('ip', 'IPv4 address'), text('ip6', 'IPv6 address'), many('alias', 'Add network-scoped alias for the container'), many('link', 'Add link to another container'), many('link-local-ip', 'Add a link-local address for the container'), many('driver-opt', 'driver options for the network'), { name: 'gw-priority', kind: 'number', help: 'Highest gw-priority provides the default gateway' }],
  },
  { names: ['network disconnect'], usage: 'network disconnect [OPTIONS] NETWORK CONTAINER', help: 'Disconnect a container from a network', flags: [bool('force', 'Force the container to disconnect from a network', 'f')], run: disconnect },
  { names: ['network rename'], usage: 'network rename NETWORK NEW_NAME', help: 'Give a network another name (ours)', flags: [], run: rename },
  { names: ['network why'], usage: 'network why FROM CONTAINER:PORT[/PROTOCOL]', help: 'Say whether FROM (a container, host or outside) reaches a port, and which rule decides (ours)', flags: [], run: why },
  { names: ['network prune'], usage: 'network prune [OPTIONS]', help: 'Remove all unused networks', flags: [many('filter', 'Provide filter values (such as "until=<timestamp>")'), FORCE], run: prune },
]
