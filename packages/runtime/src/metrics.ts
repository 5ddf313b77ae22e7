/** How often something was done and how long it took, in milliseconds. */
export interface Timing {
  readonly count: number
  readonly failures: number
  readonly mean: number
  readonly p50: number
  readonly p95: number
  readonly max: number
}

/** What a supervisor counts. */
export interface Metrics {
  readonly timings: Readonly<Record<string, Timing>>
  readonly counts: Readonly<Record<string, number>>
}

/** Collects them. */
export interface MetricsBook {
  count(name: string): void
  /** Times a piece of work and counts its failure. */
  time<T>(name: string, work: () => Promise<T>): Promise<T>
  read(gauges: Readonly<Record<string, number>>): Metrics
}

/** Percentiles are of the last so many. */
const KEPT = 256

interface Entry {
  count: number
  failures: number
  total: number
  max: number
  readonly last: number[]
}

const at = (sorted: readonly number[], share: number): number => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0

/** Makes an empty book. */
export function createMetrics(): MetricsBook {
  const entries = new Map<string, Entry>()
  const counts = new Map<string, number>()
  return {
    count: (name) => void counts.set(name, (counts.get(name) ?? 0) + 1),
    async time(name, work) {
      const entry = entries.get(name) ?? { count: 0, failures: 0, total: 0, max: 0, last: [] }
      entries.set(name, entry)
      const began = performance.now()
      try {
        return await work()
      } catch (error) {
        entry.failures++
        throw error
      } finally {
        const ms = performance.now() - began
        entry.count++
        entry.total += ms
        entry.max = Math.max(entry.max, ms)
        entry.last.push(ms)
        if (entry.last.length > KEPT) entry.last.shift()
      }
    },
    read(gauges) {
      const timings = Object.fromEntries([...entries].map(([name, entry]): [string, Timing] => {
        const sorted = entry.last.toSorted((a, b) => a - b)
        return [name, { count: entry.count, failures: entry.failures, mean: entry.total / entry.count, p50: at(sorted, 0.5), p95: at(sorted, 0.95), max: entry.max }]
      }))
      return { timings, counts: { ...Object.fromEntries(counts), ...gauges } }
    },
  }
}
