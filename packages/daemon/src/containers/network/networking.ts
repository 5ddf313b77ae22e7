import { type Controller, type EndpointRequest, NO_ATTACHMENT, plainEndpoint, type Sandbox } from '@gantry/libnetwork'
import { EngineError } from '@gantry/std'
import type { Container } from '../container.ts'
import { type Link, linkedPorts, linksOf, liveLinks } from './links.ts'
import type { ContainerDocument } from '../record.ts'
import { portRequests } from '../request/ports.ts'
import type { ContainerStore } from '../store.ts'
import { hostServers, writeHosts, writeResolvConf } from '../spec/etc-files.ts'

/** What a container's network needs of the rest of the house. */
export interface NetworkingPorts {
  readonly networks: Controller
  readonly dns: { readonly servers: readonly string[]; readonly search: readonly string[]; readonly options: readonly string[] }
  /** What `host-gateway` means; empty: the gateway of the container's own network. */
  readonly hostGateway: string
  readonly store: ContainerStore
}

/** The networks that a container is to be in; records of earlier versions name only a mode. */
export function endpointsOf(document: ContainerDocument): readonly EndpointRequest[] {
  return document.endpoints ?? (document.networkMode.startsWith('container:') ? [] : [plainEndpoint(document.networkMode)])
}

/** Clients know a network that could not be joined by these words. */
function inWordsOfDocker(container: Container, cause: unknown): never {
  if (!(cause instanceof EngineError)) throw cause
  if (cause.message.startsWith('invalid config for network')) throw cause
  const endpoint = cause.message.startsWith('Bind for ') ? `driver failed programming external connectivity on endpoint ${container.name} (${container.id}): ` : ''
  throw new EngineError(cause.kind, `failed to set up container networking: ${endpoint}${cause.message}`, { cause })
}

/** Joins the container's networks. */
export async function joinNetwork(ports: NetworkingPorts, container: Container): Promise<{ readonly sandbox: Sandbox; readonly links: readonly Link[] }> {
  const { document } = container
  const { config, hostConfig } = document
  if (document.networkMode.startsWith('container:')) return { sandbox: { attachment: NO_ATTACHMENT, endpoints: [], bindings: [], resolver: false, release: async () => undefined }, links: [] }
  const links = linksOf(container, ports.store.links(container))
  const servers = hostConfig.Dns.length > 0 ? hostConfig.Dns : ports.dns.servers.length > 0 ? ports.dns.servers : hostServers()
  const sandbox = await ports.networks.join({
    containerId: container.id, containerName: container.name, hostname: config.Hostname, endpoints: endpointsOf(document), ports: portRequests(config, hostConfig), dns: { servers }, links: linkedPorts(links),
  }).catch((cause: unknown) => inWordsOfDocker(container, cause))
  return { sandbox, links }
}

/** What /etc says of a container's network. */
export function etcInput(ports: NetworkingPorts, container: Container, sandbox: Sandbox, links: readonly Link[], directory: string, owner: readonly [number, number]): Parameters<typeof writeHosts>[0] {
  return { document: container.document, directory, endpoints: sandbox.endpoints, resolver: sandbox.resolver, dns: ports.dns, hostGateway: ports.hostGateway, links, owner }
}

/** What changing the networks of a container needs. */
export interface ConnectingPorts extends NetworkingPorts {
  replace(container: Container, document: ContainerDocument): void
  etcDirectory(id: string): string
  owner(container: Container): readonly [number, number]
}

/** Joins a network, now or at the next start. */
export async function connectContainer(ports: ConnectingPorts, container: Container, request: EndpointRequest): Promise<void> {
  const { document } = container
  const before = endpointsOf(document).filter((one) => one.network !== 'none')
  if (container.task !== undefined) await ports.networks.connect(container.id, request, container.task.pid)
  ports.replace(container, { ...document, endpoints: [...before.filter((one) => one.network !== request.network), request] })
  refreshEtc(ports, container)
}

/** Leaves a network. */
export async function disconnectContainer(ports: ConnectingPorts, container: Container, network: { readonly id: string; readonly name: string }): Promise<void> {
  const { document } = container
  if (container.task !== undefined) await ports.networks.disconnect(container.id, network.id, container.task.pid)
  ports.replace(container, { ...document, endpoints: endpointsOf(document).filter((one) => one.network !== network.name) })
  refreshEtc(ports, container)
}

/** Files in /etc of a container that runs, written anew in place: they are mounted. */
function refreshEtc(ports: ConnectingPorts, container: Container): void {
  const { sandbox } = container
  if (container.task === undefined || sandbox === undefined) return
  const input = etcInput(ports, container, sandbox, liveLinks(ports.store.links(container)), ports.etcDirectory(container.id), ports.owner(container))
  writeHosts(input)
  writeResolvConf(input)
}

/** It has another address, perhaps: those that are linked to it know it by their hosts. */
export function refreshConsumers(ports: ConnectingPorts, container: Container): void {
  for (const [consumer] of ports.store.consumers(container)) refreshEtc(ports, consumer)
}
