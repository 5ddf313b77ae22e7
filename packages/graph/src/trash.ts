import { mkdirSync, readdirSync, renameSync } from 'node:fs'
import { hasCode, logger, randomHex } from '@gantry/std'
import type { Trees } from '@gantry/linux'

const log = logger('graph.trash')
const IDLE_MS = 500

/** Things are moved out of sight at once and removed when it is quiet. */
export interface Trash extends AsyncDisposable {
  discard(path: string): void
  /** Resolves when everything that was discarded is gone. */
  empty(): Promise<void>
}

/** Makes the trash; what an earlier daemon left in it is removed too. */
export function createTrash(directory: string, trees: Trees): Trash {
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  let timer: NodeJS.Timeout | undefined
  let sweeping: Promise<void> = Promise.resolve()
  const sweep = async (): Promise<void> => {
    for (const name of readdirSync(directory)) {
      await trees.remove(directory, name).catch((cause: unknown) => log.warn('cannot remove', { name, cause }))
    }
  }
  const later = (): void => {
    if (timer !== undefined) clearTimeout(timer)
    timer = setTimeout(() => {
      timer = undefined
      sweeping = sweeping.then(sweep)
    }, IDLE_MS)
  }
  later()
  const empty = (): Promise<void> => {
    if (timer !== undefined) clearTimeout(timer)
    timer = undefined
    sweeping = sweeping.then(sweep)
    return sweeping
  }
  return {
    discard(path) {
      try {
        renameSync(path, `${directory}/${randomHex(16)}`)
      } catch (error) {
        if (!hasCode(error, 'ENOENT')) throw error
        return
      }
      later()
    },
    empty,
    async [Symbol.asyncDispose]() {
      if (timer !== undefined) clearTimeout(timer)
      await sweeping
    },
  }
}
