import assert from 'node:assert/strict'
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { it } from 'node:test'
import { JSON_LINES } from './json-lines.ts'
import { nanosOf } from './read.ts'

const TIME = '2026-11-21T15:51:16.123456789Z'

function read(text: string): readonly (readonly [string, string])[] {
  const directory = mkdtempSync(`${tmpdir()}/lines-`)
  writeFileSync(`${directory}/log`, text)
  const fd = openSync(`${directory}/log`, 'r')
  try {
    return [...JSON_LINES.linesOf(fd, 0)].flat().map((line) => {
      assert.equal(line.time, TIME)
      assert.equal(nanosOf(line), 1_795_276_276_123_456_789n)
      return [line.stream, line.text] as const
    })
  } finally {
    closeSync(fd)
    rmSync(directory, { recursive: true })
  }
}

const line = (log: string, stream: string): string => `${JSON.stringify({ log, stream, time: TIME })}\n`

it('linesOf() reads what any writer of the format writes', () => {
  for (const log of ['plain\n', 'without an end', '', '\n', 'a "quote" and a \\ backslash\n', '","stream":"stderr","time":"x"}\n', 'tab\tand\u0001control\n', 'ünïcödé 🚢\n', '\\n', 'two\nlines\n']) assert.deepEqual(read(line(log, 'stdout') + line(log, 'stderr')), [['stdout', log], ['stderr', log]], JSON.stringify(log))
  assert.deepEqual(read(`{"time":"${TIME}","stream":"stderr","log":"other order\\n"}\n`), [['stderr', 'other order\n']])
})
it('linesOf() passes over a line that was cut off', () => assert.deepEqual(read(`${line('a\n', 'stdout')}{"log":"lost\n${line('b\n', 'stdout')}`), [['stdout', 'a\n'], ['stdout', 'b\n']]))
