import { closeSync, existsSync, openSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { setTimeout as after } from 'node:timers/promises'
import { asObject, EngineError, hasCode, isEngineError, logger, messageOf, readText } from '@gantry/std'
import { fillTag } from '../../logging/attributes.ts'
import type { LogDriver, LogHost, LogSink, LogSource } from '../../logging/drivers/driver.ts'
import { LOG_DRIVERS } from '../../logging/drivers/table.ts'
import { JOURNAL } from '../../logging/journal.ts'
import { type LogLine, nanosOf, readLog } from '../../logging/read.ts'
import type { Container } from '../container.ts'
import { attributesOf } from './stream.ts'

const log = logger('daemon.log-shipping')
const BATCH = 64
const [FIRST_WAIT_MS, LONGEST_WAIT_MS] = [100, 30_000]
/** Tries after the container has ended; what is left then is taken up by the next daemon. */
const LAST_TRIES = 10
const CURSOR_MS = 1000

/** How far a log has been sent: lines of that time, and how many of them. */
interface Cursor {
  readonly nanos: bigint
  readonly count: number
}

/** Sends logs elsewhere. The shim has written them here before, so that nothing is lost while the receiver or the daemon is away, and no container waits for either. */
export interface LogShipping {
  /** Reaches the receiver before the container starts: one that cannot be reached fails the start. */
  prepare(container: Container): Promise<void>
  /** The container does not start after all. */
  letGo(container: Container): Promise<void>
  /** Sends what a container says from now on, and what has not been sent yet. */
  follow(container: Container): void
  /** Sends on what was left over. */
  close(): Promise<void>
}

/** What shipping needs. */
export interface LogShippingPorts {
  readonly host: LogHost
  logPath(container: Container): string
}

const ZERO: Cursor = { nanos: 0n, count: 0 }
const cursorPath = (logPath: string): string => `${logPath}.sent`

function readCursor(path: string): Cursor {
  const text = readText(path)
  if (text === undefined) return ZERO
  try {
    const { nanos, count } = asObject(JSON.parse(text), path)
    return { nanos: BigInt(String(nanos)), count: Number(count) }
  } catch (error) {
    if (!(error instanceof SyntaxError) && !isEngineError(error)) throw error
    log.warn('the mark of what has been sent is damaged: the log is sent from its beginning', { path })
    return ZERO
  }
}

function writeCursor(path: string, cursor: Cursor): void {
  try {
    writeFileSync(path, JSON.stringify({ nanos: String(cursor.nanos), count: cursor.count }))
  } catch (error) {
    // The container has been removed.
    if (!hasCode(error, 'ENOENT')) throw error
  }
}

function sourceOf(container: Container): LogSource {
  const { document, name } = container
  const options = document.hostConfig.LogConfig.Config
  return {
    id: container.id, name, imageId: document.imageId, imageName: document.config.Image, command: [document.path, ...document.args].join(' '), created: new Date(document.createdAt).toISOString(),
    tag: fillTag(options['tag'] || '{{.ID}}', { ...document, name }), attributes: attributesOf(container), hostname: hostname(),
  }
}

/** Lines behind the cursor. */
export function unsent(lines: readonly LogLine[], cursor: Cursor): { readonly lines: readonly LogLine[]; readonly skipped: number } {
  let skipped = 0
  const left = lines.filter((line) => {
    const nanos = nanosOf(line)
    if (nanos > cursor.nanos) return true
    if (nanos === cursor.nanos && skipped === cursor.count) return true
    if (nanos === cursor.nanos) skipped++
    return false
  })
  return { lines: left, skipped }
}

/** The cursor behind lines that have been sent. */
export function advance(cursor: Cursor, lines: readonly LogLine[]): Cursor {
  const last = lines.at(-1)
  if (last === undefined) return cursor
  const nanos = nanosOf(last)
  const count = lines.filter((line) => nanosOf(line) === nanos).length
  return { nanos, count: nanos === cursor.nanos ? cursor.count + count : count }
}

const TAIL = 256

/** Whether the end of a log has been sent: looked at from the end, for a log may be long. */
function isAllSent(path: string, cursor: Cursor): boolean {
  if (!existsSync(path)) return false
  const fd = openSync(path, 'r')
  try {
    const { offset } = JOURNAL.tailOffset(fd, TAIL)
    const times = [...JOURNAL.linesOf(fd, offset)].flat().map(nanosOf)
    return times.length > 0 && times.every((nanos) => nanos <= cursor.nanos) && times.filter((nanos) => nanos === cursor.nanos).length <= Math.min(cursor.count, TAIL - 1)
  } finally {
    closeSync(fd)
  }
}

/** Makes it. */
export function createLogShipping(ports: LogShippingPorts): LogShipping {
  const closing = new AbortController()
  const prepared = new Map<string, LogSink>()
  const running = new Map<string, Promise<void>>()
  const driverOf = (container: Container): LogDriver | undefined => LOG_DRIVERS[container.document.hostConfig.LogConfig.Type]
  const open = (container: Container): Promise<LogSink> => {
    const driver = driverOf(container)
    if (driver === undefined) throw new EngineError('internal', 'this log is sent nowhere')
    return driver.open(container.document.hostConfig.LogConfig.Config, sourceOf(container), ports.host)
  }
  /** Tries until the lines are taken, the daemon stops, or the container has ended long ago. */
  const deliver = async (container: Container, held: { sink: LogSink | undefined }, lines: readonly LogLine[]): Promise<boolean> => {
    let last = 0
    for (let wait = FIRST_WAIT_MS; !closing.signal.aborted; wait = Math.min(wait * 2, LONGEST_WAIT_MS)) {
      try {
        held.sink ??= await open(container)
        await held.sink.send(lines)
        return true
      } catch (cause) {
        if (wait === FIRST_WAIT_MS) log.warn('the receiver of a log does not take it: it is kept here and sent later', { id: container.id, reason: messageOf(cause) })
        await held.sink?.close()
        held.sink = undefined
        if (container.task === undefined && ++last > LAST_TRIES) return false
        await after(wait, undefined, { signal: closing.signal, ref: false }).catch(() => undefined)
      }
    }
    return false
  }
  /** Reads on from where it was left; gives how far it came. */
  const shipFrom = async (container: Container, path: string, held: { sink: LogSink | undefined }, from: Cursor): Promise<Cursor> => {
    let cursor = from
    let left = from
    let saved = Date.now()
    for await (const read of readLog(path, { tail: undefined, since: from.nanos, until: undefined, follow: true }, JOURNAL, { ended: () => container.task === undefined, signal: closing.signal, readers: container.logReaders })) {
      const fresh = unsent(read, left)
      left = { nanos: left.nanos, count: left.count - fresh.skipped }
      for (let at = 0; at < fresh.lines.length; at += BATCH) {
        const batch = fresh.lines.slice(at, at + BATCH)
        if (!(await deliver(container, held, batch))) return cursor
        cursor = advance(cursor, batch)
        if (Date.now() - saved < CURSOR_MS) continue
        saved = Date.now()
        writeCursor(cursorPath(path), cursor)
      }
    }
    return cursor
  }
  const ship = async (container: Container): Promise<void> => {
    const path = ports.logPath(container)
    const held = { sink: prepared.get(container.id) }
    prepared.delete(container.id)
    try {
      const cursor = readCursor(cursorPath(path))
      if (container.task === undefined && isAllSent(path, cursor)) return
      writeCursor(cursorPath(path), await shipFrom(container, path, held, cursor))
    } finally {
      await held.sink?.close()
    }
  }
  const letGo = async (container: Container): Promise<void> => {
    const sink = prepared.get(container.id)
    prepared.delete(container.id)
    await sink?.close()
  }
  return {
    letGo,
    async prepare(container) {
      const driver = driverOf(container)
      if (driver === undefined || driver.opensLater(container.document.hostConfig.LogConfig.Config)) return
      await letGo(container)
      prepared.set(container.id, await open(container))
    },
    follow(container) {
      if (driverOf(container) === undefined) return
      const before = running.get(container.id) ?? Promise.resolve()
      const mine = before.then(() => ship(container)).catch((cause: unknown) => log.error('a log is not sent any more', { id: container.id, cause }))
      running.set(container.id, mine)
      void mine.then(() => {
        if (running.get(container.id) === mine) running.delete(container.id)
      })
    },
    async close() {
      closing.abort()
      await Promise.all(running.values())
      for (const sink of prepared.values()) await sink.close()
      prepared.clear()
    },
  }
}
