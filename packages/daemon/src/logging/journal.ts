import { fstatSync, readSync } from 'node:fs'
import { formatNanos } from '@gantry/std'
import type { LogFormat, LogLine } from './read.ts'

/** A record as log.c writes it: {u32 magic, u32 length, u64 nanoseconds, u8 stream, u8[7]} message {u32 length}. */
const MAGIC = 0x314a5247
const HEAD = 24
const TAIL = 4
const MESSAGE_MAX = 16_384
const BLOCK = 1 << 17

/** Whether a whole record begins here: its head, its length, and the same length behind it. */
function recordAt(bytes: Buffer, at: number): number | undefined {
  if (at + HEAD + TAIL > bytes.length || bytes.readUInt32LE(at) !== MAGIC) return undefined
  const length = bytes.readUInt32LE(at + 4)
  if (length > MESSAGE_MAX || at + HEAD + length + TAIL > bytes.length) return undefined
  return bytes.readUInt32LE(at + HEAD + length) === length ? length : undefined
}

function lineAt(bytes: Buffer, at: number, length: number): LogLine {
  const nanos = bytes.readBigUInt64LE(at + 8)
  return { stream: bytes[at + 16] === 2 ? 'stderr' : 'stdout', text: bytes.toString('utf8', at + HEAD, at + HEAD + length), time: formatNanos(nanos), nanos }
}

const WHOLE = HEAD + MESSAGE_MAX + TAIL
const magicBytes = Buffer.alloc(4)
magicBytes.writeUInt32LE(MAGIC)

/** Entries from an offset. What a crash has cut off is passed over: the next record is found by its head. */
function* linesOf(fd: number, from: number): Generator<readonly LogLine[], number> {
  const block = Buffer.alloc(BLOCK)
  let at = from
  for (;;) {
    const bytes = block.subarray(0, readSync(fd, block, 0, BLOCK, at))
    const lines: LogLine[] = []
    let begin = 0
    for (;;) {
      const length = recordAt(bytes, begin)
      if (length !== undefined) {
        lines.push(lineAt(bytes, begin, length))
        begin += HEAD + length + TAIL
        continue
      }
      // Not whole: still being written, unless something whole could have been here.
      const next = bytes.indexOf(magicBytes, begin + 1)
      if (next < 0 && bytes.length - begin < WHOLE) break
      begin = next < 0 ? bytes.length - 3 : next
    }
    at += begin
    if (lines.length > 0) yield lines
    else if (begin === 0 || bytes.length < BLOCK) return at
  }
}

/** Where the last entries begin, read from the end; past a record that was cut off, it is read from the beginning. */
function tailOffset(fd: number, count: number): { readonly offset: number; readonly seen: number } {
  const { size } = fstatSync(fd)
  let [offset, seen] = [size, 0]
  const words = Buffer.alloc(HEAD)
  while (seen < count && offset >= HEAD + TAIL) {
    readSync(fd, words, 0, TAIL, offset - TAIL)
    const length = words.readUInt32LE(0)
    const begin = offset - TAIL - length - HEAD
    if (length > MESSAGE_MAX || begin < 0) break
    readSync(fd, words, 0, HEAD, begin)
    if (words.readUInt32LE(0) !== MAGIC || words.readUInt32LE(4) !== length) break
    offset = begin
    seen++
  }
  return seen === count || offset === 0 ? { offset, seen } : tailFromStart(fd, count)
}

function tailFromStart(fd: number, count: number): { readonly offset: number; readonly seen: number } {
  const starts: number[] = []
  const bytes = Buffer.alloc(fstatSync(fd).size)
  readSync(fd, bytes, 0, bytes.length, 0)
  for (let at = 0; at < bytes.length; ) {
    const length = recordAt(bytes, at)
    if (length === undefined) {
      const next = bytes.indexOf(magicBytes, at + 1)
      if (next < 0) break
      at = next
      continue
    }
    starts.push(at)
    at += HEAD + length + TAIL
  }
  const kept = starts.slice(-count)
  return { offset: kept[0] ?? 0, seen: kept.length }
}

/** The `local` driver: records that can be read from either end. */
export const JOURNAL: LogFormat = { tailOffset, linesOf }
