import { batch, type Launcher, link } from '@gantry/linux'
import { type Database, EngineError, logger, newId, undoStack } from '@gantry/std'
import { formatIpv4, formatSubnet, parseIpv4 } from './address.ts'
import { type Bridge, type BridgeOptions, openBridge, openForwarding } from './drivers/bridge.ts'
import { createFirewall, type Firewall } from './firewall/firewall.ts'
import type { PublishedPort } from './firewall/table.ts'
import type { EndpointInfo, JoinRequest, NetworkInfo, Sandbox } from './network.ts'
import { type HeldPort, portAllocator, type PortRequest } from './port-allocator.ts'

const log = logger('libnetwork')

/** How the daemon's networks are set up. */
export interface ControllerOptions {
  readonly launcher: Launcher
  readonly db: Database
  /** undefined: `--bridge none`. */
  readonly bridge: BridgeOptions | undefined
  readonly icc: boolean
  readonly ipMasq: boolean
  readonly ipForward: boolean
  /** false: no firewall at all (`--iptables=false`). */
  readonly firewall: boolean
}

/** The container network model: networks, endpoints, sandboxes. */
export interface Controller {
  networks(): readonly NetworkInfo[]
  /** By name, id or unique id prefix. */
  network(nameOrId: string): NetworkInfo | undefined
  /** Reserves addresses and ports and opens the firewall; the links themselves are made by the start. */
  join(request: JoinRequest): Promise<Sandbox>
  /** A container that still runs gets its reservations back after a restart of the daemon. */
  restore(containerId: string): Promise<Sandbox | undefined>
  /** Forgets containers that do not run, then brings the firewall to the wanted state. */
  start(running: ReadonlySet<string>): Promise<void>
  /** Removes the bridge and the table. */
  destroy(): Promise<void>
}

interface StoredEndpoint {
  readonly endpoint: EndpointInfo
  readonly ports: readonly PublishedPort[]
}

const LOOPBACK_ONLY = (): Sandbox => ({ attachment: { host: [], inside: [batch('loopback', [link.setLinkUp(1)])], sysctls: [] }, endpoints: [], release: async () => undefined })
const NOTHING = (): Sandbox => ({ attachment: { host: [], inside: [], sysctls: [] }, endpoints: [], release: async () => undefined })

function builtin(db: Database, name: string, driver: NetworkInfo['driver']): { readonly id: string; readonly createdAt: number } {
  const row = db.get('SELECT id, created_at FROM network WHERE name = ?', name)
  if (row !== undefined) return { id: String(row['id']), createdAt: Number(row['created_at']) }
  const made = { id: newId(), createdAt: Date.now() }
  db.run('INSERT INTO network VALUES (?, ?, ?, ?)', made.id, name, driver, made.createdAt)
  return made
}

