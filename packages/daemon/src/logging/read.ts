import { closeSync, existsSync, fstatSync, openSync, readSync, statSync, watch } from 'node:fs'
import { hasCode, parseTimestamp } from '@gantry/std'

/** One line of a container's log. */
export interface LogLine {
  readonly stream: 'stdout' | 'stderr'
  readonly text: string
  /** RFC 3339 with nanoseconds. */
  readonly time: string
  /** Worked out only when somebody asks. */
  readonly nanos: bigint
}

/** What of a log is wanted. */
export interface LogQuery {
  /** undefined: all. */
  readonly tail: number | undefined
  readonly since: bigint | undefined
  readonly until: bigint | undefined
  readonly follow: boolean
}

const BLOCK = 1 << 16
const POLL_MS = 200

function parseLine(text: string): LogLine | undefined {
  try {
    const record = JSON.parse(text) as { log?: string; stream?: string; time?: string }
    if (typeof record.log !== 'string' || typeof record.time !== 'string') return undefined
    const { time } = record
    return {
      stream: record.stream === 'stderr' ? 'stderr' : 'stdout',
      text: record.log,
      time,
      get nanos() {
        return parseTimestamp(time)
      },
    }
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
  const block = Buffer.alloc(BLOCK)
  let held = Buffer.alloc(0)
  let at = from
  for (;;) {
    const length = readSync(fd, block, 0, BLOCK, at + held.length)
    if (length === 0) return at
    held = Buffer.concat([held, block.subarray(0, length)])
    const lines: LogLine[] = []
    let begin = 0
    for (let end = held.indexOf(10); end >= 0; end = held.indexOf(10, begin)) {
      const line = parseLine(held.toString('utf8', begin, end))
      begin = end + 1
      if (line !== undefined) lines.push(line)
    }
    held = held.subarray(begin)
    at += begin
    if (lines.length > 0) yield lines
  }
}

/** Waits until the file changes, a little time has passed, or it is over. */
function changed(path: string, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer)
      watcher?.close()
      signal.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, POLL_MS)
    const watcher = existsSync(path) ? watch(path, done) : undefined
    watcher?.on('error', done)
    signal.addEventListener('abort', done)
    if (signal.aborted) done()
  })
}

const rotated = (path: string): readonly string[] => {
  const older: string[] = []
  for (let n = 1; existsSync(`${path}.${n}`); n++) older.unshift(`${path}.${n}`)
  return older
}

function open(path: string): number | undefined {
  try {
    return openSync(path, 'r')
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined
    throw error
  }
}

/** Reads a log, many lines at once, and follows it until the container has ended and everything has been read. */
export async function* readLog(path: string, query: LogQuery, state: { readonly ended: () => boolean; readonly signal: AbortSignal }): AsyncGenerator<readonly LogLine[]> {
  const wanted = (line: LogLine): boolean => (query.since === undefined || line.nanos >= query.since) && (query.until === undefined || line.nanos <= query.until)
  const current = open(path)
  let offset = 0
  let fd = current
  try {
    if (query.tail === undefined) yield* olderLines(path, 0, wanted)
    else {
      const { offset: from, seen } = current === undefined ? { offset: 0, seen: 0 } : tailOffset(current, query.tail)
      offset = from
      if (seen < query.tail) yield* olderTail(path, query.tail - seen, wanted)
    }
    for (;;) {
      const over = state.ended()
      fd ??= open(path)
      if (fd !== undefined) {
        const lines = linesOf(fd, offset)
        for (let next = lines.next(); ; next = lines.next()) {
          if (next.done === true) {
            offset = next.value
            break
          }
          yield next.value.filter(wanted)
          const last = next.value.at(-1)
          if (query.until !== undefined && last !== undefined && last.nanos > query.until) return
        }
        if (statSync(path, { throwIfNoEntry: false })?.ino !== fstatSync(fd).ino) {
          closeSync(fd)
          fd = undefined
          offset = 0
          if (existsSync(path)) continue
        }
      }
      if (!query.follow || over || state.signal.aborted) return
      await changed(path, state.signal)
    }
  } finally {
    if (fd !== undefined) closeSync(fd)
  }
}

/** Lines of the rotated files, oldest first, from an offset in the first of `files`. */
function* olderLines(path: string, offset: number, wanted: (line: LogLine) => boolean, files: readonly string[] = rotated(path)): Generator<readonly LogLine[]> {
  for (const [index, older] of files.entries()) {
    const fd = openSync(older, 'r')
    try {
      for (const lines of linesOf(fd, index === 0 ? offset : 0)) yield lines.filter(wanted)
    } finally {
      closeSync(fd)
    }
  }
}

/** The last `count` lines of the rotated files. */
function* olderTail(path: string, count: number, wanted: (line: LogLine) => boolean): Generator<readonly LogLine[]> {
  const files = rotated(path)
  let left = count
  for (let first = files.length - 1; first >= 0; first--) {
    const fd = openSync(files[first] ?? '', 'r')
    const { offset, seen } = tailOffset(fd, left)
    closeSync(fd)
    left -= seen
    if (left > 0 && first > 0) continue
    yield* olderLines(path, offset, wanted, files.slice(first))
    return
  }
}
