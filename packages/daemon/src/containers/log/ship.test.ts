import assert from 'node:assert/strict'
import { it } from 'node:test'
import type { LogLine } from '../../logging/read.ts'
import { advance, unsent } from './ship.ts'

const line = (nanos: bigint, text: string): LogLine => ({ stream: 'stdout', text, time: '', nanos })

it('the cursor stands behind what was sent, also between lines of one moment', () => {
  const lines = [line(1n, 'a'), line(2n, 'b'), line(2n, 'c'), line(2n, 'd'), line(3n, 'e')]
  const cursor = advance(advance({ nanos: 0n, count: 0 }, lines.slice(0, 2)), lines.slice(2, 3))
  assert.deepEqual(cursor, { nanos: 2n, count: 2 })
  assert.deepEqual(unsent(lines, cursor).lines.map((one) => one.text), ['d', 'e'])
  assert.deepEqual(unsent(lines, { nanos: 0n, count: 0 }).lines.length, 5)
  assert.deepEqual(unsent(lines, advance(cursor, lines.slice(3))).lines, [])
})
