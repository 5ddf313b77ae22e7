import { existsSync } from 'node:fs'
import { batch, type Launcher, link, type NetlinkBatch } from '@gantry/linux'
import { EngineError, randomHex } from '@gantry/std'
import { type Address, addressBytes, type Family, parseAddress } from '../address.ts'
import type { FirewalledNetwork } from '../firewall/table.ts'
import type { AddressPool } from '../ipam.ts'
import type { Attachment, EndpointAddress, NetworkInfo } from '../network.ts'

/** A family of a network: where addresses come from, and what its gateway is. */
export interface NetworkPool {
  readonly pool: AddressPool
  /** undefined: containers get no default route over this network. */
  readonly gateway: Address | undefined
}

/** What an endpoint has come to, before its messages are written. */
export interface EndpointPlan {
  readonly interfaceName: string
  readonly index: number
  readonly mac: string
  readonly ipv4: EndpointAddress | undefined
  readonly ipv6: EndpointAddress | undefined
  readonly linkLocal: readonly string[]
  /** What is asked for of its settings, as the option has it. */
  readonly settings: string
  /** The default route of these families goes over this endpoint. */
  readonly gateways: readonly Family[]
}

/** A network that is there: its links on the host exist. */
export interface OpenNetwork {
  readonly info: NetworkInfo
  readonly pools: ReadonlyMap<Family, NetworkPool>
  /** undefined: the firewall has nothing to do with it. */
  readonly firewalled: FirewalledNetwork | undefined
  /** The messages that make an endpoint. */
  attach(plan: EndpointPlan): Attachment
  remove(): Promise<void>
}

/** What drivers stand on. */
export interface DriverPorts {
  readonly launcher: Launcher
  /** Names and indexes for new links of the host. */
  nextLink(): { readonly name: string; readonly index: number }
}

/** Random names, and indexes far above what the kernel hands out by itself, and not where another daemon began. */
export function linkNames(): DriverPorts['nextLink'] {
  const tag = randomHex(2)
  let index = (1 << 20) + (Number.parseInt(randomHex(3), 16) << 4)
  return () => ({ name: `gv${tag}${randomHex(4)}`, index: index++ })
}

/** Text of an option, or what it is by default. */
export function option(info: Pick<NetworkInfo, 'options'>, name: string, otherwise: string): string {
  const text = info.options[name]
  return text === undefined || text === '' ? otherwise : text
}

/** `true`, `1`, `false`, `0` … */
export function flagOption(info: Pick<NetworkInfo, 'options'>, name: string, otherwise: boolean): boolean {
  return /^(1|t|true)$/i.test(option(info, name, String(otherwise)))
}

/** Addresses and routes of an endpoint, from inside; `further` ones come last. */
export function insideMessages(plan: EndpointPlan, further: readonly Buffer[] = []): NetlinkBatch {
  const messages = [link.setLinkUp(plan.index)]
  const what: string[] = []
  for (const [family, own] of [[4, plan.ipv4], [6, plan.ipv6]] as const) {
    if (own === undefined) continue
    what.push(`${own.address}/${own.prefix}`)
    messages.push(link.addAddress(plan.index, addressBytes(parseAddress(own.address, 'address')), own.prefix))
    if (own.gateway !== '' && plan.gateways.includes(family)) messages.push(link.addDefaultRoute(plan.index, addressBytes(parseAddress(own.gateway, 'gateway'))))
  }
  for (const address of plan.linkLocal) {
    const parsed = parseAddress(address, 'LinkLocalIPs')
    messages.push(link.addAddress(plan.index, addressBytes(parsed), parsed.family === 4 ? 16 : 64))
  }
  return batch(`${plan.interfaceName} with ${what.join(' ')}`, [...messages, ...further])
}

const IFNAME = 'IFNAME'
const SETTING = /^net\.(ipv4|ipv6|mpls)\.(conf|neigh)\.IFNAME\.([a-z0-9_]+)=([^\s,]*)$/

/** Reads `com.docker.network.endpoint.sysctls`: `net.ipv4.conf.IFNAME.log_martians=1`, several with commas. */
export function askedSettings(text: string): readonly (readonly [string, string])[] {
  return text.split(',').filter((one) => one !== '').map((one) => {
    const [, family, group, key, value = ''] = SETTING.exec(one) ?? []
    if (family === undefined) throw new EngineError('invalid', `com.docker.network.endpoint.sysctls: "${one}" should be in the form net.ipv4.conf.IFNAME.SETTING=VALUE`)
    if (!existsSync(`/proc/sys/net/${family}/${group}/default/${key}`)) throw new EngineError('invalid', `com.docker.network.endpoint.sysctls: this kernel has no setting net.${family}.${group}.*.${key}`)
    return [`net/${family}/${group}/${IFNAME}/${key}`, value]
  })
}

/** Settings of an interface inside. CVE-2024-32473 and CVE-2020-13401: no IPv6 where the network has none, and no advertisements of routers. */
export function insideSettings(plan: EndpointPlan): Attachment['sysctls'] {
  const at = `net/ipv6/conf/${plan.interfaceName}`
  const asked = askedSettings(plan.settings).map(([path, value]) => [path.replace(IFNAME, plan.interfaceName), value] as const)
  if (plan.ipv6 === undefined) return [[`${at}/disable_ipv6`, '1'], ...asked]
  return [[`${at}/disable_ipv6`, '0'], [`${at}/accept_ra`, '0'], [`${at}/accept_dad`, '0'], ...asked]
}
