import type { Launcher } from '@gantry/linux'
import { EngineError, logger } from '@gantry/std'
import { contains, formatAddress, formatSubnet, parseAddress, parseCidr, type Subnet } from './address.ts'
import { findLink, hostAddresses, hostSubnets } from './host.ts'
import { type DefaultPool, firstAddress, freeSubnet } from './ipam.ts'
import type { NetworkInfo, PoolConfig } from './network.ts'

const log = logger('libnetwork.bridge')

/** How the default bridge is set up (`--bridge`, `--bip`, `--fixed-cidr`, `--default-gateway`, `--mtu`, `--icc`, `--ip-masq`, `--ip`, `--ipv6`). */
export interface DefaultBridge {
  readonly name: string
  readonly bip: string | undefined
  readonly fixedCidr: string | undefined
  readonly gateway: string | undefined
  readonly ipv6: boolean
  readonly fixedCidrV6: string | undefined
  readonly gatewayV6: string | undefined
  readonly mtu: number
  readonly icc: boolean
  readonly masquerade: boolean
  readonly hostBinding: string
}

function pool(subnet: Subnet, address: string, range: string | undefined, gateway: string | undefined, flag: string): PoolConfig {
  if (gateway !== undefined && !contains(subnet, parseAddress(gateway, flag))) throw new EngineError('invalid', `${flag}: ${gateway} is not in ${formatSubnet(subnet)}`)
  return { subnet: formatSubnet(subnet), ipRange: range ?? '', gateway: gateway ?? address, aux: gateway === undefined || gateway === address ? {} : { DefaultGatewayIPv4: address } }
}

/** The default bridge as a network: with the address that was asked for, the one that the interface has, or one that is free. */
export async function builtinBridge(launcher: Launcher, options: DefaultBridge, made: { readonly id: string; readonly createdAt: number }, defaults: readonly DefaultPool[], others: readonly Subnet[]): Promise<NetworkInfo> {
  const found = await findLink(launcher, options.name)
  const addresses = found === undefined ? [] : (await hostAddresses(launcher)).filter((one) => one.index === found.index)
  const [first4, first6] = [addresses.find((one) => one.address.family === 4), addresses.find((one) => one.address.family === 6 && !formatAddress(one.address).startsWith('fe80:'))]
  const free = async (family: 4 | 6): Promise<Subnet> => freeSubnet(family, defaults, [...others, ...(await hostSubnets(launcher))])
  const pools: PoolConfig[] = []
  if (options.bip !== undefined) {
    const { address, subnet } = parseCidr(options.bip, '--bip')
    if (address.family !== 4 || subnet.prefix > 30) throw new EngineError('invalid', `--bip: invalid CIDR address: ${options.bip}`)
    pools.push(pool(subnet, formatAddress(address), options.fixedCidr, options.gateway, '--default-gateway'))
  } else if (first4 !== undefined) {
    pools.push(pool(first4.subnet, formatAddress(first4.address), options.fixedCidr, options.gateway, '--default-gateway'))
  } else {
    const subnet = await free(4)
    log.info('chose a subnet for the bridge', { subnet: formatSubnet(subnet) })
    pools.push(pool(subnet, formatAddress(firstAddress(subnet, [])), options.fixedCidr, options.gateway, '--default-gateway'))
  }
  if (options.fixedCidr !== undefined) parseCidr(options.fixedCidr, '--fixed-cidr')
  if (options.ipv6) {
    const subnet = options.fixedCidrV6 !== undefined ? parseCidr(options.fixedCidrV6, '--fixed-cidr-v6').subnet : (first6?.subnet ?? (await free(6)))
    pools.push(pool(subnet, formatAddress(firstAddress(subnet, [])), undefined, options.gatewayV6, '--default-gateway-v6'))
  }
  return {
    ...made, name: 'bridge', driver: 'bridge', ipv4: true, ipv6: options.ipv6, internal: false, attachable: false, labels: {}, builtin: true,
    options: {
      'com.docker.network.bridge.default_bridge': 'true',
      'com.docker.network.bridge.enable_icc': String(options.icc),
      'com.docker.network.bridge.enable_ip_masquerade': String(options.masquerade),
      'com.docker.network.bridge.host_binding_ipv4': options.hostBinding === '' ? '0.0.0.0' : options.hostBinding,
      'com.docker.network.bridge.name': options.name,
      'com.docker.network.driver.mtu': String(options.mtu),
    },
    ipam: { driver: 'default', options: {}, pools },
  }
}
