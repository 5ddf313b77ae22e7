import { createHash } from 'node:crypto'
import { batch, type Launcher, link } from '@gantry/linux'
import { type Database, EngineError, keyedLock, logger, undoStack } from '@gantry/std'
import { bridgeSettings, type DriverPorts, linkNames, type OpenNetwork, openForwarding, openNetwork } from './drivers/table.ts'
import { builtinBridge, type DefaultBridge } from './default-bridge.ts'
import { subnetsOf } from './endpoints.ts'
import { createGuard } from './firewall/guard.ts'
import { newNetwork } from './new-network.ts'
import { DEFAULT_POOLS, type DefaultPool, localPool } from './ipam.ts'
import { type EndpointRequest, type JoinRequest, NO_ATTACHMENT, type NetworkInfo, type NetworkRequest, type Sandbox } from './network.ts'
import { portAllocator } from './port-allocator.ts'
import { createSandboxes, type Sandboxes } from './sandboxes.ts'
import { openNetworkStore } from './store.ts'

const log = logger('libnetwork')

/** How the daemon's networks are set up. */
export interface ControllerOptions {
  readonly launcher: Launcher
  readonly db: Database
  /** undefined: `--bridge none`. */
  readonly bridge: DefaultBridge | undefined
  readonly ipForward: boolean
  /** false: no firewall at all (`--iptables=false`). */
  readonly firewall: boolean
  /** Nobody else may change our table, where the kernel can keep them from it (6.9). */
  readonly ownTable: boolean
  /** Rules of ours go into no chain of the host: what it drops stays dropped (`--respect-host-firewall`). */
  readonly respectHost: boolean
  /** New networks have IPv6 unless they say no. */
  readonly ipv6ByDefault: boolean
  /** Where subnets come from; none: Docker's. */
  readonly pools: readonly DefaultPool[]
  /** Where ports are published that name no address (`--ip`); empty: everywhere. */
  readonly hostBinding: string
  /** The runtime opens sockets of resolvers while it starts a container; otherwise that is done right after. */
  readonly resolversAtStart: boolean
}

/** The container network model: networks, endpoints, sandboxes. */
export interface Controller {
  networks(): readonly NetworkInfo[]
  /** How full the subnets of a network are. */
  subnetCounts(id: string): ReadonlyMap<string, { readonly inUse: bigint; readonly available: bigint }>
  /** By name, id or unique id prefix. */
  network(nameOrId: string): NetworkInfo | undefined
  createNetwork(request: NetworkRequest): Promise<NetworkInfo>
  /** Refused while containers are on it. */
  removeNetwork(id: string): Promise<void>
  renameNetwork(id: string, name: string): void
  /** Reserves addresses and ports and opens the firewall; the links themselves are made by the start. */
  join(request: JoinRequest): Promise<Sandbox>
  /** Tells that the container runs: what has to wait for its namespace is done now. */
  started(containerId: string, pid: number): Promise<void>
  /** Joins or leaves a network while the container runs. */
  connect(containerId: string, request: EndpointRequest, pid: number): Promise<void>
  disconnect(containerId: string, networkId: string, pid: number): Promise<void>
  /** Names of a container have changed. */
  rename(containerId: string, name: string): void
  /** Publishes other ports of a container that runs. */
  republish(containerId: string, ports: JoinRequest['ports']): Promise<void>
  /** A container that still runs gets its reservations back after a restart of the daemon. */
  restore(containerId: string, pid: number): Promise<Sandbox | undefined>
  /** Forgets containers that do not run, then brings the firewall to the wanted state. */
  start(running: ReadonlySet<string>): Promise<void>
  /** Removes the links and the table. */
  destroy(): Promise<void>
  /** Servers and names of all. */
  readonly sandboxes: Sandboxes
}

const HOST_ONLY: Sandbox = { attachment: NO_ATTACHMENT, endpoints: [], bindings: [], resolver: false, release: async () => undefined }
const NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/

function unique<T>(found: readonly T[]): T | undefined {
  return found.length === 1 ? found[0] : undefined
}

