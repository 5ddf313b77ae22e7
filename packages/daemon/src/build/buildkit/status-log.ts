import { createHash } from 'node:crypto'
import type { OpenVertex } from '../export/vertex.ts'

/** Seconds and nanoseconds since 1970 (google.protobuf.Timestamp). */
export interface Timestamp {
  readonly seconds: bigint
  readonly nanos: number
}

/** A step as clients draw it (moby.buildkit.v1.Vertex): told again whenever something of it has changed. */
export interface Vertex {
  readonly digest: string
  readonly inputs: readonly string[]
  readonly name: string
  readonly cached: boolean
  readonly started?: Timestamp
  readonly completed?: Timestamp
  readonly error: string
}

/** What a client hears of a build at one time (moby.buildkit.v1.StatusResponse). */
export interface StatusEvent {
  readonly vertexes?: readonly Vertex[]
  readonly statuses?: readonly object[]
  readonly logs?: readonly { readonly vertex: string; readonly timestamp: Timestamp; readonly stream: bigint; readonly msg: Uint8Array }[]
  readonly warnings?: readonly object[]
}

/** All that a build has told, for whoever asks, also later. */
export interface StatusLog {
  open(name: string, inputs?: readonly string[]): OpenVertex
  warn(warning: { readonly short: string; readonly detail: string; readonly filename: string; readonly data: Buffer; readonly line: number }): void
  /** From the beginning, and as it goes on. */
  read(signal: AbortSignal): AsyncGenerator<StatusEvent>
  end(): void
  readonly events: readonly StatusEvent[]
  /** Bytes of output that are kept. */
  readonly bytes: number
  /** Steps that have begun, that are done, and that had nothing to do. */
  counts(): { readonly total: number; readonly completed: number; readonly cached: number; readonly warnings: number }
}

const LOG_LIMIT = 2 << 20
const NANOS = 1_000_000

/** Now, as the protocol has times. */
export function timestamp(ms = performance.timeOrigin + performance.now()): Timestamp {
  const seconds = Math.floor(ms / 1000)
  return { seconds: BigInt(seconds), nanos: Math.floor((ms - seconds * 1000) * NANOS) }
}

function merged(events: readonly StatusEvent[]): StatusEvent {
  const [only] = events
  if (only !== undefined && events.length === 1) return only
  return { vertexes: events.flatMap((one) => one.vertexes ?? []), statuses: events.flatMap((one) => one.statuses ?? []), logs: events.flatMap((one) => one.logs ?? []), warnings: events.flatMap((one) => one.warnings ?? []) }
}

/** Opens the log of a build; `ref` keeps its steps apart from those of others. */
export function openStatusLog(ref: string): StatusLog {
  const events: StatusEvent[] = []
  const vertices = new Map<string, Vertex>()
  let stir = Promise.withResolvers<void>()
  let [ended, warnings, bytes] = [false, 0, 0]
  const add = (event: StatusEvent): void => {
    events.push(event)
    stir.resolve()
    stir = Promise.withResolvers()
  }
  const tell = (vertex: Vertex): Vertex => {
    vertices.set(vertex.digest, vertex)
    add({ vertexes: [vertex] })
    return vertex
  }
  return {
    events,
    get bytes() {
      return bytes
    },
    open(name, inputs = []) {
      const digest = `sha256:${createHash('sha256').update(`${ref} ${vertices.size}`).digest('hex')}`
      let vertex = tell({ digest, inputs, name, cached: false, started: timestamp(), error: '' })
      let logged = 0
      const begun = new Map<string, Timestamp>()
      return {
        digest,
        log(stream, chunk) {
          if (logged > LOG_LIMIT) return
          logged += chunk.length
          bytes += chunk.length
          add({ logs: [{ vertex: digest, timestamp: timestamp(), stream: BigInt(stream), msg: logged > LOG_LIMIT ? Buffer.from(`\n[output clipped, log limit ${LOG_LIMIT} bytes reached]\n`) : Buffer.from(chunk) }] })
        },
        status(id, { current = 0, total = 0, done = false } = {}) {
          const now = timestamp()
          const started = begun.get(id) ?? now
          begun.set(id, started)
          add({ statuses: [{ ID: id, vertex: digest, name: id, current: BigInt(current), total: BigInt(total), timestamp: now, started, ...(done && { completed: now }) }] })
        },
        done({ cached = false, error = '' } = {}) {
          if (vertex.completed === undefined) vertex = tell({ ...vertex, cached, error, completed: timestamp() })
        },
      }
    },
    warn({ short, detail, filename, data, line }) {
      warnings++
      const [first = ''] = vertices.keys()
      add({ warnings: [{ vertex: first, level: 1n, short: Buffer.from(short), detail: [Buffer.from(detail)], info: { filename, data, language: 'Dockerfile' }, ranges: [{ start: { line, character: 0 }, end: { line, character: 0 } }] }] })
    },
    async *read(signal) {
      const { promise: gone, resolve } = Promise.withResolvers<void>()
      signal.addEventListener('abort', () => resolve(), { once: true })
      for (let at = 0; ; ) {
        if (at < events.length) {
          const news = events.slice(at)
          at = events.length
          yield merged(news)
        } else if (ended || signal.aborted) return
        else await Promise.race([stir.promise, gone])
      }
    },
    end() {
      ended = true
      stir.resolve()
    },
    counts: () => {
      const all = [...vertices.values()]
      return { total: all.length, completed: all.filter((one) => one.completed !== undefined).length, cached: all.filter((one) => one.cached).length, warnings }
    },
  }
}
