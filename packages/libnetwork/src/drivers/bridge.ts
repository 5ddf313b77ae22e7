import { batch, type Launcher, link } from '@gantry/linux'
import { EngineError, logger } from '@gantry/std'
import { type Address, addressBytes, formatAddress, macFor, parseAddress } from '../address.ts'
import type { FirewalledSubnet, GatewayMode } from '../firewall/table.ts'
import { bridgesCanBeFiltered, findLink, hostAddresses, rtnetlink, setting } from '../host.ts'
import { familiesOf, type NetworkInfo } from '../network.ts'
import { type DriverPorts, flagOption, insideMessages, insideSettings, type NetworkPool, type OpenNetwork, option } from './driver.ts'

const log = logger('libnetwork.bridge')
/** BR_MAX_PORTS of the kernel, less the bridge itself. */
const MAX_PORTS = 1023
/** The default bridge when nobody names one. */
export const OWN_BRIDGE = 'gantry0'
const MODES: ReadonlySet<string> = new Set(['nat', 'nat-unprotected', 'routed', 'isolated'])
const NAME = /^[\w.-]{1,15}$/

/** The options of a bridge network, read and checked (Docker's `com.docker.network.*`). */
export interface BridgeSettings {
  readonly name: string
  readonly mtu: number
  readonly icc: boolean
  readonly masquerade: boolean
  /** One that is there already may be used as it is; it is never removed. */
  readonly foreign: boolean
  readonly modes: Readonly<Record<4 | 6, GatewayMode>>
  readonly sources: Readonly<Record<4 | 6, Address | undefined>>
  readonly trusted: readonly string[]
  /** The bridge gets no IPv4 address. */
  readonly inhibit: boolean
  /** Where ports are published that name no address. */
  readonly hostBinding: string
}

/** Reads the options. */
export function bridgeSettings(info: NetworkInfo): BridgeSettings {
  const prefix = 'com.docker.network.bridge'
  const name = option(info, `${prefix}.name`, `br-${info.id.slice(0, 12)}`)
  if (!NAME.test(name)) throw new EngineError('invalid', `${prefix}.name: invalid interface name "${name}"`)
  const mtu = Number(option(info, 'com.docker.network.driver.mtu', '1500'))
  if (!Number.isInteger(mtu) || mtu < 68 || mtu > 65_535) throw new EngineError('invalid', `com.docker.network.driver.mtu: expected 68 to 65535, got "${info.options['com.docker.network.driver.mtu']}"`)
  const mode = (family: 4 | 6): GatewayMode => {
    const text = option(info, `${prefix}.gateway_mode_ipv${family}`, 'nat')
    if (!MODES.has(text)) throw new EngineError('invalid', `${prefix}.gateway_mode_ipv${family}: unknown gateway mode ${text}`)
    if (text === 'isolated' && !info.internal) throw new EngineError('invalid', `gateway mode 'isolated' can only be used for an internal network`)
    return text as GatewayMode
  }
  const source = (family: 4 | 6): Address | undefined => {
    const text = option(info, `com.docker.network.host_ipv${family}`, '')
    return text === '' ? undefined : parseAddress(text, `com.docker.network.host_ipv${family}`)
  }
  const hostBinding = option(info, `${prefix}.host_binding_ipv4`, '')
  if (hostBinding !== '') parseAddress(hostBinding, `${prefix}.host_binding_ipv4`)
  return {
    name, mtu, hostBinding,
    icc: flagOption(info, `${prefix}.enable_icc`, true),
    masquerade: flagOption(info, `${prefix}.enable_ip_masquerade`, true),
    foreign: info.builtin && name !== OWN_BRIDGE,
    modes: { 4: mode(4), 6: mode(6) },
    sources: { 4: source(4), 6: source(6) },
    trusted: option(info, `${prefix}.trusted_host_interfaces`, '').split(':').filter((one) => one !== ''),
    inhibit: flagOption(info, `${prefix}.inhibit_ipv4`, false),
  }
}

/** The mark of our bridges, so that nothing of others is ever removed. */
const markOf = (name: string): string => `gantry bridge ${name}`

