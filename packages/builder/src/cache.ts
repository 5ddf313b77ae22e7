import type { LayerStore } from '@gantry/graph'
import { type Database, logger, newId } from '@gantry/std'

const log = logger('builder.cache')

/** What a step came to once. */
export interface CacheRecord {
  readonly id: string
  readonly key: string
  readonly chainId: string
  readonly diffId: string
  readonly kind: string
  readonly description: string
  /** Bytes of the layer's files. */
  readonly bytes: number
  /** Milliseconds since 1970. */
  readonly createdAt: number
  readonly usedAt: number
  readonly uses: number
}

/** What is to be kept of a step. */
export interface NewRecord {
  readonly kind: string
  readonly description: string
  readonly chainId: string
  readonly diffId: string
  readonly bytes: number
}

/** What steps came to, by keys of what went into them. Each record keeps its layer. */
export interface BuildCache {
  find(key: string): CacheRecord | undefined
  /** Keeps a record; takes over one reference to the layer. */
  keep(key: string, record: NewRecord): CacheRecord
  /** A second key for a record: what was found another way. */
  alias(key: string, of: string): void
  /** The image that the same steps made before. */
  result(key: string): string | undefined
  keepResult(key: string, imageId: string): void
  /** One work at a time for a key, over all builds. Who waits for another build may give up. */
  once<T>(key: string, work: () => Promise<T>, signal: AbortSignal): Promise<T>
  list(): readonly CacheRecord[]
  /** Removes records that the filter takes. Gives them. */
  prune(wanted: (record: CacheRecord) => boolean): readonly CacheRecord[]
}

const HOLDER = 'build'

/** Opens the cache. */
export function openBuildCache(db: Database, layers: LayerStore): BuildCache {
  db.migrate('build-cache', [
    `CREATE TABLE build_step (key TEXT PRIMARY KEY, id TEXT NOT NULL UNIQUE, chain_id TEXT NOT NULL, diff_id TEXT NOT NULL, kind TEXT NOT NULL, description TEXT NOT NULL, bytes INTEGER NOT NULL,
       created_at INTEGER NOT NULL, used_at INTEGER NOT NULL, uses INTEGER NOT NULL) STRICT, WITHOUT ROWID;
     CREATE TABLE build_alias (key TEXT PRIMARY KEY, step TEXT NOT NULL REFERENCES build_step ON DELETE CASCADE) STRICT, WITHOUT ROWID;
     CREATE INDEX build_alias_step ON build_alias (step);
     CREATE TABLE build_result (key TEXT PRIMARY KEY, image_id TEXT NOT NULL) STRICT, WITHOUT ROWID;`,
  ])
  const busy = new Map<string, Promise<unknown>>()
  const fromRow = (row: Readonly<Record<string, unknown>>): CacheRecord => ({
    id: String(row['id']), key: String(row['key']), chainId: String(row['chain_id']), diffId: String(row['diff_id']), kind: String(row['kind']), description: String(row['description']),
    bytes: Number(row['bytes']), createdAt: Number(row['created_at']), usedAt: Number(row['used_at']), uses: Number(row['uses']),
  })
  const find = (key: string): CacheRecord | undefined => {
    const row = db.get('SELECT * FROM build_step WHERE key = ? UNION ALL SELECT build_step.* FROM build_alias JOIN build_step ON build_step.key = build_alias.step WHERE build_alias.key = ? LIMIT 1', key, key)
    if (row === undefined) return undefined
    db.run('UPDATE build_step SET used_at = ?, uses = uses + 1 WHERE key = ?', Date.now(), String(row['key']))
    return fromRow(row)
  }
  return {
    find,
    keep(key, record) {
      const now = Date.now()
      const made: CacheRecord = { ...record, id: newId().slice(0, 25), key, createdAt: now, usedAt: now, uses: 0 }
      db.transaction(() => {
        const known = db.get('SELECT id FROM build_step WHERE key = ?', key)
        if (known !== undefined) {
          layers.letGo(`${HOLDER}:${String(known['id'])}`)
          db.run('DELETE FROM build_step WHERE key = ?', key)
        }
        db.run('INSERT INTO build_step VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)', key, made.id, made.chainId, made.diffId, made.kind, made.description, made.bytes, now, now, 0)
        layers.hold(record.chainId, `${HOLDER}:${made.id}`)
      })
      layers.release(record.chainId)
      return made
    },
    alias: (key, of) => void db.run('INSERT OR REPLACE INTO build_alias VALUES (?, ?)', key, of),
    result: (key) => {
      const row = db.get('SELECT image_id FROM build_result WHERE key = ?', key)
      return row === undefined ? undefined : String(row['image_id'])
    },
    keepResult: (key, imageId) => void db.run('INSERT OR REPLACE INTO build_result VALUES (?, ?)', key, imageId),
    async once(key, work, signal) {
      for (let before = busy.get(key); before !== undefined; before = busy.get(key)) {
        const { promise: givenUp, resolve } = Promise.withResolvers<void>()
        const giveUp = (): void => resolve()
        signal.addEventListener('abort', giveUp, { once: true })
        await Promise.race([givenUp, before.catch((cause: unknown) => log.debug('another build failed at the same step', { cause }))])
        signal.removeEventListener('abort', giveUp)
        signal.throwIfAborted()
      }
      const mine = work()
      busy.set(key, mine)
      try {
        return await mine
      } finally {
        busy.delete(key)
      }
    },
    list: () => db.all('SELECT * FROM build_step').map(fromRow),
    prune(wanted) {
      const gone = db.all('SELECT * FROM build_step').map(fromRow).filter(wanted)
      db.transaction(() => {
        for (const record of gone) {
          db.run('DELETE FROM build_step WHERE key = ?', record.key)
          layers.letGo(`${HOLDER}:${record.id}`)
        }
      })
      return gone
    },
  }
}
