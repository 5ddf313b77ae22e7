import { EngineError, newId } from '@gantry/std'

/** Values that a client of ours has sent ahead of a build. They are taken once, and kept for a minute. */
export interface Secrets {
  keep(values: ReadonlyMap<string, Buffer>): string
  take(id: string): ReadonlyMap<string, Buffer>
}

const LIFE_MS = 60_000

/** Opens the place where they wait: memory, and nothing else. */
export function openSecrets(): Secrets {
  const kept = new Map<string, ReadonlyMap<string, Buffer>>()
  return {
    keep(values) {
      const id = newId()
      kept.set(id, values)
      setTimeout(() => kept.delete(id), LIFE_MS).unref()
      return id
    },
    take(id) {
      const values = kept.get(id)
      if (values === undefined) throw new EngineError('not-found', 'the secrets of the build have not come, or they are too old')
      kept.delete(id)
      return values
    },
  }
}
