import { isSince } from '@gantry/api'
import type { EndpointInfo, EndpointRequest, NetworkInfo } from '@gantry/libnetwork'
import type { Container } from '../container.ts'
import { endpointsOf } from './networking.ts'

/** What the views of a container's networks need. */
export interface NetworkViewPorts {
  network(name: string): NetworkInfo | undefined
}

/** `NetworkSettings.Ports`: null for exposed ones that are not published. */
export function portMap(container: Container): Readonly<Record<string, readonly { readonly HostIp: string; readonly HostPort: string }[] | null>> {
  const ports: Record<string, { HostIp: string; HostPort: string }[] | null> = {}
  if (container.task === undefined) return ports
  for (const key of Object.keys(container.document.config.ExposedPorts ?? {})) ports[key.includes('/') ? key : `${key}/tcp`] = null
  for (const binding of container.sandbox?.bindings ?? []) {
    const key = `${binding.port}/${binding.protocol}`
    ports[key] = [...(ports[key] ?? []), { HostIp: binding.hostIp, HostPort: String(binding.hostPort) }]
  }
  return ports
}

/** One entry of `NetworkSettings.Networks`. */
function endpointView(request: EndpointRequest, endpoint: EndpointInfo | undefined, networkId: string): unknown {
  const { ipv4, ipv6, linkLocal } = request
  const ipam = ipv4 === '' && ipv6 === '' && linkLocal.length === 0 ? null : { ...(ipv4 !== '' && { IPv4Address: ipv4 }), ...(ipv6 !== '' && { IPv6Address: ipv6 }), ...(linkLocal.length > 0 && { LinkLocalIPs: linkLocal }) }
  return {
    IPAMConfig: ipam, Links: request.links.length === 0 ? null : request.links, Aliases: request.aliases.length === 0 ? null : request.aliases, MacAddress: endpoint?.mac ?? request.mac, DriverOpts: Object.keys(request.options).length === 0 ? null : request.options, GwPriority: request.gatewayPriority,
    NetworkID: networkId, EndpointID: endpoint?.id ?? '', Gateway: endpoint?.ipv4?.gateway ?? '', IPAddress: endpoint?.ipv4?.address ?? '', IPPrefixLen: endpoint?.ipv4?.prefix ?? 0,
    IPv6Gateway: endpoint?.ipv6?.gateway ?? '', GlobalIPv6Address: endpoint?.ipv6?.address ?? '', GlobalIPv6PrefixLen: endpoint?.ipv6?.prefix ?? 0, DNSNames: endpoint === undefined || endpoint.dnsNames.length === 0 ? null : endpoint.dnsNames,
  }
}

/** `NetworkSettings.Networks`. */
export function networksView(ports: NetworkViewPorts, container: Container): Readonly<Record<string, unknown>> {
  const running = container.task !== undefined
  return Object.fromEntries(
    endpointsOf(container.document).map((request) => {
      const network = ports.network(request.network)
      const shown = container.document.hostConfig.NetworkMode === 'bridge' && request.network === 'none' ? 'bridge' : (network?.name ?? request.network)
      return [shown, endpointView(request, container.sandbox?.endpoints.find((one) => one.networkId === network?.id), running ? (network?.id ?? '') : '')]
    }),
  )
}

/** `NetworkSettings` of inspect. */
export function networkSettings(ports: NetworkViewPorts, container: Container, version: number): unknown {
  const endpoint = container.sandbox?.endpoints.find((one) => one.networkName === 'bridge')
  const running = container.task !== undefined
  const pid = container.task?.pid ?? 0
  const flat = {
    EndpointID: endpoint?.id ?? '', Gateway: endpoint?.ipv4?.gateway ?? '', GlobalIPv6Address: endpoint?.ipv6?.address ?? '', GlobalIPv6PrefixLen: endpoint?.ipv6?.prefix ?? 0, IPAddress: endpoint?.ipv4?.address ?? '', IPPrefixLen: endpoint?.ipv4?.prefix ?? 0, IPv6Gateway: endpoint?.ipv6?.gateway ?? '', MacAddress: endpoint?.mac ?? '',
  }
  const sandbox = { SandboxID: running ? container.id : '', SandboxKey: running ? `/proc/${pid}/ns/net` : '', Ports: portMap(container) }
  return {
    ...(!isSince(version, '1.52') && { Bridge: '', ...sandbox, HairpinMode: false, LinkLocalIPv6Address: '', LinkLocalIPv6PrefixLen: 0, SecondaryIPAddresses: null, SecondaryIPv6Addresses: null, ...flat }),
    ...(isSince(version, '1.52') && sandbox),
    Networks: networksView(ports, container),
  }
}
