import { batch, type Launcher, link } from '@gantry/linux'
import { EngineError, keyedLock, logger, undoStack } from '@gantry/std'
import { createNameService } from './dns/service.ts'
import { endpointAttachment, movedGateways, reserveEndpoint, returnEndpoint, takeEndpoint } from './endpoints.ts'
import { createExposure, type OpenNetwork } from './exposure.ts'
import type { Firewall, OpenPort, PublishedPort } from './firewall/firewall.ts'
import { attachRunning, requestInside } from './host.ts'
import { freshLive, hasNames, type Live } from './live.ts'
import type { Attachment, EndpointInfo, EndpointRequest, JoinRequest, Sandbox } from './network.ts'
import type { HeldPort, PortAllocator, PortRequest, Protocol } from './port-allocator.ts'
import { explainReach, type Verdict } from './why.ts'
import { type NetworkStore, storedPort } from './store.ts'

const log = logger('libnetwork.sandbox')
const ENODEV = 19

/** What sandboxes stand on. */
export interface SandboxPorts {
  readonly launcher: Launcher
  readonly store: NetworkStore
  readonly firewall: Firewall | undefined
  readonly ports: PortAllocator
  readonly hostBinding: string
  readonly resolversAtStart: boolean
  network(id: string): OpenNetwork | undefined
}

/** Networks of containers. */
export interface Sandboxes {
  join(request: JoinRequest, wanted: readonly { readonly request: EndpointRequest; readonly network: OpenNetwork }[]): Promise<Sandbox>
  started(containerId: string, pid: number): Promise<void>
  connect(containerId: string, request: EndpointRequest, network: OpenNetwork, pid: number): Promise<void>
  disconnect(containerId: string, networkId: string, pid: number): Promise<void>
  rename(containerId: string, name: string): void
  renameNetwork(id: string, name: string): void
  republish(containerId: string, ports: readonly PortRequest[]): Promise<void>
  restore(containerId: string, pid: number): Promise<Sandbox | undefined>
  /** Whether one reaches a port of another, and why. `from`: a container's id, `host` or `outside`. */
  why(from: string, containerId: string, port: number, protocol: Protocol): Verdict
  members(networkId: string): readonly { readonly name: string; readonly endpoint: EndpointInfo }[]
  forgetAllBut(running: ReadonlySet<string>): void
  /** What all of them come to, for a table that is built anew. */
  firewalled(): { readonly ports: readonly PublishedPort[]; readonly open: readonly OpenPort[] }
  /** Ends what this process serves. */
  close(): void
}

