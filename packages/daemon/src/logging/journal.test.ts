import assert from 'node:assert/strict'
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { it } from 'node:test'
import { JOURNAL } from './journal.ts'

function record(text: string, stream = 1): Buffer {
  const message = Buffer.from(text)
  const bytes = Buffer.alloc(24 + message.length + 4)
  bytes.writeUInt32LE(0x314a5247, 0)
  bytes.writeUInt32LE(message.length, 4)
  bytes.writeBigUInt64LE(1_700_000_000_123_456_789n, 8)
  bytes.writeUInt8(stream, 16)
  message.copy(bytes, 24)
  bytes.writeUInt32LE(message.length, 24 + message.length)
  return bytes
}

function read(content: Buffer, use: (fd: number) => void): void {
  const directory = mkdtempSync(`${tmpdir()}/journal-`)
  writeFileSync(`${directory}/log`, content)
  const fd = openSync(`${directory}/log`, 'r')
  try {
    use(fd)
  } finally {
    closeSync(fd)
    rmSync(directory, { recursive: true })
  }
}

const texts = (fd: number, from = 0): readonly string[] => [...JOURNAL.linesOf(fd, from)].flat().map((line) => `${line.stream} ${line.text}`)

it('linesOf() reads records of both streams', () => read(Buffer.concat([record('a\n'), record('b\n', 2)]), (fd) => assert.deepEqual(texts(fd), ['stdout a\n', 'stderr b\n'])))
it('linesOf() waits for a record that is still being written', () => {
  const half = record('later\n').subarray(0, 12)
  read(Buffer.concat([record('a\n'), half]), (fd) => {
    const lines = JOURNAL.linesOf(fd, 0)
    lines.next()
    assert.equal(lines.next().value, record('a\n').length, 'the offset behind the last whole one')
  })
})
it('linesOf() goes on behind a record that a crash has cut off', () => read(Buffer.concat([record('a\n'), record('lost\n').subarray(0, 26), record('b\n'), record('c\n')]), (fd) => assert.deepEqual(texts(fd), ['stdout a\n', 'stdout b\n', 'stdout c\n'])))
it('tailOffset() finds the last records from the end, also past a torn one', () => {
  const [a, b, c] = [record('a\n'), record('b\n'), record('c\n')]
  read(Buffer.concat([a, b, c]), (fd) => {
    assert.deepEqual(JOURNAL.tailOffset(fd, 2), { offset: a.length, seen: 2 })
    assert.deepEqual(JOURNAL.tailOffset(fd, 9), { offset: 0, seen: 3 })
    assert.deepEqual(JOURNAL.tailOffset(fd, 0), { offset: a.length * 3, seen: 0 })
  })
  read(Buffer.concat([a, b, c.subarray(0, 20)]), (fd) => assert.deepEqual(JOURNAL.tailOffset(fd, 1), { offset: a.length, seen: 1 }))
  read(Buffer.concat([a, b.subarray(0, 26), c]), (fd) => assert.deepEqual(texts(fd, JOURNAL.tailOffset(fd, 2).offset), ['stdout a\n', 'stdout c\n']))
})
it('linesOf() crosses the blocks that it reads', () => {
  const many = Array.from({ length: 9000 }, (_, n) => `line ${n}\n`)
  read(Buffer.concat(many.map((text) => record(text))), (fd) => assert.deepEqual(texts(fd), many.map((text) => `stdout ${text}`)))
})
