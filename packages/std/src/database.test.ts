import assert from 'node:assert/strict'
import { it } from 'node:test'
import { openDatabase } from './database.ts'

it('openDatabase() migrates a room once per step, and rolls a failed transaction back', () => {
  using db = openDatabase(':memory:')
  db.migrate('room', ['CREATE TABLE t (a INTEGER) STRICT'])
  db.migrate('room', ['CREATE TABLE t (a INTEGER) STRICT', 'ALTER TABLE t ADD COLUMN b TEXT'])
  db.run('INSERT INTO t VALUES (?, ?)', 1, 'x')
  assert.throws(() =>
    db.transaction(() => {
      db.run('DELETE FROM t')
      throw new Error('no')
    }),
  )
  assert.deepEqual(db.all('SELECT a, b FROM t').map((row) => [row['a'], row['b']]), [[1, 'x']])
  assert.throws(() => db.migrate('room', []), /newer gantry/)
})
