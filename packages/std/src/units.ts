import { EngineError } from './errors.ts'

const BINARY: Readonly<Record<string, number>> = { '': 1, b: 1, k: 1024, m: 1024 ** 2, g: 1024 ** 3, t: 1024 ** 4, p: 1024 ** 5 }

/** Reads `64m`, `1.5g`, `1024` or `10kb` (powers of 1024) as whole bytes. */
export function parseBytes(text: string): number {
  const match = /^(-?\d+(?:\.\d+)?)\s?([bkmgtp]?)(?:i?b)?$/i.exec(text.trim())
  const unit = BINARY[match?.[2]?.toLowerCase() ?? '?']
  if (match === null || unit === undefined) throw new EngineError('invalid', `invalid size: '${text}'`)
  return Math.trunc(Number(match[1]) * unit)
}

/** Four significant digits and a decimal unit: `1.234MB` (Docker's HumanSize). */
export function humanSize(bytes: number, digits = 4): string {
  return scaled(bytes, 1000, ['B', 'kB', 'MB', 'GB', 'TB', 'PB'], digits)
}

function scaled(bytes: number, base: number, units: readonly string[], digits: number): string {
  let value = bytes
  let unit = 0
  while (value >= base && unit < units.length - 1) {
    value /= base
    unit++
  }
  return `${Number(value.toPrecision(digits))}${units[unit]}`
}

/** A span in Docker's words: `Less than a second`, `5 seconds`, `About a minute`, `3 weeks`. */
export function humanDuration(ms: number): string {
  const seconds = Math.floor(ms / 1000)
  if (seconds < 1) return 'Less than a second'
  if (seconds === 1) return '1 second'
  if (seconds < 60) return `${seconds} seconds`
  const minutes = Math.floor(seconds / 60)
  if (minutes === 1) return 'About a minute'
  if (minutes < 60) return `${minutes} minutes`
  const hours = Math.round(seconds / 3600)
  if (hours === 1) return 'About an hour'
  if (hours < 48) return `${hours} hours`
  if (hours < 24 * 7 * 2) return `${Math.floor(hours / 24)} days`
  if (hours < 24 * 30 * 2) return `${Math.floor(hours / 24 / 7)} weeks`
  if (hours < 24 * 365 * 2) return `${Math.floor(hours / 24 / 30)} months`
  return `${Math.floor(hours / 24 / 365)} years`
}

const GO_UNITS: Readonly<Record<string, number>> = { ns: 1e-6, us: 1e-3, µs: 1e-3, ms: 1, s: 1000, m: 60_000, h: 3_600_000 }

/** Reads Go's duration text (`1h30m`, `1.5s`, `-2m`) as milliseconds; undefined when it is none. */
export function parseDuration(text: string): number | undefined {
  const match = /^([+-]?)((?:\d+(?:\.\d+)?(?:ns|us|µs|ms|s|m|h))+|0)$/.exec(text)
  if (match === null) return undefined
  let total = 0
  for (const part of (match[2] ?? '').matchAll(/(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)/g)) total += Number(part[1]) * (GO_UNITS[part[2] ?? ''] ?? 0)
  return match[1] === '-' ? -total : total
}

/** Unix seconds with an optional fraction, RFC 3339, or a Go duration back from now: nanoseconds since 1970. */
export function parseTimestamp(text: string, nowMs: number = Date.now()): bigint {
  const unix = /^(-?\d+)(?:\.(\d{1,9}))?$/.exec(text)
  if (unix !== null) return BigInt(unix[1] ?? '0') * 1_000_000_000n + BigInt((unix[2] ?? '').padEnd(9, '0'))
  const back = parseDuration(text)
  if (back !== undefined) return BigInt(Math.round((nowMs - back) * 1000)) * 1000n
  const zone = /(?:Z|[+-]\d\d:\d\d)$/.test(text) ? text : /T/.test(text) ? `${text}Z` : `${text}T00:00:00Z`
  const ms = Date.parse(zone.replace(/\.\d+/, ''))
  if (Number.isNaN(ms)) throw new EngineError('invalid', `failed to parse value as time or duration: "${text}"`)
  const fraction = /\.(\d{1,9})/.exec(zone)?.[1] ?? ''
  return BigInt(ms) * 1_000_000n + BigInt(fraction.padEnd(9, '0'))
}

/** Nanoseconds since 1970 as RFC 3339 in UTC, trailing zeros of the fraction left out (Go's RFC3339Nano). */
export function formatNanos(nanos: bigint): string {
  const whole = new Date(Number(nanos / 1_000_000_000n) * 1000).toISOString().slice(0, 19)
  const fraction = String(nanos % 1_000_000_000n).padStart(9, '0').replace(/0+$/, '')
  return fraction === '' ? `${whole}Z` : `${whole}.${fraction}Z`
}

const startedAt = BigInt(Date.now()) * 1_000_000n - process.hrtime.bigint()

/** The wall clock in nanoseconds since 1970. */
export function nowNanos(): bigint {
  const ms = BigInt(Date.now()) * 1_000_000n
  const fine = startedAt + process.hrtime.bigint()
  const drift = fine - ms
  return drift > 2_000_000n || drift < -2_000_000n ? ms : fine
}
