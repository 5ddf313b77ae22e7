import type { Launcher } from '@gantry/linux'
import { EngineError, newId } from '@gantry/std'
import type { Family, Subnet } from './address.ts'
import { hostSubnets } from './host.ts'
import type { DefaultPool } from './ipam.ts'
import { DRIVERS, familiesOf, type NetworkInfo, type NetworkRequest } from './network.ts'
import { settlePools } from './pools.ts'

/** What a new network has to get along with. */
export interface Surroundings {
  readonly launcher: Launcher
  readonly pools: readonly DefaultPool[]
  readonly ipv6ByDefault: boolean
  /** Subnets of the other networks. */
  readonly networks: readonly Subnet[]
}

/** Checks what is asked for, and completes it. */
export async function newNetwork(request: NetworkRequest, around: Surroundings): Promise<NetworkInfo> {
  const driver = request.driver === '' || request.driver === 'default' ? 'bridge' : request.driver
  if (driver === 'host' || driver === 'null' || driver === 'none') throw new EngineError('forbidden', `only one instance of "${driver === 'none' ? 'null' : driver}" network is allowed`)
  if (!(DRIVERS as readonly string[]).includes(driver)) throw new EngineError('not-found', `plugin "${driver}" not found`)
  if (!['', 'default', 'null'].includes(request.ipam.driver)) throw new EngineError('not-found', `plugin "${request.ipam.driver}" not found`)
  const asksV6 = request.ipam.pools.some((pool) => pool.subnet.includes(':'))
  const ipv6 = request.ipv6 ?? (asksV6 || (driver === 'bridge' && around.ipv6ByDefault))
  if (!request.ipv4 && !ipv6) throw new EngineError('invalid', 'IPv4 or IPv6 must be enabled')
  const families: readonly Family[] = familiesOf({ ipv4: request.ipv4, ipv6 })
  const settled = settlePools(request, families, around.pools, { networks: around.networks, host: await hostSubnets(around.launcher) })
  return {
    id: newId(), name: request.name, driver: driver as NetworkInfo['driver'], createdAt: Date.now(), ipv4: request.ipv4, ipv6, internal: request.internal, attachable: request.attachable, labels: request.labels, options: request.options,
    ipam: { driver: request.ipam.driver === '' ? 'default' : request.ipam.driver, options: request.ipam.options, pools: settled }, builtin: false,
  }
}
