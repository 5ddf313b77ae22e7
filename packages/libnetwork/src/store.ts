import { type Database, newId } from '@gantry/std'
import type { HeldPort } from './port-allocator.ts'
import type { DriverName, EndpointInfo, JoinRequest, NetworkInfo } from './network.ts'
import { plainEndpoint } from './network.ts'
import { type Address, formatAddress, parseAddress } from './address.ts'

/** A sandbox as it is kept: enough to stand up again after a restart of the daemon. */
export interface StoredSandbox {
  readonly request: JoinRequest
  readonly endpoints: readonly EndpointInfo[]
  readonly held: readonly (Omit<HeldPort, 'hostAddress' | 'slot'> & { readonly hostIp: string })[]
  /** Port of the resolver's sockets inside; 0: it has none. */
  readonly resolverPort: number
}

/** Networks and sandboxes in the state's database. */
export interface NetworkStore {
  /** Networks of users. */
  networks(): readonly NetworkInfo[]
  saveNetwork(network: NetworkInfo): void
  removeNetwork(id: string): void
  /** Id and age of a network that the daemon makes itself. */
  builtin(name: string, driver: DriverName): { readonly id: string; readonly createdAt: number }
  sandboxes(): readonly StoredSandbox[]
  sandbox(containerId: string): StoredSandbox | undefined
  saveSandbox(sandbox: StoredSandbox): void
  removeSandbox(containerId: string): void
}

/** The document of an endpoint before version 3 of this room: one bridge, IPv4. */
interface OldEndpoint {
  readonly endpoint: { readonly id: string; readonly networkId: string; readonly networkName: string; readonly containerId: string; readonly address: string; readonly prefix: number; readonly gateway: string; readonly mac: string }
  readonly ports: readonly { readonly protocol: 'tcp' | 'udp' | 'sctp'; readonly hostAddress: number; readonly hostPort: number; readonly port: number }[]
}

const oldAddress = (value: number): Address => ({ family: 4, value: BigInt(value >>> 0) })

function convert(text: string): StoredSandbox {
  const { endpoint, ports } = JSON.parse(text) as OldEndpoint
  const { id, networkId, networkName, containerId, address, prefix, gateway, mac } = endpoint
  return {
    request: { containerId, containerName: '', hostname: '', endpoints: [plainEndpoint(networkName)], ports: [], dns: { servers: [] }, links: [] },
    endpoints: [{ id, networkId, networkName, containerId, request: plainEndpoint(networkName), interfaceName: 'eth0', index: 16, ipv4: { address, prefix, gateway }, ipv6: undefined, mac, dnsNames: [] }],
    held: ports.map(({ protocol, hostAddress, hostPort, port }) => ({ protocol, family: 4, hostIp: hostAddress === 0 ? '' : formatAddress(oldAddress(hostAddress)), hostPort, port })),
    resolverPort: 0,
  }
}

/** A held port as it is kept. */
export function storedPort({ protocol, family, hostAddress, hostPort, port }: HeldPort): StoredSandbox['held'][number] {
  return { protocol, family, hostIp: hostAddress === undefined ? '' : formatAddress(hostAddress), hostPort, port }
}

/** The address that it is held at; undefined for all. */
export function storedAddress(hostIp: string): Address | undefined {
  return hostIp === '' ? undefined : parseAddress(hostIp, 'HostIp')
}

const readSandbox = (row: Readonly<Record<string, unknown>>): StoredSandbox => JSON.parse(String(row['document'])) as StoredSandbox

/** Opens the store. */
export function openNetworkStore(db: Database): NetworkStore {
  db.migrate('libnetwork', [
    `CREATE TABLE network (id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, driver TEXT NOT NULL, created_at INTEGER NOT NULL) STRICT, WITHOUT ROWID;
     CREATE TABLE endpoint (container_id TEXT NOT NULL, network_id TEXT NOT NULL, document TEXT NOT NULL, PRIMARY KEY (container_id, network_id)) STRICT, WITHOUT ROWID;`,
    `ALTER TABLE network ADD COLUMN document TEXT NOT NULL DEFAULT '';
     CREATE TABLE sandbox (container_id TEXT PRIMARY KEY, document TEXT NOT NULL) STRICT, WITHOUT ROWID;`,
  ])
  for (const row of db.all('SELECT container_id, document FROM endpoint')) {
    db.transaction(() => {
      db.run('INSERT OR IGNORE INTO sandbox VALUES (?, ?)', String(row['container_id']), JSON.stringify(convert(String(row['document']))))
      db.run('DELETE FROM endpoint WHERE container_id = ?', String(row['container_id']))
    })
  }
  return {
    networks: () => db.all("SELECT document FROM network WHERE document <> '' ORDER BY created_at, name").map((row) => JSON.parse(String(row['document'])) as NetworkInfo),
    saveNetwork: (network) => void db.run('INSERT OR REPLACE INTO network VALUES (?, ?, ?, ?, ?)', network.id, network.name, network.driver, network.createdAt, JSON.stringify(network)),
    removeNetwork: (id) => void db.run('DELETE FROM network WHERE id = ?', id),
    builtin(name, driver) {
      const row = db.get('SELECT id, created_at FROM network WHERE name = ?', name)
      if (row !== undefined) return { id: String(row['id']), createdAt: Number(row['created_at']) }
      const made = { id: newId(), createdAt: Date.now() }
      db.run("INSERT INTO network VALUES (?, ?, ?, ?, '')", made.id, name, driver, made.createdAt)
      return made
    },
    sandboxes: () => db.all('SELECT document FROM sandbox').map(readSandbox),
    sandbox(containerId) {
      const row = db.get('SELECT document FROM sandbox WHERE container_id = ?', containerId)
      return row === undefined ? undefined : readSandbox(row)
    },
    saveSandbox: (sandbox) => void db.run('INSERT OR REPLACE INTO sandbox VALUES (?, ?)', sandbox.request.containerId, JSON.stringify(sandbox)),
    removeSandbox: (containerId) => void db.run('DELETE FROM sandbox WHERE container_id = ?', containerId),
  }
}