/** Makes the controller: opens the bridge, reads what was reserved. */
export async function createController(options: ControllerOptions): Promise<Controller> {
  const { launcher, db } = options
  db.migrate('libnetwork', [
    `CREATE TABLE network (id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, driver TEXT NOT NULL, created_at INTEGER NOT NULL) STRICT, WITHOUT ROWID;
     CREATE TABLE endpoint (container_id TEXT NOT NULL, network_id TEXT NOT NULL, document TEXT NOT NULL, PRIMARY KEY (container_id, network_id)) STRICT, WITHOUT ROWID;`,
  ])
  const bridge: Bridge | undefined = options.bridge === undefined ? undefined : await openBridge(launcher, options.bridge)
  const firewall: Firewall | undefined = bridge === undefined || !options.firewall ? undefined : createFirewall(launcher, `gantry-${bridge.name}`)
  const ports = portAllocator(launcher)
  const published = new Map<string, readonly PublishedPort[]>()
  const infos = networkInfos(options, bridge)

  const release = (containerId: string, address: number, held: readonly HeldPort[]): (() => Promise<void>) => {
    let released = false
    return async () => {
      if (released) return
      released = true
      const list = published.get(containerId) ?? []
      published.delete(containerId)
      if (list.length > 0) await firewall?.unpublish(list)
      await ports.release(held)
      db.run('DELETE FROM endpoint WHERE container_id = ?', containerId)
      bridge?.pool.release(address)
    }
  }
  const store = (stored: StoredEndpoint): void => {
    db.run('INSERT OR REPLACE INTO endpoint VALUES (?, ?, ?)', stored.endpoint.containerId, stored.endpoint.networkId, JSON.stringify(stored))
  }
  const joinBridge = async (request: JoinRequest): Promise<Sandbox> => {
    const network = infos.find((info) => info.name === 'bridge')
    if (bridge === undefined || network === undefined) throw new EngineError('not-found', 'network bridge not found')
    await using undo = undoStack((what, cause) => log.warn('undo failed', { what, cause }))
    const address = bridge.pool.take()
    undo.add('give the address back', () => bridge.pool.release(address))
    const held: HeldPort[] = []
    undo.add('give the ports back', () => ports.release(held))
    for (const port of request.ports) held.push(await ports.hold(port))
    const list = request.ports.map((port, index): PublishedPort => ({ protocol: port.protocol, hostAddress: port.hostAddress, hostPort: held[index]?.hostPort ?? 0, address, port: port.port }))
    const { mac, ...attachment } = bridge.attach(address)
    const endpoint: EndpointInfo = {
      id: newId(), networkId: network.id, networkName: network.name, containerId: request.containerId, address: formatIpv4(address), prefix: bridge.subnet.prefix, gateway: formatIpv4(bridge.gateway), mac,
      bindings: list.map((port) => ({ protocol: port.protocol, port: port.port, hostIp: formatIpv4(port.hostAddress), hostPort: port.hostPort })),
    }
    store({ endpoint, ports: list })
    undo.add('forget the endpoint', () => void db.run('DELETE FROM endpoint WHERE container_id = ?', request.containerId))
    if (list.length > 0) await firewall?.publish(list)
    published.set(request.containerId, list)
    undo.commit()
    return { attachment, endpoints: [endpoint], release: release(request.containerId, address, held) }
  }
  const stored = (containerId: string): StoredEndpoint | undefined => {
    const row = db.get('SELECT document FROM endpoint WHERE container_id = ?', containerId)
    return row === undefined ? undefined : (JSON.parse(String(row['document'])) as StoredEndpoint)
  }
  return {
    networks: () => infos,
    network: (nameOrId) => infos.find((info) => info.name === nameOrId || info.id === nameOrId) ?? unique(infos.filter((info) => nameOrId.length > 1 && info.id.startsWith(nameOrId))),
    async join(request) {
      if (request.network === 'host') return NOTHING()
      if (request.network === 'none') return LOOPBACK_ONLY()
      return joinBridge(request)
    },
    async restore(containerId) {
      const found = stored(containerId)
      if (found === undefined || bridge === undefined) return undefined
      const address = parseIpv4(found.endpoint.address, 'endpoint')
      const held: HeldPort[] = []
      for (const port of found.ports) {
        const request: PortRequest = { ...port, hostPortEnd: port.hostPort }
        await ports.hold(request).then((one) => held.push(one), (cause: unknown) => log.warn('a published port is taken by somebody else', { port: port.hostPort, cause }))
      }
      published.set(containerId, found.ports)
      return { attachment: { host: [], inside: [], sysctls: [] }, endpoints: [found.endpoint], release: release(containerId, address, held) }
    },
    async start(running) {
      for (const row of db.all('SELECT container_id, document FROM endpoint')) {
        const { endpoint } = JSON.parse(String(row['document'])) as StoredEndpoint
        if (running.has(endpoint.containerId)) bridge?.pool.reserve(parseIpv4(endpoint.address, 'endpoint'))
        else db.run('DELETE FROM endpoint WHERE container_id = ?', endpoint.containerId)
      }
      if (bridge === undefined) return
      const all = [...published.values()].flat()
      await firewall?.rebuild([{ bridge: bridge.name, subnet: bridge.subnet, masquerade: options.ipMasq, icc: options.icc, internal: false }], all)
      openForwarding(bridge, { forward: options.ipForward, localnet: firewall !== undefined })
    },
    async destroy() {
      await firewall?.remove()
      await bridge?.remove()
    },
  }
}

function unique<T>(found: readonly T[]): T | undefined {
  return found.length === 1 ? found[0] : undefined
}

function networkInfos(options: ControllerOptions, bridge: Bridge | undefined): readonly NetworkInfo[] {
  const infos: NetworkInfo[] = []
  const add = (name: string, driver: NetworkInfo['driver'], extra: Pick<NetworkInfo, 'ipam' | 'options'>): void => {
    infos.push({ ...builtin(options.db, name, driver), name, driver, ...extra })
  }
  if (bridge !== undefined) {
    add('bridge', 'bridge', {
      ipam: { subnet: formatSubnet(bridge.subnet), gateway: formatIpv4(bridge.gateway) },
      options: {
        'com.docker.network.bridge.default_bridge': 'true',
        'com.docker.network.bridge.enable_icc': String(options.icc),
        'com.docker.network.bridge.enable_ip_masquerade': String(options.ipMasq),
        'com.docker.network.bridge.host_binding_ipv4': '0.0.0.0',
        'com.docker.network.bridge.name': bridge.name,
        'com.docker.network.driver.mtu': String(bridge.mtu),
      },
    })
  }
  add('host', 'host', { ipam: undefined, options: {} })
  add('none', 'null', { ipam: undefined, options: {} })
  return infos
}
