import { createHash } from 'node:crypto'
import { type Database, EngineError, logger, shortId } from '@gantry/std'
import { type GraphDb, ROOT } from '@gantry/graph'
import { type Container, liveContainer } from './container.ts'
import type { ContainerDocument, ContainerState } from './record.ts'

const log = logger('daemon.containers.store')

/** All containers, in memory and in the state's database. */
export interface ContainerStore {
  /** `links`: other containers by their aliases here. */
  add(container: Container, options: { readonly durable: boolean; readonly links?: ReadonlyMap<string, Container> }): void
  save(container: Container): void
  /** Another document for the same container, durable. */
  replace(container: Container, document: ContainerDocument): void
  rename(container: Container, name: string): void
  remove(container: Container): void
  /** Containers that it is linked to, by alias. */
  links(container: Container): ReadonlyMap<string, Container>
  /** Containers that are linked to it, with its alias there. */
  consumers(container: Container): readonly (readonly [Container, string])[]
  unlink(container: Container, alias: string): void
  /** By id, name (with or without slash), `consumer/alias` of a link, or unique prefix of the id. */
  find(key: string): Container
  get(id: string): Container | undefined
  byName(name: string): string | undefined
  list(): readonly Container[]
  /** Records that could not be read: ids, for `info`. */
  readonly quarantined: readonly string[]
}

const checksum = (document: string): string => createHash('sha256').update(document).digest('hex').slice(0, 16)

/** Opens the store and reads what is there; a record that is damaged is set aside and never keeps the daemon from starting. */
export function openContainerStore(db: Database, names: GraphDb): ContainerStore {
  db.migrate('containers', [
    `CREATE TABLE container (id TEXT PRIMARY KEY, document TEXT NOT NULL, checksum TEXT NOT NULL, state TEXT NOT NULL) STRICT, WITHOUT ROWID;
     CREATE TABLE container_quarantine (id TEXT PRIMARY KEY, document TEXT NOT NULL, state TEXT NOT NULL) STRICT, WITHOUT ROWID;`,
  ])
  const containers = new Map<string, Container>()
  const quarantined: string[] = []
  const nameOf = new Map(names.edges(ROOT).map((edge) => [edge.entity, edge.name]))
  for (const row of db.all('SELECT * FROM container')) {
    const id = String(row['id'])
    const document = String(row['document'])
    try {
      if (checksum(document) !== row['checksum']) throw new EngineError('internal', 'checksum does not match')
      const parsed = JSON.parse(document) as ContainerDocument
      containers.set(id, liveContainer(parsed, nameOf.get(id) ?? shortId(id), JSON.parse(String(row['state'])) as ContainerState))
    } catch (cause) {
      log.error('a container’s record is damaged and set aside', { id, cause })
      db.run('INSERT OR REPLACE INTO container_quarantine VALUES (?, ?, ?)', id, document, String(row['state']))
      db.run('DELETE FROM container WHERE id = ?', id)
    }
  }
  /** Ids of sources by alias, of each container that has links. */
  const links = new Map([...containers.keys()].map((id) => [id, new Map(names.edges(id).map((edge) => [edge.name, edge.entity]))] as const).filter(([, edges]) => edges.size > 0))
  const linksOf = (container: Container): ReadonlyMap<string, Container> => new Map(
      [...(links.get(container.id) ?? [])].flatMap(([alias, id]): readonly (readonly [string, Container])[] => {
        const source = containers.get(id)
        return source === undefined ? [] : [[alias, source]]
      }),
    )
  quarantined.push(...db.all('SELECT id FROM container_quarantine').map((row) => String(row['id'])))
  return {
    quarantined,
    add(container, options) {
      const document = JSON.stringify(container.document)
      db.transaction(() => {
        const taken = names.get(ROOT, container.name)
        if (taken !== undefined) throw new EngineError('conflict', `Conflict. The container name "/${container.name}" is already in use by container "${taken}". You have to remove (or rename) that container to be able to reuse that name.`)
        names.set(ROOT, container.name, container.id)
        for (const [alias, source] of options.links ?? []) names.set(container.id, alias, source.id)
        db.run('INSERT INTO container VALUES (?, ?, ?, ?)', container.id, document, checksum(document), JSON.stringify(container.state))
      }, options)
      containers.set(container.id, container)
      if (options.links !== undefined && options.links.size > 0) links.set(container.id, new Map([...options.links].map(([alias, source]) => [alias, source.id])))
    },
    links: linksOf,
    consumers: (container) => [...links].flatMap(([id, edges]) => [...edges].filter(([, source]) => source === container.id).flatMap(([alias]): readonly (readonly [Container, string])[] => {
      const consumer = containers.get(id)
      return consumer === undefined ? [] : [[consumer, alias]]
    })),
    unlink(container, alias) {
      names.remove(container.id, alias)
      links.get(container.id)?.delete(alias)
    },
    save(container) {
      db.run('UPDATE container SET state = ? WHERE id = ?', JSON.stringify(container.state), container.id)
    },
    replace(container, document) {
      const text = JSON.stringify(document)
      db.transaction(() => void db.run('UPDATE container SET document = ?, checksum = ? WHERE id = ?', text, checksum(text), container.id), { durable: true })
      container.document = document
    },
    rename(container, name) {
      const taken = names.get(ROOT, name)
      if (taken !== undefined) throw new EngineError('conflict', `Conflict. The container name "/${name}" is already in use by container "${taken}". You have to remove (or rename) that container to be able to reuse that name.`)
      names.rename(ROOT, container.name, name)
      container.name = name
    },
    remove(container) {
      db.transaction(() => {
        names.purge(container.id)
        db.run('DELETE FROM container WHERE id = ?', container.id)
      })
      containers.delete(container.id)
      links.delete(container.id)
      for (const edges of links.values()) for (const [alias, id] of edges) if (id === container.id) edges.delete(alias)
    },
    get: (id) => containers.get(id),
    byName: (name) => names.get(ROOT, name),
    list: () => [...containers.values()],
    find(key) {
      const plain = key.replace(/^\//, '')
      const exact = containers.get(plain)
      if (exact !== undefined) return exact
      const named = names.get(ROOT, plain)
      const byName = named === undefined ? undefined : containers.get(named)
      if (byName !== undefined) return byName
      const [consumer = '', alias = ''] = plain.split('/')
      const linked = alias === '' ? undefined : links.get(names.get(ROOT, consumer) ?? '')?.get(alias)
      const source = linked === undefined ? undefined : containers.get(linked)
      if (source !== undefined) return source
      const matches = /^[0-9a-f]+$/.test(plain) ? [...containers.values()].filter((container) => container.id.startsWith(plain)) : []
      if (matches.length > 1) throw new EngineError('invalid', `Multiple IDs found with provided prefix: ${plain}`)
      const [only] = matches
      if (only === undefined) throw new EngineError('not-found', `No such container: ${plain}`)
      return only
    },
  }
}
