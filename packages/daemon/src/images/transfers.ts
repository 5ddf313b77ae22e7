import type { OpProgress } from './process/protocol.ts'

/** Hears how far a transfer is. */
export type TransferListener = (progress: OpProgress) => void

/** Work of one key that several may wait for: done once, told to all, given up when the last has gone. */
export interface Transfers {
  run(key: string, work: (report: TransferListener, signal: AbortSignal) => Promise<void>, listener: TransferListener, signal: AbortSignal | undefined): Promise<void>
}

interface Transfer {
  readonly stop: AbortController
  readonly listeners: Set<TransferListener>
  readonly done: Promise<void>
  last: OpProgress | undefined
}

/** At most `limit()` transfers go on at a time. */
export function createTransfers(limit: () => number): Transfers {
  const running = new Map<string, Transfer>()
  const waiting: (() => void)[] = []
  let busy = 0
  const enter = async (): Promise<void> => {
    if (busy >= limit()) await new Promise<void>((resolve) => waiting.push(resolve))
    else busy++
  }
  const leave = (): void => {
    const next = waiting.shift()
    if (next === undefined) busy--
    else next()
  }
  const begin = (key: string, work: (report: TransferListener, signal: AbortSignal) => Promise<void>): Transfer => {
    const stop = new AbortController()
    const listeners = new Set<TransferListener>()
    const carryOut = async (): Promise<void> => {
      await enter()
      try {
        stop.signal.throwIfAborted()
        await work((progress) => {
          transfer.last = progress
          for (const listener of listeners) listener(progress)
        }, stop.signal)
      } finally {
        leave()
        if (running.get(key) === transfer) running.delete(key)
      }
    }
    const transfer: Transfer = { stop, listeners, last: undefined, done: Promise.resolve().then(carryOut) }
    transfer.done.catch(() => undefined) // told to everybody who waits
    running.set(key, transfer)
    return transfer
  }
  return {
    async run(key, work, listener, signal) {
      signal?.throwIfAborted()
      const transfer = running.get(key) ?? begin(key, work)
      transfer.listeners.add(listener)
      if (transfer.last !== undefined) listener(transfer.last)
      const gone = Promise.withResolvers<never>()
      const leaveEarly = (): void => gone.reject(signal?.reason)
      signal?.addEventListener('abort', leaveEarly, { once: true })
      try {
        await Promise.race([transfer.done, gone.promise])
      } finally {
        signal?.removeEventListener('abort', leaveEarly)
        transfer.listeners.delete(listener)
        if (transfer.listeners.size === 0) {
          transfer.stop.abort(signal?.reason)
          if (running.get(key) === transfer) running.delete(key)
        }
      }
    },
  }
}
