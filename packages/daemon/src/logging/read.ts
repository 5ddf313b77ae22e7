import { closeSync, existsSync, fstatSync, openSync, rmSync, statSync, truncateSync, watch } from 'node:fs'
import { dirname } from 'node:path'
import { hasCode, parseTimestamp } from '@gantry/std'

/** One line of a container's log. */
export interface LogLine {
  readonly stream: 'stdout' | 'stderr'
  readonly text: string
  /** RFC 3339 with nanoseconds. */
  readonly time: string
  /** Left out: only the text is known, and worked out when somebody asks (`nanosOf`). */
  readonly nanos?: bigint
}

/** When a line was written, nanoseconds since 1970. */
export function nanosOf(line: LogLine): bigint {
  return line.nanos ?? parseTimestamp(line.time)
}

/** What of a log is wanted. */
export interface LogQuery {
  /** undefined: all. */
  readonly tail: number | undefined
  readonly since: bigint | undefined
  readonly until: bigint | undefined
  readonly follow: boolean
}

/** How the lines of one file are found. */
export interface LogFormat {
  /** Where the last `count` entries of a file begin, and how many there are of them. */
  tailOffset(fd: number, count: number): { readonly offset: number; readonly seen: number }
  /** Entries from an offset, as many at once as a block holds; gives the offset behind the last whole one. */
  linesOf(fd: number, from: number): Generator<readonly LogLine[], number>
}

/** The container whose log is read. */
export interface LogState {
  readonly ended: () => boolean
  readonly signal: AbortSignal
  /** Functions that make readers take hold of the file, whatever becomes of its name: whoever removes the log calls them first. */
  readonly readers?: Set<() => void>
}

const POLL_MS = 200

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
    // One that is not there yet is about to be made.
    const place = existsSync(path) ? path : dirname(path)
    const watcher = existsSync(place) ? watch(place, done) : undefined
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
export async function* readLog(path: string, query: LogQuery, { tailOffset, linesOf }: LogFormat, state: LogState): AsyncGenerator<readonly LogLine[]> {
  const wanted = (line: LogLine): boolean => (query.since === undefined || nanosOf(line) >= query.since) && (query.until === undefined || nanosOf(line) <= query.until)
  const current = open(path)
  let offset = 0
  let fd = current
  const hold = (): void => {
    fd ??= open(path)
  }
  state.readers?.add(hold)
  try {
    if (query.tail === undefined) yield* olderLines(path, 0, wanted, linesOf)
    else {
      const { offset: from, seen } = current === undefined ? { offset: 0, seen: 0 } : tailOffset(current, query.tail)
      offset = from
      if (seen < query.tail) yield* olderTail(path, query.tail - seen, wanted, { tailOffset, linesOf })
    }
    for (;;) {
      const over = state.ended()
      fd ??= open(path)
      if (fd !== undefined) {
        // Somebody has cleared it.
        if (fstatSync(fd).size < offset) offset = 0
        const lines = linesOf(fd, offset)
        for (let next = lines.next(); ; next = lines.next()) {
          if (next.done === true) {
            offset = next.value
            break
          }
          yield next.value.filter(wanted)
          const last = next.value.at(-1)
          if (query.until !== undefined && last !== undefined && nanosOf(last) > query.until) return
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
    state.readers?.delete(hold)
    if (fd !== undefined) closeSync(fd)
  }
}

/** Forgets what has been logged. Whoever writes goes on: the file stays, and is appended to. */
export function clearLog(path: string): void {
  for (const older of rotated(path)) rmSync(older)
  if (existsSync(path)) truncateSync(path)
}

/** Lines of the rotated files, oldest first, from an offset in the first of `files`. */
function* olderLines(path: string, offset: number, wanted: (line: LogLine) => boolean, linesOf: LogFormat['linesOf'], files: readonly string[] = rotated(path)): Generator<readonly LogLine[]> {
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
function* olderTail(path: string, count: number, wanted: (line: LogLine) => boolean, { tailOffset, linesOf }: LogFormat): Generator<readonly LogLine[]> {
  const files = rotated(path)
  let left = count
  for (let first = files.length - 1; first >= 0; first--) {
    const fd = openSync(files[first] ?? '', 'r')
    const { offset, seen } = tailOffset(fd, left)
    closeSync(fd)
    left -= seen
    if (left > 0 && first > 0) continue
    yield* olderLines(path, offset, wanted, linesOf, files.slice(first))
    return
  }
}
