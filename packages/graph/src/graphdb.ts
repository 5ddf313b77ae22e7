import { type Database, EngineError } from '@gantry/std'

/** A small graph: entities, and named edges between them. Container names and links are edges from the root. */
export interface GraphDb {
  /** Names an entity below a parent (`/` for the root); a name that is taken is a conflict. */
  set(parent: string, name: string, entity: string): void
  /** The entity at an edge. */
  get(parent: string, name: string): string | undefined
  /** Names of an entity below a parent. */
  names(parent: string, entity: string): readonly string[]
  /** All edges below a parent. */
  edges(parent: string): readonly { readonly name: string; readonly entity: string }[]
  rename(parent: string, from: string, to: string): void
  remove(parent: string, name: string): void
  /** Removes every edge to and from an entity. */
  purge(entity: string): void
}

/** The root of all paths. */
export const ROOT = '/'

/** Opens the graph in the state's database. */
export function openGraphDb(db: Database): GraphDb {
  db.migrate('graphdb', [
    `CREATE TABLE edge (parent TEXT NOT NULL, name TEXT NOT NULL, entity TEXT NOT NULL, PRIMARY KEY (parent, name)) STRICT, WITHOUT ROWID;
     CREATE INDEX edge_entity ON edge (entity);`,
  ])
  const get = (parent: string, name: string): string | undefined => {
    const entity = db.get('SELECT entity FROM edge WHERE parent = ? AND name = ?', parent, name)?.['entity']
    return entity === undefined ? undefined : String(entity)
  }
  return {
    get,
    set(parent, name, entity) {
      const added = db.run('INSERT INTO edge VALUES (?, ?, ?) ON CONFLICT DO NOTHING', parent, name, entity)
      if (added === 0) throw new EngineError('conflict', `name "${name}" is already in use by "${get(parent, name)}"`)
    },
    names: (parent, entity) => db.all('SELECT name FROM edge WHERE entity = ? AND parent = ?', entity, parent).map((row) => String(row['name'])),
    edges: (parent) => db.all('SELECT name, entity FROM edge WHERE parent = ?', parent).map((row) => ({ name: String(row['name']), entity: String(row['entity']) })),
    rename(parent, from, to) {
      if (get(parent, to) !== undefined) throw new EngineError('conflict', `name "${to}" is already in use by "${get(parent, to)}"`)
      db.run('UPDATE edge SET name = ? WHERE parent = ? AND name = ?', to, parent, from)
    },
    remove: (parent, name) => void db.run('DELETE FROM edge WHERE parent = ? AND name = ?', parent, name),
    purge: (entity) => {
      db.run('DELETE FROM edge WHERE entity = ? OR parent = ?', entity, entity)
    },
  }
}
