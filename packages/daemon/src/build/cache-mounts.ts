import { createHash } from 'node:crypto'
import { chmodSync, chownSync, existsSync, mkdirSync, readdirSync, statSync } from 'node:fs'
import type { BindSource, CacheMountRequest } from '@gantry/builder'
import type { Database } from '@gantry/std'

/** A directory that steps of builds share. */
export interface CacheMountRecord {
  readonly id: string
  readonly path: string
  readonly createdAt: number
  readonly usedAt: number
  readonly inUse: boolean
}

/** Directories of `RUN --mount=type=cache`. */
export interface CacheMounts {
  take(request: CacheMountRequest, signal: AbortSignal): Promise<{ readonly path: string; readonly release: () => void }>
  list(): readonly CacheMountRecord[]
  remove(record: CacheMountRecord): void
}

/** What the directories need of the house. */
export interface CacheMountPorts {
  readonly db: Database
  discard(path: string): void
  /** Copies files of layers into an empty directory. */
  fill(seed: BindSource, path: string): Promise<void>
}

/** Opens the directories below `home`. */
export function openCacheMounts(home: string, { db, discard, fill }: CacheMountPorts): CacheMounts {
  db.migrate('build-mounts', ['CREATE TABLE build_mount (name TEXT PRIMARY KEY, id TEXT NOT NULL, created_at INTEGER NOT NULL, used_at INTEGER NOT NULL) STRICT, WITHOUT ROWID;'])
  mkdirSync(home, { recursive: true, mode: 0o711 })
  for (const name of readdirSync(home)) if (db.get('SELECT name FROM build_mount WHERE name = ?', name) === undefined) discard(`${home}/${name}`)
  /** How many steps use a directory. */
  const users = new Map<string, number>()
  const queues = new Map<string, (() => void)[]>()
  const making = new Map<string, Promise<void>>()
  const make = async (path: string, { mode, uid, gid, seed }: CacheMountRequest): Promise<void> => {
    mkdirSync(path)
    try {
      // It looks as it does where it comes from.
      if (seed !== undefined) return await fill(seed, path)
      chmodSync(path, mode)
      chownSync(path, uid, gid)
    } catch (error) {
      discard(path)
      throw error
    }
  }
  const open = async (name: string, request: CacheMountRequest): Promise<string> => {
    const { id } = request
    const path = `${home}/${name}`
    const now = Date.now()
    if (!existsSync(path)) making.set(name, make(path, request).finally(() => making.delete(name)))
    await making.get(name)
    db.run('INSERT INTO build_mount VALUES (?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET used_at = excluded.used_at', name, id, now, now)
    return path
  }
  const use = async (name: string, request: CacheMountRequest): Promise<{ readonly path: string; readonly release: () => void }> => {
    users.set(name, (users.get(name) ?? 0) + 1)
    try {
      return { path: await open(name, request), release: () => release(name) }
    } catch (error) {
      release(name)
      throw error
    }
  }
  const release = (name: string): void => {
    const left = (users.get(name) ?? 1) - 1
    if (left > 0) users.set(name, left)
    else users.delete(name)
    queues.get(name)?.shift()?.()
  }
  return {
    async take(request, signal) {
      const base = createHash('sha256').update(request.seed === undefined ? request.id : `${request.id} ${request.seed.key}`).digest('hex').slice(0, 24)
      if (request.sharing === 'private') {
        let nth = 0
        while (users.has(`${base}-${nth}`)) nth++
        return use(`${base}-${nth}`, request)
      }
      const name = `${base}-0`
      while (request.sharing === 'locked' && users.has(name)) {
        const { promise, resolve } = Promise.withResolvers<void>()
        queues.set(name, [...(queues.get(name) ?? []), resolve])
        signal.addEventListener('abort', () => resolve(), { once: true })
        await promise
        signal.throwIfAborted()
      }
      return use(name, request)
    },
    list: () => db.all('SELECT * FROM build_mount').map((row) => ({ id: String(row['id']), path: `${home}/${String(row['name'])}`, createdAt: Number(row['created_at']), usedAt: Number(row['used_at']), inUse: users.has(String(row['name'])) })),
    remove(record) {
      db.run('DELETE FROM build_mount WHERE name = ?', record.path.slice(home.length + 1))
      if (statSync(record.path, { throwIfNoEntry: false }) !== undefined) discard(record.path)
    },
  }
}
