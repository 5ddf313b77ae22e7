import type { NetworkInfo } from '../network.ts'
import { openPools } from '../pools.ts'
import { openBridgeNetwork } from './bridge.ts'
import type { DriverPorts, OpenNetwork } from './driver.ts'
import { openIpvlanNetwork } from './ipvlan.ts'
import { openMacvlanNetwork } from './macvlan.ts'

/** Makes a network real; undefined for those that have nothing on the host. */
export async function openNetwork(ports: DriverPorts, info: NetworkInfo): Promise<OpenNetwork | undefined> {
  const pools = openPools(info.ipam.pools)
  if (info.driver === 'bridge') return openBridgeNetwork(ports, info, pools)
  if (info.driver === 'macvlan') return openMacvlanNetwork(ports, info, pools)
  if (info.driver === 'ipvlan') return openIpvlanNetwork(ports, info, pools)
  return undefined
}

export { bridgeSettings, openForwarding } from './bridge.ts'
export { type DriverPorts, linkNames, type OpenNetwork } from './driver.ts'
