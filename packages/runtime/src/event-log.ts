import { appendFileSync } from 'node:fs'
import { readText, replaceFile } from '@gantry/std'

/** What happened to a container, in the order in which the supervisor learned of it. */
export interface SupervisorEvent {
  /** Counts up from 1, over restarts, too. */
  readonly sequence: number
  /** Milliseconds since 1970. */
  readonly at: number
  readonly type: 'start' | 'exec' | 'exit' | 'exec-exit' | 'oom' | 'pause' | 'resume' | 'adopt' | 'failed'
  readonly id: string
  readonly pid: number
  /** Exit code, for exits. */
  readonly code: number
  /** What failed. */
  readonly message: string
}

/** A new event, before it has its place. */
export type NewEvent = Pick<SupervisorEvent, 'type' | 'id'> & Partial<Pick<SupervisorEvent, 'pid' | 'code' | 'message'>>

/** Events, kept in a file and told to whoever listens. */
export interface EventLog {
  add(event: NewEvent): void
  /** What is still there from a place on. */
  replay(fromSequence: number): readonly SupervisorEvent[]
  /** Hears of every event from now on. */
  listen(heard: (event: SupervisorEvent) => void): () => void
  flush(): void
}

/** How many events are kept. */
export const DEFAULT_RETAIN = 500

/** Reads what an earlier process kept; a line that was cut off by its end is passed over. */
export function parseEvents(text: string): readonly SupervisorEvent[] {
  return text.split('\n').flatMap((line) => {
    if (!line.endsWith('}')) return []
    try {
      return [JSON.parse(line) as SupervisorEvent]
    } catch (error) {
      if (error instanceof SyntaxError) return []
      throw error
    }
  })
}

/** Opens the log; without a path it lives in memory alone. Lines are written when there is time: a start does not wait for them. */
export function openEventLog(options: { readonly path?: string; readonly retain?: number } = {}): EventLog {
  const retain = options.retain ?? DEFAULT_RETAIN
  const { path } = options
  let events = parseEvents(path === undefined ? '' : (readText(path) ?? '')).slice(-retain)
  let sequence = events.at(-1)?.sequence ?? 0
  let unwritten: string[] = []
  let lines = events.length
  let scheduled = false
  const listeners = new Set<(event: SupervisorEvent) => void>()
  const flush = (): void => {
    scheduled = false
    if (path === undefined || unwritten.length === 0) return
    const text = unwritten.join('')
    lines += unwritten.length
    unwritten = []
    if (lines <= 2 * retain) return appendFileSync(path, text, { mode: 0o600 })
    replaceFile(path, events.map((event) => `${JSON.stringify(event)}\n`).join(''), 0o600)
    lines = events.length
  }
  return {
    add(event) {
      const whole: SupervisorEvent = { sequence: ++sequence, at: Date.now(), pid: 0, code: 0, message: '', ...event }
      events.push(whole)
      if (events.length > 2 * retain) events = events.slice(-retain)
      unwritten.push(`${JSON.stringify(whole)}\n`)
      if (!scheduled) setImmediate(flush)
      scheduled = true
      for (const heard of listeners) heard(whole)
    },
    replay: (from) => events.slice(-retain).filter((event) => event.sequence >= from),
    listen(heard) {
      listeners.add(heard)
      return () => void listeners.delete(heard)
    },
    flush,
  }
}
