import type { OpenNetwork } from './drivers/driver.ts'
import { bridgeSettings } from './drivers/bridge.ts'
import type { Live } from './live.ts'
import type { Protocol } from './port-allocator.ts'

/** From where somebody asks: a container, the host itself, or a neighbour of the host. */
export type Asker = { readonly kind: 'container'; readonly live: Live } | { readonly kind: 'host' } | { readonly kind: 'outside' }

/** Whether one reaches the other, and what decides it; the reasons name the rule of `firewall/table.ts`. */
export interface Verdict {
  readonly reaches: boolean
  readonly reasons: readonly string[]
}

/** Says whether a port of a container can be reached, and which rule decides. Whether somebody listens there is not asked. */
export function explainReach(from: Asker, to: Live, port: number, protocol: Protocol, network: (id: string) => OpenNetwork | undefined): Verdict {
  const reasons: string[] = []
  let reaches = false
  const yes = (reason: string): void => {
    reaches = true
    reasons.push(`yes: ${reason}`)
  }
  const no = (reason: string): void => void reasons.push(`no: ${reason}`)
  const published = to.publication.bindings.filter((one) => one.port === port && one.protocol === protocol)
  if (from.kind === 'container') {
    const shared = to.endpoints.filter((endpoint) => from.live.endpoints.some((own) => own.networkId === endpoint.networkId))
    for (const endpoint of shared) {
      const there = network(endpoint.networkId)
      const name = `network ${endpoint.networkName}`
      if (there?.info.driver !== 'bridge') yes(`both are on ${name} (${there?.info.driver ?? 'unknown'}), which no firewall of ours looks at`)
      else if (bridgeSettings(there.info).icc) yes(`both are on ${name}; "same" accepts what stays on its bridge (${endpoint.ipv4?.address ?? endpoint.ipv6?.address}:${port})`)
      else if (from.live.links.some((link) => link.port === port && link.protocol === protocol && endpoint.ipv4?.address !== undefined)) yes(`both are on ${name}, where containers may not talk (enable_icc=false), but a link opens this port ("link4")`)
      else no(`both are on ${name}, where containers may not talk (enable_icc=false): "same" drops it`)
    }
    if (shared.length === 0) no(`they share no network: the last rule of "forward" drops what goes from elsewhere to a bridge of ours`)
    const leaves = from.live.endpoints.some((one) => (one.ipv4?.gateway ?? '') !== '' || (one.ipv6?.gateway ?? '') !== '')
    for (const one of published) {
      if (/^(127\.|::1$)/.test(one.hostIp)) no(`the port is published on ${one.hostIp}:${one.hostPort}, which only the host itself reaches ("raw" drops what comes to 127.0.0.0/8 from elsewhere)`)
      else if (!leaves) no(`the port is published on ${one.hostIp}:${one.hostPort}, but the asker has no way out of its internal networks`)
      else yes(`the port is published on ${one.hostIp}:${one.hostPort}: an address of the host leads there ("dn" translates, "forward" accepts what was translated)`)
    }
  } else {
    for (const endpoint of to.endpoints) {
      const there = network(endpoint.networkId)
      if (there?.info.driver !== 'bridge') no(`network ${endpoint.networkName} (${there?.info.driver ?? 'unknown'}) has no address on the host`)
      else if (from.kind === 'host') yes(`the host has an address on the bridge of ${endpoint.networkName}: ${endpoint.ipv4?.address ?? endpoint.ipv6?.address}:${port}`)
      else if (bridgeSettings(there.info).modes[4] === 'nat-unprotected') yes(`network ${endpoint.networkName} is unprotected: "bare4" accepts direct routes to it`)
      else no(`${endpoint.ipv4?.address ?? endpoint.ipv6?.address} is on the bridge of ${endpoint.networkName}: the last rule of "forward" drops what is routed to it from outside`)
    }
    for (const one of published) {
      if (from.kind === 'outside' && /^(127\.|::1$)/.test(one.hostIp)) no(`the port is published on ${one.hostIp}:${one.hostPort}, which only the host itself reaches`)
      else yes(`the port is published on ${one.hostIp}:${one.hostPort} ("dn" translates it, "forward" accepts what was translated)`)
    }
    if (published.length === 0) no(`port ${port}/${protocol} is not published`)
  }
  return { reaches, reasons }
}