/** Makes the controller: opens the networks, reads what was reserved. */
export async function createController(options: ControllerOptions): Promise<Controller> {
  const { launcher, db } = options
  const store = openNetworkStore(db)
  const drivers: DriverPorts = { launcher, nextLink: linkNames() }
  const open = new Map<string, OpenNetwork>()
  const infos = new Map<string, NetworkInfo>()
  const lock = keyedLock()
  const none = store.builtin('none', 'null')
  const pools = options.pools.length > 0 ? options.pools : DEFAULT_POOLS
  const withLocal = pools.some((pool) => pool.base.family === 6) ? pools : [...pools, localPool(createHash('sha256').update(none.id).digest())]

  const openOne = async (info: NetworkInfo): Promise<OpenNetwork | undefined> => {
    const network = await openNetwork(drivers, info)
    if (network !== undefined) open.set(info.id, network)
    infos.set(info.id, info)
    return network
  }
  const plain = (name: string, driver: 'host' | 'null', made: { readonly id: string; readonly createdAt: number }): NetworkInfo => ({
    ...made, name, driver, ipv4: true, ipv6: false, internal: false, attachable: false, labels: {}, options: {}, ipam: { driver: 'default', options: {}, pools: [] }, builtin: true,
  })
  for (const info of [plain('host', 'host', store.builtin('host', 'host')), plain('none', 'null', none)]) infos.set(info.id, info)
  const users = store.networks()
  if (options.bridge !== undefined) {
    const others = users.flatMap((info) => subnetsOf({ info }))
    await openOne(await builtinBridge(launcher, options.bridge, store.builtin('bridge', 'bridge'), withLocal, others))
  }
  for (const info of users) {
    await openOne(info).catch((cause: unknown) => {
      log.error('cannot open a network: its containers cannot start', { name: info.name, cause })
      infos.set(info.id, info)
    })
  }
  const table = `gantry-${options.bridge?.name ?? none.id.slice(0, 8)}`
  const guard = createGuard({ ...options, table }, () => ({ networks: [...open.values()].flatMap((one) => one.firewalled ?? []), ...sandboxes.firewalled() }))
  const sandboxes: Sandboxes = createSandboxes({ launcher, store, firewall: guard.firewall, ports: portAllocator(launcher), network: (id) => open.get(id), hostBinding: options.hostBinding, resolversAtStart: options.resolversAtStart })

  const byName = (nameOrId: string): NetworkInfo | undefined => {
    const all = [...infos.values()]
    return all.find((info) => info.name === nameOrId || info.id === nameOrId) ?? unique(all.filter((info) => nameOrId.length > 1 && info.id.startsWith(nameOrId)))
  }
  const checkName = (name: string): void => {
    if (!NAME.test(name)) throw new EngineError('invalid', name === '' ? 'network name required' : `invalid network name: ${name}`)
    if ([...infos.values()].some((info) => info.name === name && info.builtin)) throw new EngineError('forbidden', `operation is not permitted on predefined ${name} network`)
    if ([...infos.values()].some((info) => info.name === name)) throw new EngineError('conflict', `network with name ${name} already exists`)
  }
  const networkOf = (info: NetworkInfo): OpenNetwork => {
    const network = open.get(info.id)
    if (network === undefined) throw new EngineError('unavailable', `network ${info.name} could not be opened when the daemon started`)
    return network
  }
  const find = (nameOrId: string): NetworkInfo => {
    const info = byName(nameOrId)
    if (info === undefined) throw new EngineError('not-found', `network ${nameOrId} not found`)
    return info
  }
  const create = async (request: NetworkRequest): Promise<NetworkInfo> => {
    checkName(request.name)
    const info = await newNetwork(request, { launcher, pools: withLocal, ipv6ByDefault: options.ipv6ByDefault, networks: [...infos.values()].flatMap((one) => subnetsOf({ info: one })) })
    await using undo = undoStack((what, cause) => log.warn('undo failed', { what, cause }))
    if (info.driver === 'bridge') {
      const { name } = bridgeSettings(info)
      const holder = [...open.values()].find((one) => one.firewalled?.bridge === name)
      if (holder !== undefined) throw new EngineError('forbidden', `cannot create network ${info.id} (${name}): conflicts with network ${holder.info.id} (${name}): networks have same bridge name`)
    }
    // The record comes first: a crash after this leaves something that names the link.
    store.saveNetwork(info)
    undo.add('forget the network', () => {
      store.removeNetwork(info.id)
      infos.delete(info.id)
      open.delete(info.id)
    })
    const network = await openOne(info)
    undo.add('remove its links', () => network?.remove())
    if (network?.firewalled !== undefined) {
      await guard.admit(network.firewalled)
      openForwarding(info, { forward: options.ipForward, localnet: guard.firewall !== undefined })
    }
    undo.commit()
    return info
  }
  const remove = async (id: string): Promise<void> => {
    const info = find(id)
    if (info.builtin) throw new EngineError('forbidden', `${info.name} is a pre-defined network and cannot be removed`)
    const members = sandboxes.members(info.id)
    if (members.length > 0) throw new EngineError('forbidden', `error while removing network: network ${info.name} has active endpoints (${members.map((one) => `name:"${one.name}" id:"${one.endpoint.id.slice(0, 12)}"`).join(', ')})`)
    const network = open.get(info.id)
    if (network?.firewalled !== undefined) await guard.dismiss(network.firewalled)
    await network?.remove()
    open.delete(info.id)
    infos.delete(info.id)
    store.removeNetwork(info.id)
  }
  return {
    sandboxes,
    networks: () => [...infos.values()],
    subnetCounts: (id) => new Map([...(open.get(id)?.pools.values() ?? [])].map(({ pool }) => [pool.counts().subnet, pool.counts()])),
    network: byName,
    createNetwork: (request) => lock.run('networks', () => create(request)),
    removeNetwork: (id) => lock.run('networks', () => remove(id)),
    renameNetwork(id, name) {
      const info = find(id)
      if (info.builtin) throw new EngineError('forbidden', `${info.name} is a pre-defined network and cannot be renamed`)
      checkName(name)
      const renamed = { ...info, name }
      store.saveNetwork(renamed)
      infos.set(info.id, renamed)
      const network = open.get(info.id)
      if (network !== undefined) open.set(info.id, { ...network, info: renamed })
      sandboxes.renameNetwork(info.id, name)
    },
    async join(request) {
      const [first] = request.endpoints
      const wanted = request.endpoints.map((one) => ({ request: one, info: find(one.network) }))
      if (wanted.some(({ info }) => info.driver === 'host')) return HOST_ONLY
      const real = wanted.filter(({ info }) => info.driver !== 'null')
      if (first === undefined || real.length === 0) return { ...HOST_ONLY, attachment: { ...NO_ATTACHMENT, inside: [batch('loopback', [link.setLinkUp(1)])] } }
      return sandboxes.join(request, real.map((one) => ({ request: one.request, network: networkOf(one.info) })))
    },
    started: (containerId, pid) => sandboxes.started(containerId, pid),
    connect: (containerId, request, pid) => sandboxes.connect(containerId, request, networkOf(find(request.network)), pid),
    disconnect: (containerId, networkId, pid) => sandboxes.disconnect(containerId, networkId, pid),
    rename: (containerId, name) => sandboxes.rename(containerId, name),
    republish: (containerId, ports) => sandboxes.republish(containerId, ports),
    restore: (containerId, pid) => sandboxes.restore(containerId, pid),
    async start(running) {
      sandboxes.forgetAllBut(running)
      if (options.bridge === undefined && ![...open.values()].some((one) => one.firewalled !== undefined)) return
      await guard.build()
      for (const one of open.values()) if (one.firewalled !== undefined) openForwarding(one.info, { forward: options.ipForward, localnet: guard.firewall !== undefined })
    },
    async destroy() {
      sandboxes.close()
      guard.close()
      await guard.destroy([...open.values()].flatMap((one) => one.firewalled ?? []))
      for (const network of open.values()) await network.remove()
    },
  }
}
