import { CLONE, type Launcher, link, ProgramError, SOCKET, syscallProgram } from '@gantry/linux'
import { EngineError } from '@gantry/std'
import type { NetworkInfo } from '../network.ts'
import { type DriverPorts, insideMessages, insideSettings, type NetworkPool, type OpenNetwork, option } from './driver.ts'
import { openParent } from './parent.ts'

const EOPNOTSUPP = 95
const LOOPBACK = 1

function chosen(info: NetworkInfo, name: string, otherwise: string, known: Readonly<Record<string, number>>): number {
  const text = option(info, name, otherwise)
  const number = known[text]
  if (number === undefined) throw new EngineError('invalid', `unknown ${name.replace('_', ' ')} "${text}": expected one of ${Object.keys(known).join(', ')}`)
  return number
}

/** Asks the kernel for such a link above the loopback of an empty network: it refuses, but a kernel that does not know the kind refuses otherwise. */
async function checkKernel(launcher: Launcher): Promise<void> {
  const { bytes } = link.createIpvlan({ name: 'probe', index: 99, parent: LOOPBACK, mode: 0, flag: 0, mtu: 0, pid: 0 })
  try {
    await launcher.fork(
      syscallProgram((p) => {
        const fd = p.register()
        p.call('an empty network', 'unshare', [CLONE.NEWNET])
        p.call('netlink socket', 'socket', [SOCKET.NETLINK, SOCKET.RAW | SOCKET.CLOEXEC, SOCKET.ROUTE], { to: fd })
        p.op('is there ipvlan', 'netlink', [fd, p.bytes(bytes), bytes.length, 1])
      }),
    )
  } catch (cause) {
    if (!(cause instanceof ProgramError)) throw cause
    if (cause.errno === EOPNOTSUPP) throw new EngineError('unsupported', 'ipvlan: this kernel has no such links (CONFIG_IPVLAN); macvlan serves most of their uses', { cause })
  }
}

/** Makes an ipvlan network real: containers have addresses of their own behind the MAC address of an interface of the host (options `parent`, `ipvlan_mode`, `ipvlan_flag`). */
export async function openIpvlanNetwork(ports: DriverPorts, info: NetworkInfo, pools: ReadonlyMap<4 | 6, NetworkPool>): Promise<OpenNetwork> {
  const [mode, flag] = [chosen(info, 'ipvlan_mode', 'l2', link.IPVLAN_MODES), chosen(info, 'ipvlan_flag', 'bridge', link.IPVLAN_FLAGS)]
  await checkKernel(ports.launcher)
  const parent = await openParent(ports.launcher, info)
  const mtu = Number(option(info, 'com.docker.network.driver.mtu', '0'))
  // Where the kernel routes (l3), all that is not here goes to the parent, without a gateway.
  const routed = mode !== link.IPVLAN_MODES['l2']
  return {
    info,
    pools: new Map([...pools].map(([family, pool]) => [family, parent.own || routed ? { ...pool, gateway: undefined } : pool])),
    firewalled: undefined,
    attach(plan) {
      const created = link.createIpvlan({ name: plan.interfaceName, index: plan.index, parent: parent.index, mode, flag, mtu })
      const inside = insideMessages(plan, routed && !parent.own ? [...pools.keys()].map((family) => link.addDeviceRoute(plan.index, family === 6)) : [])
      return { host: [{ what: `ipvlan on ${parent.name}`, bytes: created.bytes, acks: 1, pidAt: [created.pidAt] }], inside: [inside], sysctls: insideSettings(plan) }
    },
    remove: () => parent.remove(),
  }
}
