import type { EngineError } from '@gantry/std'

/** Things by the names that clients gave them; who asks too early waits a moment. */
export interface Arrivals<T> {
  set(name: string, value: T): void
  get(name: string): T | undefined
  delete(name: string): void
  values(): readonly T[]
  find(name: string, signal: AbortSignal): Promise<T>
}

/** Makes the list. `missing`: what is wrong when something has not come. */
export function createArrivals<T>(waitMs: number, missing: (name: string) => EngineError): Arrivals<T> {
  const all = new Map<string, T>()
  const waiting = new Set<() => void>()
  return {
    get: (name) => all.get(name),
    delete: (name) => void all.delete(name),
    values: () => [...all.values()],
    set(name, value) {
      all.set(name, value)
      for (const stir of waiting) stir()
    },
    async find(name, signal) {
      for (let found = all.get(name), until: AbortSignal | undefined; ; found = all.get(name)) {
        if (found !== undefined) return found
        until ??= AbortSignal.any([signal, AbortSignal.timeout(waitMs)])
        if (until.aborted) throw missing(name)
        const { promise, resolve } = Promise.withResolvers<void>()
        waiting.add(resolve)
        until.addEventListener('abort', () => resolve(), { once: true })
        await promise
        waiting.delete(resolve)
      }
    },
  }
}
