import type { Launcher } from '@gantry/linux'
import { keyedLock } from '@gantry/std'
import { bridgeSettings } from './drivers/bridge.ts'
import type { OpenNetwork } from './drivers/driver.ts'
import { gatewayEndpoint } from './endpoints.ts'
import type { Firewall } from './firewall/firewall.ts'
import { forgetFlows } from './firewall/flows.ts'
import type { Live } from './live.ts'
import type { EndpointInfo, JoinRequest } from './network.ts'
import { linkOpenings, publication } from './publish.ts'
import { openRelays } from './relay.ts'

/** What is open of containers: published ports, relays, links. */
export interface Exposure {
  /** Requests that name no address are published where the daemon or the network says. */
  withHost(requests: JoinRequest['ports'], endpoints: readonly EndpointInfo[]): JoinRequest['ports']
  /** True when ports of a container on these networks are published at all. */
  publishes(endpoints: readonly EndpointInfo[]): boolean
  /** Brings firewall and relays to what the container's ports and networks come to now. */
  apply(one: Live): Promise<void>
  /** The same after a restart of the daemon: the firewall is built anew later, with all. */
  restore(one: Live): Promise<void>
  /** Openings of its links, once all sources are known again. */
  relink(one: Live): void
  close(one: Live): Promise<void>
}

const plainNumbers = (_: string, value: unknown): unknown => (typeof value === 'bigint' ? String(value) : value)
const same = (a: object, b: object): boolean => JSON.stringify(a, plainNumbers) === JSON.stringify(b, plainNumbers)
const without = <T extends object>(list: readonly T[], others: readonly T[]): readonly T[] => list.filter((one) => !others.some((other) => same(one, other)))

/** What it stands on. */
export interface ExposurePorts {
  readonly launcher: Launcher
  readonly firewall: Firewall | undefined
  readonly hostBinding: string
  network(id: string): OpenNetwork | undefined
  /** A container's endpoint on the default bridge. */
  defaultEndpoint(containerId: string): EndpointInfo | undefined
}

/** Makes it. */
export function createExposure(ports: ExposurePorts): Exposure {
  const { launcher, firewall } = ports
  const lock = keyedLock()
  const linksOf = (one: Live): Live['links'] => (one.request.links.length === 0 ? [] : linkOpenings(ports.defaultEndpoint(one.request.containerId), one.request.links, ports.defaultEndpoint))
  const apply = async (one: Live): Promise<void> => {
    const next = publication(one.held, one.endpoints, ports.network)
    const links = linksOf(one)
    const [before, after] = [[...one.publication.open, ...one.links], [...next.open, ...links]]
    const [gone, come] = [without(one.publication.ports, next.ports), without(next.ports, one.publication.ports)]
    await firewall?.remove({ ports: gone, open: without(before, after) })
    await firewall?.add({ ports: come, open: without(after, before) })
    if (firewall !== undefined) await forgetFlows(launcher, [...gone, ...come])
    if (without(one.publication.relayed, next.relayed).length > 0 || without(next.relayed, one.publication.relayed).length > 0) {
      for (const relay of one.relays) relay.close()
      one.relays = await openRelays(launcher, next.relayed)
    }
    one.publication = next
    one.links = links
  }
  return {
    withHost(requests, endpoints) {
      const gateway = gatewayEndpoint(endpoints, 4)
      const network = gateway === undefined ? undefined : ports.network(gateway.networkId)
      const own = network?.info.driver === 'bridge' ? bridgeSettings(network.info).hostBinding : ''
      const host = own !== '' && own !== '0.0.0.0' ? own : ports.hostBinding
      return host === '' ? requests : requests.map((one) => (one.hostIp === '' ? { ...one, hostIp: host } : one))
    },
    publishes: (endpoints) =>
      ([4, 6] as const).some((family) => {
        const endpoint = gatewayEndpoint(endpoints, family)
        return endpoint !== undefined && ports.network(endpoint.networkId)?.info.driver === 'bridge'
      }),
    // One at a time: a source of links that goes and another that comes change the same consumer.
    apply: (one) => lock.run(one.request.containerId, () => apply(one)),
    async restore(one) {
      one.publication = publication(one.held, one.endpoints, ports.network)
      one.relays = await openRelays(launcher, one.publication.relayed)
    },
    relink(one) {
      one.links = linksOf(one)
    },
    close: (one) =>
      lock.run(one.request.containerId, async () => {
        for (const relay of one.relays) relay.close()
        await firewall?.remove({ ports: one.publication.ports, open: [...one.publication.open, ...one.links] })
        if (firewall !== undefined) await forgetFlows(launcher, one.publication.ports)
      }),
  }
}

export type { OpenNetwork } from './drivers/driver.ts'
