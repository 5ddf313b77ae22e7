import type { ContainerConfig, HostConfig } from '@gantry/api'
import { parseAddress, type PortRequest } from '@gantry/libnetwork'
import { EngineError } from '@gantry/std'

/** `80/tcp`, `80`, `53/udp`. */
export function parsePort(text: string): { readonly port: number; readonly protocol: PortRequest['protocol'] } {
  const match = /^(\d{1,5})(?:\/(tcp|udp|sctp))?$/i.exec(text)
  const port = Number(match?.[1])
  if (match === null || port < 1 || port > 65535) throw new EngineError('invalid', `invalid port specification: "${text}"`)
  return { port, protocol: (match[2]?.toLowerCase() ?? 'tcp') as PortRequest['protocol'] }
}

function hostRange(text: string): readonly [number, number] {
  if (text === '' || text === '0') return [0, 0]
  const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text)
  const [from, to] = [Number(match?.[1]), Number(match?.[2] ?? match?.[1])]
  if (match === null || from > to || to > 65535 || from < 1) throw new EngineError('invalid', `invalid port specification: "${text}"`)
  return [from, to]
}

function hostAddress(text: string): string {
  const plain = text.replace(/^\[|\]$/g, '')
  if (plain !== '') parseAddress(plain, 'HostIp')
  return plain
}

/** What has to be published at a start. */
export function portRequests(config: ContainerConfig, hostConfig: HostConfig): readonly PortRequest[] {
  const requests: PortRequest[] = []
  for (const [key, bindings] of Object.entries(hostConfig.PortBindings)) {
    const { port, protocol } = parsePort(key)
    for (const binding of bindings.length === 0 ? [{ HostIp: '', HostPort: '' }] : bindings) {
      const [hostPort, hostPortEnd] = hostRange(binding.HostPort)
      requests.push({ port, protocol, hostIp: hostAddress(binding.HostIp), hostPort, hostPortEnd })
    }
  }
  if (hostConfig.PublishAllPorts) {
    for (const key of Object.keys(config.ExposedPorts ?? {})) {
      const { port, protocol } = parsePort(key)
      if (!requests.some((one) => one.port === port && one.protocol === protocol)) requests.push({ port, protocol, hostIp: '', hostPort: 0, hostPortEnd: 0 })
    }
  }
  return requests
}
