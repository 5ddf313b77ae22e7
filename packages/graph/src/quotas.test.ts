import assert from 'node:assert/strict'
import { it } from 'node:test'
import { openDatabase } from '@gantry/std'
import { openQuotas } from './quotas.ts'

it('numbers of projects: one an id, kept when it is renamed, free again when it is gone', () => {
  using db = openDatabase(':memory:')
  const quotas = openQuotas(db, '/root')
  const first = quotas.take('volume one')
  assert.equal(quotas.take('volume one'), first)
  quotas.move('volume one', 'volume two')
  assert.equal(quotas.take('volume two'), first)
  const second = quotas.take('volume one')
  assert.notEqual(second, first)
  quotas.release('volume two')
  quotas.take('a'.repeat(64))
  quotas.sweep(new Set())
  assert.equal(quotas.take('volume one'), second)
  assert.notEqual(quotas.take('volume three'), second)
})
