import { type Launcher, link } from '@gantry/linux'
import { EngineError } from '@gantry/std'
import { findLink, rtnetlink } from '../host.ts'
import type { NetworkInfo } from '../network.ts'
import { option } from './driver.ts'

const VLAN = /^(.+)\.(\d{1,4})$/

/** The interface of the host that a network stands on which has no bridge. */
export interface Parent {
  readonly name: string
  readonly index: number
  /** Made for this network: it leads nowhere. */
  readonly own: boolean
  /** Removes what was made for the network. */
  remove(): Promise<void>
}

/** Finds or makes the parent (option `parent`): an interface, a VLAN of one (`eth0.10`), or a pair of links that leads nowhere. */
export async function openParent(launcher: Launcher, info: NetworkInfo): Promise<Parent> {
  const wanted = option(info, 'parent', '')
  const own = wanted === '' || info.internal
  const name = own ? `dm-${info.id.slice(0, 12)}` : wanted
  const mark = `gantry ${info.driver} ${name}`
  let parent = await findLink(launcher, name)
  const vlan = VLAN.exec(name)
  if (parent === undefined && own) {
    const peer = name.replace('dm-', 'dp-')
    await rtnetlink(launcher, `make ${name}`, [link.createPair(name, peer), link.setAlias(name, mark)])
    const other = await findLink(launcher, peer)
    if (other !== undefined) await rtnetlink(launcher, `${peer} up`, [link.setLinkUp(other.index)])
  } else if (parent === undefined && vlan !== null) {
    const trunk = await findLink(launcher, vlan[1] ?? '')
    if (trunk === undefined) throw new EngineError('invalid', `invalid parent ${name}: there is no interface ${vlan[1]}`)
    await rtnetlink(launcher, `make ${name}`, [link.createVlan(name, trunk.index, Number(vlan[2])), link.setAlias(name, mark)])
  }
  parent ??= await findLink(launcher, name)
  if (parent === undefined) throw new EngineError('invalid', `invalid parent: there is no interface ${name}`)
  const { index, alias } = parent
  return {
    name, index, own,
    async remove() {
      if (alias !== mark) return
      const now = await findLink(launcher, name)
      if (now?.index === index) await rtnetlink(launcher, `remove ${name}`, [link.deleteLink(index)])
    },
  }
}
