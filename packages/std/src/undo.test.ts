import assert from 'node:assert/strict'
import { it } from 'node:test'
import { undoStack } from './undo.ts'

it('undoStack() takes steps back, last first, and goes on over a failing one', async () => {
  const seen: string[] = []
  const failures: string[] = []
  await assert.rejects(async () => {
    await using undo = undoStack((what) => failures.push(what))
    undo.add('one', () => void seen.push('one'))
    undo.add('two', () => {
      throw new Error('undo failed')
    })
    undo.add('three', async () => void seen.push('three'))
    throw new Error('the first error')
  }, /the first error/)
  assert.deepEqual([seen, failures], [['three', 'one'], ['two']])
})
it('undoStack() forgets its steps on commit', async () => {
  const seen: string[] = []
  {
    await using undo = undoStack()
    undo.add('one', () => void seen.push('one'))
    undo.commit()
  }
  assert.deepEqual(seen, [])
})
