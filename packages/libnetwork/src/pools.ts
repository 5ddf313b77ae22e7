import { EngineError } from '@gantry/std'
import { type Address, contains, type Family, formatAddress, formatSubnet, overlaps, parseAddress, parseCidr, type Subnet } from './address.ts'
import { type NetworkPool } from './drivers/driver.ts'
import { addressPool, type DefaultPool, firstAddress, freeSubnet } from './ipam.ts'
import type { NetworkRequest, PoolConfig } from './network.ts'

function subnetOf(text: string): Subnet {
  try {
    return parseCidr(text, 'IPAM.Config.Subnet').subnet
  } catch (cause) {
    throw new EngineError('invalid', `invalid network config:\ninvalid subnet ${text}: invalid CIDR block notation`, { cause })
  }
}

/** Reads what was asked for of one pool, and completes it: every pool has a gateway. */
function completed(config: PoolConfig, family: Family, pools: readonly DefaultPool[], inUse: readonly Subnet[]): PoolConfig {
  const subnet = config.subnet === '' ? freeSubnet(family, pools, inUse) : subnetOf(config.subnet)
  const range = config.ipRange === '' ? undefined : parseCidr(config.ipRange, 'IPAM.Config.IPRange').subnet
  if (range !== undefined && (range.prefix < subnet.prefix || !overlaps(subnet, range))) throw new EngineError('invalid', `invalid network config:\ninvalid ip-range ${config.ipRange}: parent subnet is ${formatSubnet(subnet)}`)
  const aux = Object.entries(config.aux).map(([name, text]): readonly [string, Address] => [name, parseAddress(text, `IPAM.Config.AuxiliaryAddresses.${name}`)])
  for (const [name, address] of aux) if (!contains(subnet, address)) throw new EngineError('invalid', `invalid network config:\ninvalid auxiliary address ${name}:${formatAddress(address)}: parent subnet is ${formatSubnet(subnet)}`)
  const gateway = config.gateway === '' ? firstAddress(range ?? subnet, aux.map(([, address]) => address)) : parseAddress(config.gateway.split('/')[0] ?? '', 'IPAM.Config.Gateway')
  if (!contains(subnet, gateway)) throw new EngineError('invalid', `invalid network config:\ninvalid gateway ${config.gateway}: parent subnet is ${formatSubnet(subnet)}`)
  return { subnet: formatSubnet(subnet), ipRange: config.ipRange, gateway: formatAddress(gateway), aux: config.aux }
}

/** The pools of a new network: those that were asked for, and one of the default pools for a family that has none. */
export function settlePools(request: NetworkRequest, families: readonly Family[], defaults: readonly DefaultPool[], inUse: { readonly networks: readonly Subnet[]; readonly host: readonly Subnet[] }): readonly PoolConfig[] {
  const pools: PoolConfig[] = []
  const taken: Subnet[] = []
  for (const config of request.ipam.pools) {
    if (config.subnet === '' && (config.ipRange !== '' || config.gateway !== '' || Object.keys(config.aux).length > 0)) throw new EngineError('invalid', 'invalid network config:\nno matching subnet for range, gateway or aux-address')
    if (config.subnet === '') continue
    const subnet = subnetOf(config.subnet)
    if (!families.includes(subnet.family)) throw new EngineError('invalid', `IPv${subnet.family} subnet ${config.subnet} of a network without IPv${subnet.family}`)
    if ([...inUse.networks, ...taken].some((one) => overlaps(one, subnet))) throw new EngineError('forbidden', 'invalid pool request: Pool overlaps with other one on this address space')
    taken.push(subnet)
    pools.push(completed(config, subnet.family, defaults, []))
  }
  for (const family of families) {
    if (pools.some((pool) => parseCidr(pool.subnet, 'subnet').subnet.family === family)) continue
    pools.push(completed({ subnet: '', ipRange: '', gateway: '', aux: {} }, family, defaults, [...inUse.networks, ...inUse.host]))
  }
  return pools
}

/** Opens the pools of a network; one a family is used. */
export function openPools(configs: readonly PoolConfig[]): ReadonlyMap<Family, NetworkPool> {
  const pools = new Map<Family, NetworkPool>()
  for (const config of configs) {
    const { subnet } = parseCidr(config.subnet, 'subnet')
    if (pools.has(subnet.family)) continue
    const gateway = config.gateway === '' ? undefined : parseAddress(config.gateway, 'gateway')
    const reserved = [...(gateway === undefined ? [] : [gateway]), ...Object.entries(config.aux).map(([name, text]) => parseAddress(text, name))]
    pools.set(subnet.family, { pool: addressPool(subnet, reserved, config.ipRange === '' ? subnet : parseCidr(config.ipRange, 'ip-range').subnet), gateway })
  }
  return pools
}
