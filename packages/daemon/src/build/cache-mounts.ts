import { createHash } from 'node:crypto'
import { chownSync, existsSync, mkdirSync, readdirSync, statSync } from 'node:fs'
import type { CacheMountRequest } from '@gantry/builder'
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

/** Opens the directories below `home`. */
export function openCacheMounts(home: string, db: Database, discard: (path: string) => void): CacheMounts {
  db.migrate('build-mounts', ['CREATE TABLE build_mount (name TEXT PRIMARY KEY, id TEXT NOT NULL, created_at INTEGER NOT NULL, used_at INTEGER NOT NULL) STRICT, WITHOUT ROWID;'])
  mkdirSync(home, { recursive: true, mode: 0o711 })
  for (const name of readdirSync(home)) if (db.get('SELECT name FROM build_mount WHERE name = ?', name) === undefined) discard(`${home}/${name}`)
  /** How many steps use a directory. */
  const users = new Map<string, number>()
  const queues = new Map<string, (() => void)[]>()
  const open = (name: string, { id, mode, uid, gid }: CacheMountRequest): string => {
    const path = `${home}/${name}`
    const now = Date.now()
    if (!existsSync(path)) {
      mkdirSync(path, { mode })
      chownSync(path, uid, gid)
    }
    db.run('INSERT INTO build_mount VALUES (?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET used_at = excluded.used_at', name, id, now, now)
    users.set(name, (users.get(name) ?? 0) + 1)
    return path
  }
  const release = (name: string): void => {
    const left = (users.get(name) ?? 1) - 1
    if (left > 0) users.set(name, left)
    else users.delete(name)
    queues.get(name)?.shift()?.()
  }
  return {
    async take(request, signal) {
      const base = createHash('sha256').update(request.id).digest('hex').slice(0, 24)
      if (request.sharing === 'private') {
        let nth = 0
        while (users.has(`${base}-${nth}`)) nth++
        const name = `${base}-${nth}`
        return { path: open(name, request), release: () => release(name) }
      }
      const name = `${base}-0`
      while (request.sharing === 'locked' && users.has(name)) {
        const { promise, resolve } = Promise.withResolvers<void>()
        queues.set(name, [...(queues.get(name) ?? []), resolve])
        signal.addEventListener('abort', () => resolve(), { once: true })
        await promise
        signal.throwIfAborted()
      }
      return { path: open(name, request), release: () => release(name) }
    },
    list: () => db.all('SELECT * FROM build_mount').map((row) => ({ id: String(row['id']), path: `${home}/${String(row['name'])}`, createdAt: Number(row['created_at']), usedAt: Number(row['used_at']), inUse: users.has(String(row['name'])) })),
    remove(record) {
      db.run('DELETE FROM build_mount WHERE name = ?', record.path.slice(home.length + 1))
      if (statSync(record.path, { throwIfNoEntry: false }) !== undefined) discard(record.path)
    },
  }
}
