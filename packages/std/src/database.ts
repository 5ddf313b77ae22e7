import { DatabaseSync, type SQLInputValue, type SQLOutputValue, type StatementSync } from 'node:sqlite'
import { EngineError } from './errors.ts'

/** A row as it comes from SQLite. */
export type Row = Readonly<Record<string, SQLOutputValue>>

/** One SQLite file with prepared statements kept by their text. */
export interface Database extends Disposable {
  run(sql: string, ...values: readonly SQLInputValue[]): number
  get(sql: string, ...values: readonly SQLInputValue[]): Row | undefined
  all(sql: string, ...values: readonly SQLInputValue[]): readonly Row[]
  /** All or nothing. `durable` waits for the disk (synchronous FULL). */
  transaction<T>(work: () => T, options?: { readonly durable?: boolean }): T
  /** Creates what a room needs, once per version. */
  migrate(room: string, steps: readonly string[]): void
}

/** Opens or creates the file in WAL mode; a file that is no database is an error that names it. */
export function openDatabase(path: string): Database {
  const db = new DatabaseSync(path)
  try {
    db.exec('PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA foreign_keys=ON; PRAGMA busy_timeout=5000')
    db.exec('CREATE TABLE IF NOT EXISTS schema (room TEXT PRIMARY KEY, version INTEGER NOT NULL) STRICT')
  } catch (cause) {
    db.close()
    throw new EngineError('internal', `cannot read the state in ${path}`, { cause })
  }
  const statements = new Map<string, StatementSync>()
  const prepare = (sql: string): StatementSync => {
    let statement = statements.get(sql)
    if (statement === undefined) {
      statement = db.prepare(sql)
      statements.set(sql, statement)
    }
    return statement
  }
  let depth = 0
  const transaction = <T>(work: () => T, options: { readonly durable?: boolean } = {}): T => {
    if (depth > 0) return work()
    if (options.durable === true) db.exec('PRAGMA synchronous=FULL')
    db.exec('BEGIN IMMEDIATE')
    depth++
    let done = false
    try {
      const result = work()
      db.exec('COMMIT')
      done = true
      return result
    } finally {
      depth--
      // SQLite has taken it back by itself where the disk is full.
      if (!done && db.isTransaction) db.exec('ROLLBACK')
      if (options.durable === true) db.exec('PRAGMA synchronous=NORMAL')
    }
  }
  return {
    run: (sql, ...values) => Number(prepare(sql).run(...values).changes),
    get: (sql, ...values) => prepare(sql).get(...values) as Row | undefined,
    all: (sql, ...values) => prepare(sql).all(...values) as readonly Row[],
    transaction,
    migrate(room, steps) {
      const version = Number(prepare('SELECT version FROM schema WHERE room = ?').get(room)?.['version'] ?? 0)
      if (version > steps.length) throw new EngineError('internal', `the state of ${room} was written by a newer gantry (version ${version})`)
      for (let at = version; at < steps.length; at++) {
        transaction(() => {
          db.exec(steps[at] ?? '')
          prepare('INSERT INTO schema VALUES (?, ?) ON CONFLICT (room) DO UPDATE SET version = excluded.version').run(room, at + 1)
        })
      }
    },
    [Symbol.dispose]() {
      statements.clear()
      db.close()
    },
  }
}
