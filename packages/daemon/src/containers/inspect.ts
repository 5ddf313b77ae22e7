import { versionNumber } from '@gantry/api'
import type { Graph } from '@gantry/graph'
import type { EndpointInfo, EndpointRequest, NetworkInfo } from '@gantry/libnetwork'
import { formatNanos } from '@gantry/std'
import { settleSecurity } from './spec/security.ts'
import type { Container, ExecInstance } from './container.ts'
import { healthView } from './health.ts'
import { endpointsOf } from './network/networking.ts'
import { mountPoint } from './record.ts'
import type { ContainerStore } from './store.ts'
import { etcDirectory } from './spec/etc-files.ts'
import { timeText } from './timeline.ts'

/** What the views need of the rest of the house. */
export interface ViewPorts {
  readonly graph: Graph
  readonly execRoot: string
  network(name: string): NetworkInfo | undefined
  readonly apparmor: boolean
  logPath(container: Container): string
  readonly store: Pick<ContainerStore, 'links' | 'consumers'>
}

const millis = (ms: number): string => formatNanos(BigInt(ms) * 1_000_000n)

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
export function networksView(ports: ViewPorts, container: Container): Readonly<Record<string, unknown>> {
  const running = container.task !== undefined
  return Object.fromEntries(
    endpointsOf(container.document).map((request) => {
      const network = ports.network(request.network)
      const shown = container.document.hostConfig.NetworkMode === 'bridge' && request.network === 'none' ? 'bridge' : (network?.name ?? request.network)
      return [shown, endpointView(request, container.sandbox?.endpoints.find((one) => one.networkId === network?.id), running ? (network?.id ?? '') : '')]
    }),
  )
}

function networkSettings(ports: ViewPorts, container: Container, version: number): unknown {
  const endpoint = container.sandbox?.endpoints.find((one) => one.networkName === 'bridge')
  const running = container.task !== undefined
  const pid = container.task?.pid ?? 0
  const flat = {
    EndpointID: endpoint?.id ?? '', Gateway: endpoint?.ipv4?.gateway ?? '', GlobalIPv6Address: endpoint?.ipv6?.address ?? '', GlobalIPv6PrefixLen: endpoint?.ipv6?.prefix ?? 0, IPAddress: endpoint?.ipv4?.address ?? '', IPPrefixLen: endpoint?.ipv4?.prefix ?? 0, IPv6Gateway: endpoint?.ipv6?.gateway ?? '', MacAddress: endpoint?.mac ?? '',
  }
  return {
    ...(version < versionNumber('1.52') && { Bridge: '', HairpinMode: false, LinkLocalIPv6Address: '', LinkLocalIPv6PrefixLen: 0, SecondaryIPAddresses: null, SecondaryIPv6Addresses: null, ...flat }),
    SandboxID: running ? container.id : '',
    SandboxKey: running ? `/proc/${pid}/ns/net` : '',
    Ports: portMap(container),
    Networks: networksView(ports, container),
  }
}

/** `State` of inspect. */
export function stateView(container: Container): unknown {
  const { state } = container
  const running = container.task !== undefined
  const health = healthView(container)
  const status = container.removing ? 'removing' : state.restarting && !running ? 'restarting' : running ? (state.paused ? 'paused' : 'running') : state.status
  return {
    Status: status, Running: running, Paused: state.paused, Restarting: state.restarting && !running, OOMKilled: state.oomKilled, Dead: false, Pid: container.task?.pid ?? 0, ExitCode: state.exitCode, Error: state.error,
    StartedAt: timeText(state.startedAt), FinishedAt: timeText(state.finishedAt), ...(health !== undefined && { Health: health }),
  }
}

/** Bytes that the container has written, and with its image's. */
export async function sizesOf(graph: Graph, container: Container): Promise<{ readonly SizeRw: number; readonly SizeRootFs: number }> {
  const image = graph.images.get(container.document.imageId)
  const SizeRw = await graph.changedBytes(container.id, image)
  return { SizeRw, SizeRootFs: SizeRw + (image === undefined ? 0 : graph.images.bytes(image)) }
}

/** `HostConfig.Links`: `/source:/consumer/alias`. */
function linksView(ports: ViewPorts, container: Container): readonly string[] | null {
  const links = [...ports.store.links(container)].map(([alias, source]) => `/${source.name}:/${container.name}/${alias}`)
  return links.length === 0 ? null : links
}

/** All names of a container: its own, and `consumer/alias` of those that are linked to it. */
export function namesOf(ports: ViewPorts, container: Container): readonly string[] {
  return [`/${container.name}`, ...ports.store.consumers(container).map(([consumer, alias]) => `/${consumer.name}/${alias}`)].sort()
}

/** `GET /containers/{id}/json`. */
export async function inspectContainer(ports: ViewPorts, container: Container, version: number, size: boolean): Promise<unknown> {
  const { document, state } = container
  const places = ports.graph.places(ports.graph.images.get(document.imageId))
  const etc = etcDirectory(ports.execRoot, container.id)
  const started = state.startedAt !== ''
  return {
    Id: container.id,
    Created: millis(document.createdAt),
    Path: document.path,
    Args: document.args,
    State: stateView(container),
    Image: document.imageId,
    ResolvConfPath: started ? `${etc}/resolv.conf` : '',
    HostnamePath: started ? `${etc}/hostname` : '',
    HostsPath: started ? `${etc}/hosts` : '',
    LogPath: document.hostConfig.LogConfig.Type !== 'json-file' ? '' : ports.logPath(container),
    Name: `/${container.name}`,
    RestartCount: state.restartCount,
    Driver: ports.graph.driver.name,
    Platform: 'linux',
    MountLabel: '',
    ProcessLabel: '',
    AppArmorProfile: settleSecurity(document.hostConfig, [], ports.apparmor).apparmor ?? (ports.apparmor ? 'unconfined' : ''),
    ExecIDs: container.execs.size === 0 ? null : [...container.execs.keys()],
    HostConfig: { ...document.hostConfig, Links: linksView(ports, container) },
    GraphDriver: { Data: ports.graph.driver.describe(container.id, places), Name: ports.graph.driver.name },
    ...(size && (await sizesOf(ports.graph, container))),
    Mounts: document.mounts.map(mountPoint),
    Config: document.config,
    NetworkSettings: networkSettings(ports, container, version),
  }
}

/** `GET /exec/{id}/json`. */
export function inspectExec(container: Container, instance: ExecInstance): unknown {
  return {
    ID: instance.id, Running: instance.status === 'running', ExitCode: instance.exitCode ?? null,
    ProcessConfig: { tty: instance.tty, entrypoint: instance.command[0] ?? '', arguments: instance.command.slice(1), privileged: instance.privileged, ...(instance.user !== '' && { user: instance.user }) },
    OpenStdin: instance.openStdin, OpenStderr: instance.attachStderr, OpenStdout: instance.attachStdout, CanRemove: instance.status === 'exited', ContainerID: container.id, DetachKeys: instance.detachKeys, Pid: instance.process?.pid ?? 0,
  }
}