/** Finds or makes the bridge with its addresses; an interface of that name that is not ours is an error. */
async function openLink(launcher: Launcher, settings: BridgeSettings, addresses: readonly (readonly [Address, number])[]): Promise<number> {
  const { name } = settings
  let found = await findLink(launcher, name)
  if (found !== undefined && !settings.foreign && found.alias !== markOf(name)) throw new EngineError('conflict', `interface ${name} exists and is not ours: choose another name, or remove it`)
  if (found === undefined) {
    const first = addresses.find(([address]) => address.family === 4)?.[0]
    await rtnetlink(launcher, `make bridge ${name}`, [link.createBridge({ name, mac: macFor(first), mtu: settings.mtu, filtered: !settings.icc && bridgesCanBeFiltered() }), link.setAlias(name, markOf(name))])
    found = await findLink(launcher, name)
  }
  if (found === undefined) throw new EngineError('internal', `bridge ${name} has vanished`)
  const { index } = found
  const there = (await hostAddresses(launcher)).filter((one) => one.index === index)
  for (const [address, prefix] of addresses) {
    if (there.some((one) => one.address.family === address.family && one.address.value === address.value)) continue
    if (address.family === 6) setting(`ipv6/conf/${name}/disable_ipv6`, '0')
    await rtnetlink(launcher, `${formatAddress(address)} on ${name}`, [link.addAddress(index, addressBytes(address), prefix, { mayExist: true })])
  }
  if (!found.up) await rtnetlink(launcher, `${name} up`, [link.setLinkUp(index)])
  return index
}

/** Makes a bridge network real. */
export async function openBridgeNetwork(ports: DriverPorts, info: NetworkInfo, pools: ReadonlyMap<4 | 6, NetworkPool>): Promise<OpenNetwork> {
  const settings = bridgeSettings(info)
  const { name } = settings
  const isolated = !settings.icc && !bridgesCanBeFiltered()
  const addresses = [...pools].flatMap(([family, { pool, gateway }]) => (gateway === undefined || settings.modes[family] === 'isolated' || (family === 4 && settings.inhibit) ? [] : [[gateway, pool.subnet.prefix] as const]))
  const index = await openLink(ports.launcher, settings, addresses)
  if (!pools.has(6)) setting(`ipv6/conf/${name}/disable_ipv6`, '1')
  else setting(`ipv6/conf/${name}/accept_ra`, '0')
  const subnets = [...pools].map(([family, { pool }]): FirewalledSubnet => ({ subnet: pool.subnet, masquerade: settings.masquerade, sourceAddress: settings.sources[family], mode: settings.modes[family] }))
  return {
    info,
    // Without a way out there is no default route.
    pools: new Map([...pools].map(([family, pool]) => [family, info.internal ? { ...pool, gateway: undefined } : pool])),
    firewalled: { bridge: name, subnets, icc: settings.icc, internal: info.internal, trusted: settings.trusted },
    attach(plan) {
      const { name: veth, index: vethIndex } = ports.nextLink()
      const created = link.createVeth({ name: veth, index: vethIndex, master: index, mtu: settings.mtu, peer: { name: plan.interfaceName, mac: plan.mac, index: plan.index } })
      const port = link.setBridgePort(veth, { hairpin: true, isolated })
      return {
        host: [{ ...batch(`veth of ${plan.ipv4?.address ?? plan.ipv6?.address ?? plan.mac} on ${name}`, [created.bytes, port]), pidAt: [created.pidAt] }],
        inside: [insideMessages(plan)],
        sysctls: insideSettings(plan),
      }
    },
    async remove() {
      const now = await findLink(ports.launcher, name)
      if (now === undefined || now.alias !== markOf(name) || now.index !== index) return
      await rtnetlink(ports.launcher, `remove ${name}`, [link.deleteLink(index)])
    },
  }
}

/** The most endpoints that a bridge of this kernel holds. */
export function checkRoom(info: NetworkInfo, members: number): void {
  if (members >= MAX_PORTS) throw new EngineError('unavailable', `network ${info.name} has ${MAX_PORTS} containers, the most that a bridge of this kernel holds`)
}

/** Settings that only come with the table in place (route_localnet without its guard is CVE-2020-8558). */
export function openForwarding(info: NetworkInfo, options: { readonly forward: boolean; readonly localnet: boolean }): void {
  if (options.forward) for (const family of familiesOf(info)) setting(family === 4 ? 'ipv4/ip_forward' : 'ipv6/conf/all/forwarding', '1')
  const { name } = bridgeSettings(info)
  if (options.localnet && info.ipv4) setting(`ipv4/conf/${name}/route_localnet`, '1')
  log.debug('forwarding is open', { name })
}
