import type { BuildContext } from '@gantry/builder'
import { EngineError } from '@gantry/std'
import { createArrivals } from './arrivals.ts'

/** Names an archive that came beside its build. */
export const UPLOAD_SCHEME = 'gantry-upload://'

const WAIT_MS = 10_000
/** So long an archive waits for its build. */
const LIFE_MS = 60_000

/** Archives that clients send beside a build (`POST /build?buildid=upload-request:ID`). */
export interface Uploads {
  receive(id: string, context: BuildContext): void
  take(id: string, signal: AbortSignal): Promise<BuildContext>
}

/** Makes the list. */
export function createUploads(): Uploads {
  const all = createArrivals<BuildContext>(WAIT_MS, (id) => new EngineError('not-found', `build ${id}: its context has not come`))
  return {
    receive(id, context) {
      all.set(id, context)
      setTimeout(() => {
        const left = all.get(id)
        all.delete(id)
        left?.[Symbol.dispose]()
      }, LIFE_MS).unref()
    },
    async take(id, signal) {
      const context = await all.find(id, signal)
      all.delete(id)
      return context
    },
  }
}
