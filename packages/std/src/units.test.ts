import assert from 'node:assert/strict'
import { it } from 'node:test'
import { formatNanos, humanDuration, humanSize, parseBytes, parseDuration, parseTimestamp } from './units.ts'

it('parseBytes() reads powers of 1024', () => {
  assert.deepEqual(['64m', '1g', '10kb', '512', '1.5k'].map(parseBytes), [67108864, 1073741824, 10240, 512, 1536])
  assert.throws(() => parseBytes('ten'), /invalid size: 'ten'/)
})
it('humanSize() keeps four digits', () => assert.deepEqual([humanSize(999), humanSize(1_983_000), humanSize(0)], ['999B', '1.983MB', '0B']))
it('humanDuration() speaks as Docker does', () => {
  assert.deepEqual([500, 1000, 59_000, 60_000, 3_540_000, 3_600_000, 172_800_000].map(humanDuration), ['Less than a second', '1 second', '59 seconds', 'About a minute', '59 minutes', 'About an hour', '2 days'])
})
it('parseDuration() reads Go’s text', () => assert.deepEqual([parseDuration('1h30m'), parseDuration('1.5s'), parseDuration('-2m'), parseDuration('0'), parseDuration('5 s')], [5_400_000, 1500, -120_000, 0, undefined]))
it('parseTimestamp() keeps nanoseconds', () => {
  assert.equal(parseTimestamp('1700000000.000000001'), 1_700_000_000_000_000_001n)
  assert.equal(parseTimestamp('2023-11-14T22:13:20.5Z'), 1_700_000_000_500_000_000n)
  assert.equal(parseTimestamp('1m', 60_000), 0n)
  assert.throws(() => parseTimestamp('yesterday'), /failed to parse/)
})
it('formatNanos() drops trailing zeros', () => assert.equal(formatNanos(1_700_000_000_500_000_000n), '2023-11-14T22:13:20.5Z'))