/** Makes the keeper of sandboxes. */
export function createSandboxes(ports: SandboxPorts): Sandboxes {
  const { launcher, store } = ports
  const lives = new Map<string, Live>()
  const names = createNameService(launcher, ports.resolversAtStart, lives)
  const lock = keyedLock()
  const networkOf = (endpoint: EndpointInfo): OpenNetwork | undefined => ports.network(endpoint.networkId)
  const members = (networkId: string): readonly { readonly name: string; readonly endpoint: EndpointInfo }[] => [...lives.values()].flatMap((live) => live.endpoints.filter((one) => one.networkId === networkId).map((endpoint) => ({ name: live.request.containerName, endpoint })))
  const defaultEndpoint = (containerId: string): EndpointInfo | undefined => lives.get(containerId)?.endpoints.find((one) => networkOf(one)?.info.builtin === true)
  const exposure = createExposure({ launcher, firewall: ports.firewall, hostBinding: ports.hostBinding, network: (id) => ports.network(id), defaultEndpoint })
  const save = (live: Live): void => {
    if (live.endpoints.length === 0) return store.removeSandbox(live.request.containerId)
    store.saveSandbox({ request: live.request, endpoints: live.endpoints, held: live.held.map(storedPort), resolverPort: live.resolverPort })
  }
  const live = (containerId: string): Live => {
    const found = lives.get(containerId)
    if (found === undefined) throw new EngineError('conflict', `container ${containerId} is not connected to any network`)
    return found
  }
  /** A source of links that came or went changes what its consumers may reach. */
  const refreshLinks = async (): Promise<void> => {
    for (const one of lives.values()) if (one.request.links.length > 0) await exposure.apply(one)
  }
  const release = async (one: Live): Promise<void> => {
    const { containerId } = one.request
    if (lives.get(containerId) !== one) return
    lives.delete(containerId)
    names.close(one)
    await exposure.close(one)
    await ports.ports.release(one.held)
    store.removeSandbox(containerId)
    for (const endpoint of one.endpoints) {
      const network = networkOf(endpoint)
      if (network !== undefined) returnEndpoint(network, endpoint)
    }
    await refreshLinks()
  }
  const sandboxOf = (one: Live, attachment: Attachment): Sandbox => ({
    attachment,
    get endpoints() {
      return one.endpoints
    },
    get bindings() {
      return one.publication.bindings
    },
    get resolver() {
      return hasNames(one.endpoints)
    },
    release: () => lock.run(one.request.containerId, () => release(one)),
  })
  const join: Sandboxes['join'] = async (request, wanted) => {
    await using undo = undoStack((what, cause) => log.warn('undo failed', { what, cause }))
    const one = freshLive(request)
    for (const { request: endpointRequest, network } of wanted) {
      const endpoint = takeEndpoint(network, request, endpointRequest, one.endpoints, members(network.info.id).length)
      one.endpoints.push(endpoint)
      undo.add('give the addresses back', () => returnEndpoint(network, endpoint))
    }
    if (request.ports.length > 0 && exposure.publishes(one.endpoints)) {
      one.held = await ports.ports.hold(exposure.withHost(request.ports, one.endpoints))
      undo.add('give the ports back', () => ports.ports.release(one.held))
    }
    names.plan(one)
    undo.add('expect no sockets', () => one.planned?.cancel())
    lives.set(request.containerId, one)
    undo.add('forget the sandbox', () => void lives.delete(request.containerId))
    save(one)
    undo.add('forget what was kept', () => store.removeSandbox(request.containerId))
    await exposure.apply(one)
    await refreshLinks()
    const parts = one.endpoints.map((endpoint) => {
      const network = networkOf(endpoint)
      if (network === undefined) throw new EngineError('internal', `network ${endpoint.networkName} has vanished`)
      return endpointAttachment(network, endpoint, one.endpoints)
    })
    undo.commit()
    return sandboxOf(one, {
      host: parts.flatMap((part) => part.host), inside: [batch('loopback', [link.setLinkUp(1)]), ...parts.flatMap((part) => part.inside)], sysctls: parts.flatMap((part) => part.sysctls),
      ...(one.planned !== undefined && { resolver: one.planned.plan }),
    })
  }
  /** Default routes of the families whose way out has changed. */
  const moveRoutes = async (one: Live, before: readonly EndpointInfo[], pid: number): Promise<void> => {
    const routes = movedGateways(before, one.endpoints)
    if (routes.length > 0) await requestInside(launcher, pid, 'default routes', routes)
  }
  const connect: Sandboxes['connect'] = async (containerId, request, network, pid) => {
    const one = live(containerId)
    if (one.endpoints.some((endpoint) => endpoint.networkId === network.info.id)) throw new EngineError('forbidden', `endpoint with name ${one.request.containerName} already exists in network ${network.info.name}`)
    const before = one.endpoints
    const endpoint = takeEndpoint(network, one.request, request, before, members(network.info.id).length)
    try {
      await attachRunning(launcher, pid, endpointAttachment(network, endpoint, [...before, endpoint]))
    } catch (error) {
      returnEndpoint(network, endpoint)
      throw error
    }
    one.endpoints = [...before, endpoint]
    one.request = { ...one.request, endpoints: [...one.request.endpoints, request] }
    if (one.held.length === 0 && one.request.ports.length > 0 && exposure.publishes(one.endpoints)) one.held = await ports.ports.hold(exposure.withHost(one.request.ports, one.endpoints))
    await exposure.apply(one)
    await names.open(one, pid)
    save(one)
  }
  const disconnect: Sandboxes['disconnect'] = async (containerId, networkId, pid) => {
    const one = live(containerId)
    const endpoint = one.endpoints.find((each) => each.networkId === networkId)
    if (endpoint === undefined) throw new EngineError('forbidden', `container ${containerId} is not connected to network ${networkId}`)
    const before = one.endpoints
    await requestInside(launcher, pid, `remove ${endpoint.interfaceName}`, [link.deleteLink(endpoint.index)], ENODEV)
    one.endpoints = before.filter((each) => each !== endpoint)
    one.request = { ...one.request, endpoints: one.request.endpoints.filter((each) => each !== endpoint.request) }
    const network = networkOf(endpoint)
    if (network !== undefined) returnEndpoint(network, endpoint)
    await moveRoutes(one, before, pid)
    await exposure.apply(one)
    save(one)
  }
  const restore = async (containerId: string, pid: number): Promise<Sandbox | undefined> => {
    const stored = store.sandbox(containerId)
    if (stored === undefined) return undefined
    const one: Live = { ...freshLive(stored.request), endpoints: [...stored.endpoints], resolverPort: stored.resolverPort }
    for (const endpoint of one.endpoints) {
      const network = networkOf(endpoint)
      if (network !== undefined) reserveEndpoint(network, endpoint)
    }
    const held: HeldPort[] = []
    for (const port of stored.held) {
      const request = { protocol: port.protocol, hostIp: port.hostIp === '' ? (port.family === 4 ? '0.0.0.0' : '::') : port.hostIp, hostPort: port.hostPort, hostPortEnd: port.hostPort, port: port.port }
      await ports.ports.hold([request]).then((list) => held.push(...list), (cause: unknown) => log.warn('a published port is taken by somebody else', { port: port.hostPort, cause }))
    }
    one.held = held
    lives.set(containerId, one)
    await exposure.restore(one)
    await names.open(one, pid).catch((cause: unknown) => log.error('cannot open the resolver again', { containerId, cause }))
    return sandboxOf(one, { host: [], inside: [], sysctls: [] })
  }
  return {
    members, restore,
    why: (from, containerId, port, protocol) => explainReach(from === 'host' || from === 'outside' ? { kind: from } : { kind: 'container', live: live(from) }, live(containerId), port, protocol, (id) => ports.network(id)),
    join: (request, wanted) => lock.run(request.containerId, () => join(request, wanted)),
    connect: (containerId, request, network, pid) => lock.run(containerId, () => connect(containerId, request, network, pid)),
    disconnect: (containerId, networkId, pid) => lock.run(containerId, () => disconnect(containerId, networkId, pid)),
    async started(containerId, pid) {
      const one = lives.get(containerId)
      if (one !== undefined) await names.open(one, pid)
    },
    rename(containerId, name) {
      const one = lives.get(containerId)
      if (one === undefined) return
      const old = one.request.containerName
      one.request = { ...one.request, containerName: name }
      one.endpoints = one.endpoints.map((endpoint) => ({ ...endpoint, dnsNames: endpoint.dnsNames.map((each) => (each === old ? name : each)) }))
      save(one)
    },
    renameNetwork(id, name) {
      for (const one of lives.values()) {
        if (!one.endpoints.some((endpoint) => endpoint.networkId === id)) continue
        one.endpoints = one.endpoints.map((endpoint) => (endpoint.networkId === id ? { ...endpoint, networkName: name } : endpoint))
        save(one)
      }
    },
    republish: (containerId, requests) =>
      lock.run(containerId, async () => {
        const one = live(containerId)
        const wanted = exposure.withHost(requests, one.endpoints)
        const kept = one.held.filter((port) => wanted.some((request) => serves(port, request)))
        const held = await ports.ports.hold(wanted.filter((request) => !one.held.some((port) => serves(port, request))))
        const gone = one.held.filter((port) => !kept.includes(port))
        one.held = [...kept, ...held]
        one.request = { ...one.request, ports: requests }
        await exposure.apply(one)
        await ports.ports.release(gone)
        save(one)
      }),
    forgetAllBut(running) {
      for (const stored of store.sandboxes()) if (!running.has(stored.request.containerId)) store.removeSandbox(stored.request.containerId)
    },
    firewalled() {
      for (const one of lives.values()) exposure.relink(one)
      return { ports: [...lives.values()].flatMap((one) => one.publication.ports), open: [...lives.values()].flatMap((one) => [...one.publication.open, ...one.links]) }
    },
    close() {
      for (const one of lives.values()) {
        for (const relay of one.relays) relay.close()
        names.close(one)
      }
    },
  }
}

/** True when this port is what was asked for. */
function serves(port: HeldPort, request: PortRequest): boolean {
  const { hostIp } = storedPort(port)
  const wanted = request.hostIp === '0.0.0.0' || request.hostIp === '::' ? '' : request.hostIp
  return port.protocol === request.protocol && port.port === request.port && (request.hostPort === 0 || (port.hostPort >= request.hostPort && port.hostPort <= Math.max(request.hostPort, request.hostPortEnd))) && hostIp === wanted
}

