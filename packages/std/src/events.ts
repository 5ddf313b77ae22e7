/** Hands values to whoever listens; a listener that throws is reported and does not keep others from hearing. */
export interface Topic<T> {
  publish(value: T): void
  subscribe(listener: (value: T) => void): () => void
  readonly subscribers: number
}

/** Makes a topic. */
export function topic<T>(onError: (cause: unknown) => void): Topic<T> {
  const listeners = new Set<(value: T) => void>()
  return {
    publish(value) {
      for (const listener of [...listeners]) {
        try {
          listener(value)
        } catch (cause) {
          onError(cause)
        }
      }
    },
    subscribe(listener) {
      listeners.add(listener)
      return () => {
        listeners.delete(listener)
      }
    },
    get subscribers() {
      return listeners.size
    },
  }
}
