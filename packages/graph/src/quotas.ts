import { createHash } from 'node:crypto'
import { type Database, EngineError } from '@gantry/std'

/** Numbers of projects, by which file systems count (`struct fsxattr.fsx_projid`): one a directory with a limit. */
export interface Quotas {
  /** The number of an id; the same each time. */
  take(id: string): number
  release(id: string): void
  /** The number belongs to another id from now on. */
  move(from: string, to: string): void
  /** Takes back what belongs to none of these containers. */
  sweep(ids: ReadonlySet<string>): void
}

/** Numbers of one root; another root on the same file system has others. */
const SPAN = 1 << 16
const FIRST = 1 << 30
const ROOTS = 1 << 14

/** Opens the numbers of a root. */
export function openQuotas(db: Database, root: string): Quotas {
  db.migrate('quotas', ['CREATE TABLE project (id TEXT PRIMARY KEY, number INTEGER NOT NULL UNIQUE) STRICT, WITHOUT ROWID'])
  const base = FIRST + (createHash('sha256').update(root).digest().readUInt32LE() % ROOTS) * SPAN
  return {
    take: (id) =>
      db.transaction(() => {
        const known = db.get('SELECT number FROM project WHERE id = ?', id)?.['number']
        if (known !== undefined) return Number(known)
        const gap = Number(db.get('SELECT coalesce(min(number) + 1, ?1) AS number FROM project AS one WHERE number >= ?1 AND number < ?2 AND NOT EXISTS (SELECT 1 FROM project WHERE number = one.number + 1)', base, base + SPAN)?.['number'])
        if (gap >= base + SPAN) throw new EngineError('unavailable', `${SPAN} containers have a limit of their size: no more can be counted`)
        db.run('INSERT INTO project VALUES (?, ?)', id, gap)
        return gap
      }),
    release: (id) => void db.run('DELETE FROM project WHERE id = ?', id),
    move: (from, to) => void db.run('UPDATE project SET id = ? WHERE id = ?', to, from),
    sweep(ids) {
      for (const row of db.all('SELECT id FROM project')) if (/^[0-9a-f]{64}$/.test(String(row['id'])) && !ids.has(String(row['id']))) db.run('DELETE FROM project WHERE id = ?', String(row['id']))
    },
  }
}
