import { messageOf } from './errors.ts'

/** How much is said. */
export type LogLevel = 'debug' | 'info' | 'warn' | 'error'
/** Facts beside a constant message. */
export type LogFields = Readonly<Record<string, unknown>>
/** One line of the log. */
export interface LogRecord {
  readonly time: Date
  readonly level: LogLevel
  readonly module: string
  readonly message: string
  readonly fields: LogFields
}

/** Says what happens in one module. */
export interface Logger {
  debug(message: string, fields?: LogFields): void
  info(message: string, fields?: LogFields): void
  warn(message: string, fields?: LogFields): void
  error(message: string, fields?: LogFields): void
}

const ORDER: Readonly<Record<LogLevel, number>> = { debug: 0, info: 1, warn: 2, error: 3 }
let sink: ((record: LogRecord) => void) | undefined
let threshold = ORDER.info

/** Sends all records of this level and above to `to`; a library says nothing until this is called. */
export function openLog(level: LogLevel, to: (record: LogRecord) => void): void {
  threshold = ORDER[level]
  sink = to
}

/** The record as one line of `key=value` words. */
export function formatRecord(record: LogRecord): string {
  const fields = Object.entries(record.fields).map(([key, value]) => `${key}=${quote(value)}`)
  return [record.time.toISOString(), record.level.padEnd(5), `${record.module}:`, record.message, ...fields].join(' ')
}

function quote(value: unknown): string {
  const text = value instanceof Error ? messageOf(value) : typeof value === 'string' ? value : (JSON.stringify(value) ?? 'undefined')
  return /^[\w./:@-]+$/.test(text) ? text : JSON.stringify(text)
}

/** Makes the logger of a module, named `floor.room`. */
export function logger(module: string): Logger {
  const at = (level: LogLevel) => (message: string, fields: LogFields = {}) => {
    if (sink !== undefined && ORDER[level] >= threshold) sink({ time: new Date(), level, module, message, fields })
  }
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') }
}
