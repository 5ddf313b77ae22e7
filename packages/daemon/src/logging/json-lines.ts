import { fstatSync, readSync } from 'node:fs'
import type { LogFormat, LogLine } from './read.ts'

const BLOCK = 1 << 16

const HEAD = '{"log":"'
const MIDDLE = '","stream":"'
const BEFORE_TIME = '","time":"'

/** The text of a JSON string without its quotes; nearly all lines have their line feed as the only escape. */
function unescaped(raw: string): string {
  const first = raw.indexOf('\\')
  if (first < 0) return raw
  return first === raw.length - 2 && raw.endsWith('\\n') ? `${raw.slice(0, -2)}\n` : (JSON.parse(`"${raw}"`) as string)
}

/** A line as log.c writes it, taken apart by its fixed parts: inside the text a quote never stands without its backslash. */
function ownLine(text: string): LogLine | undefined {
  const middle = text.lastIndexOf(MIDDLE)
  if (middle < HEAD.length || !text.startsWith(HEAD) || !text.endsWith('"}')) return undefined
  const at = middle + MIDDLE.length
  const stream = text.startsWith('stdout', at) ? 'stdout' : text.startsWith('stderr', at) ? 'stderr' : undefined
  if (stream === undefined || !text.startsWith(BEFORE_TIME, at + stream.length)) return undefined
  return { stream, text: unescaped(text.slice(HEAD.length, middle)), time: text.slice(at + stream.length + BEFORE_TIME.length, -2) }
}

function parseLine(text: string): LogLine | undefined {
  try {
    const own = ownLine(text)
    if (own !== undefined) return own
    const record = JSON.parse(text) as { log?: string; stream?: string; time?: string }
    if (typeof record.log !== 'string' || typeof record.time !== 'string') return undefined
    return { stream: record.stream === 'stderr' ? 'stderr' : 'stdout', text: record.log, time: record.time }
  } catch (error) {
    // A line that was cut off by a crash.
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}

/** Where the last `count` lines of a file begin, and how many there are of them. */
function tailOffset(fd: number, count: number): { readonly offset: number; readonly seen: number } {
  const { size } = fstatSync(fd)
  if (count === 0 || size === 0) return { offset: size, seen: 0 }
  const block = Buffer.alloc(BLOCK)
  // The last line feed ends a line; every other one ends the line before.
  let seen = 0
  for (let end = size; end > 0; ) {
    const start = Math.max(0, end - BLOCK)
    const length = readSync(fd, block, 0, end - start, start)
    for (let at = length - 1; at >= 0; at--) {
      if (block[at] !== 10 || start + at === size - 1) continue
      seen++
      if (seen === count) return { offset: start + at + 1, seen }
    }
    end = start
  }
  return { offset: 0, seen: seen + 1 }
}

/** Lines of one file from an offset, as many at once as a block holds; gives the offset behind the last whole line. */
function* linesOf(fd: number, from: number): Generator<readonly LogLine[], number> {
  // One piece of memory for all of it; it grows only for a line that does not fit.
  let block = Buffer.allocUnsafe(BLOCK)
  let held = 0
  let at = from
  for (;;) {
    if (held === block.length) block = Buffer.concat([block], block.length * 2)
    const length = readSync(fd, block, held, block.length - held, at + held)
    if (length === 0) return at
    const filled = held + length
    const lines: LogLine[] = []
    let begin = 0
    for (let end = block.indexOf(10); end >= 0 && end < filled; end = block.indexOf(10, begin)) {
      const line = parseLine(block.toString('utf8', begin, end))
      begin = end + 1
      if (line !== undefined) lines.push(line)
    }
    block.copyWithin(0, begin, filled)
    held = filled - begin
    at += begin
    if (lines.length > 0) yield lines
  }
}

/** The `json-file` driver: a JSON object a line. */
export const JSON_LINES: LogFormat = { tailOffset, linesOf }
