import { link } from '@gantry/linux'
import { EngineError } from '@gantry/std'
import type { NetworkInfo } from '../network.ts'
import { type DriverPorts, insideMessages, insideSettings, type NetworkPool, type OpenNetwork, option } from './driver.ts'
import { openParent } from './parent.ts'

/** Makes a macvlan network real: containers have MAC addresses of their own on an interface of the host (options `parent`, `macvlan_mode`). */
export async function openMacvlanNetwork(ports: DriverPorts, info: NetworkInfo, pools: ReadonlyMap<4 | 6, NetworkPool>): Promise<OpenNetwork> {
  const modeName = option(info, 'macvlan_mode', 'bridge')
  const mode = link.MACVLAN_MODES[modeName]
  if (mode === undefined) throw new EngineError('invalid', `unknown macvlan mode "${modeName}": expected one of ${Object.keys(link.MACVLAN_MODES).join(', ')}`)
  const parent = await openParent(ports.launcher, info)
  const mtu = Number(option(info, 'com.docker.network.driver.mtu', '0'))
  return {
    info,
    pools: new Map([...pools].map(([family, pool]) => [family, parent.own ? { ...pool, gateway: undefined } : pool])),
    firewalled: undefined,
    attach(plan) {
      const created = link.createMacvlan({ name: plan.interfaceName, index: plan.index, parent: parent.index, mode, mtu, mac: plan.mac })
      return { host: [{ what: `macvlan on ${parent.name}`, bytes: created.bytes, acks: 1, pidAt: [created.pidAt] }], inside: [insideMessages(plan)], sysctls: insideSettings(plan) }
    },
    remove: () => parent.remove(),
  }
}
