/** Chunks from one who gives them to one who takes them, who may come at different times. A giver that is ahead waits. */
export interface AsyncQueue {
  push(chunk: Buffer): Promise<void>
  /** No more come; or what went wrong. */
  end(error?: unknown): void
  read(): AsyncGenerator<Buffer>
}

const AHEAD_BYTES = 4 << 20

/** Makes a queue. */
export function asyncQueue(): AsyncQueue {
  let held: Buffer[] = []
  let bytes = 0
  let ended: { readonly error?: unknown } | undefined
  let stir = Promise.withResolvers<void>()
  let taken = Promise.withResolvers<void>()
  let closed = false
  return {
    async push(chunk) {
      if (closed) return
      held.push(chunk)
      bytes += chunk.length
      stir.resolve()
      if (bytes > AHEAD_BYTES) await taken.promise
    },
    end(error) {
      ended = { error }
      stir.resolve()
    },
    async *read() {
      try {
        for (;;) {
          const all = held
          held = []
          bytes = 0
          taken.resolve()
          taken = Promise.withResolvers()
          if (all.length > 0) yield Buffer.concat(all)
          else if (ended !== undefined) {
            if (ended.error !== undefined) throw ended.error
            return
          } else {
            stir = Promise.withResolvers()
            await stir.promise
          }
        }
      } finally {
        closed = true
        taken.resolve()
      }
    },
  }
}
