import { link } from '@gantry/linux'
import { EngineError } from '@gantry/std'
import { findLink, rtnetlink } from '../host.ts'
import type { NetworkInfo } from '../network.ts'
import { type DriverPorts, insideMessages, insideSettings, type NetworkPool, type OpenNetwork, option } from './driver.ts'

const VLAN = /^(.+)\.(\d{1,4})$/

/** Makes a macvlan network real: containers have MAC addresses of their own on an interface of the host (options `parent`, `macvlan_mode`). */
export async function openMacvlanNetwork(ports: DriverPorts, info: NetworkInfo, pools: ReadonlyMap<4 | 6, NetworkPool>): Promise<OpenNetwork> {
  const { launcher } = ports
  const modeName = option(info, 'macvlan_mode', 'bridge')
  const mode = link.MACVLAN_MODES[modeName]
  if (mode === undefined) throw new EngineError('invalid', `unknown macvlan mode "${modeName}": expected one of ${Object.keys(link.MACVLAN_MODES).join(', ')}`)
  const wanted = option(info, 'parent', '')
  // Without a parent, and where nothing may leave, the network stands on a pair of links that leads nowhere.
  const own = wanted === '' || info.internal
  const parentName = own ? `dm-${info.id.slice(0, 12)}` : wanted
  const mark = `gantry macvlan ${parentName}`
  let parent = await findLink(launcher, parentName)
  const vlan = VLAN.exec(parentName)
  if (parent === undefined && own) {
    const peer = parentName.replace('dm-', 'dp-')
    await rtnetlink(launcher, `make ${parentName}`, [link.createPair(parentName, peer), link.setAlias(parentName, mark)])
    const other = await findLink(launcher, peer)
    if (other !== undefined) await rtnetlink(launcher, `${peer} up`, [link.setLinkUp(other.index)])
  } else if (parent === undefined && vlan !== null) {
    const trunk = await findLink(launcher, vlan[1] ?? '')
    if (trunk === undefined) throw new EngineError('invalid', `invalid parent ${parentName}: there is no interface ${vlan[1]}`)
    await rtnetlink(launcher, `make ${parentName}`, [link.createVlan(parentName, trunk.index, Number(vlan[2])), link.setAlias(parentName, mark)])
  }
  parent ??= await findLink(launcher, parentName)
  if (parent === undefined) throw new EngineError('invalid', `invalid parent: there is no interface ${parentName}`)
  const { index, alias } = parent
  const mtu = Number(option(info, 'com.docker.network.driver.mtu', '0'))
  return {
    info,
    pools: new Map([...pools].map(([family, pool]) => [family, own ? { ...pool, gateway: undefined } : pool])),
    firewalled: undefined,
    attach(plan) {
      const created = link.createMacvlan({ name: plan.interfaceName, index: plan.index, parent: index, mode, mtu, mac: plan.mac })
      return { host: [{ what: `macvlan on ${parentName}`, bytes: created.bytes, acks: 1, pidAt: [created.pidAt] }], inside: [insideMessages(plan)], sysctls: insideSettings(plan) }
    },
    async remove() {
      if (alias !== mark) return
      const now = await findLink(launcher, parentName)
      if (now?.index === index) await rtnetlink(launcher, `remove ${parentName}`, [link.deleteLink(index)])
    },
  }
}
