/** Things that happen, for readers that come and go: each hears of everything from the moment it follows. */
export interface WaitingList<T> {
  add(item: T): void
  follow(signal: AbortSignal): AsyncGenerator<T>
}

/** A reader that lets so many wait is cut off: it would hold memory for ever. */
const BEHIND_MAX = 100_000

/** Makes an empty one. */
export function waitingList<T>(): WaitingList<T> {
  const readers = new Set<{ readonly items: T[]; wake: () => void; cut: boolean }>()
  return {
    add(item) {
      for (const reader of readers) {
        reader.cut ||= reader.items.length >= BEHIND_MAX
        if (!reader.cut) reader.items.push(item)
        reader.wake()
      }
    },
    follow(signal) {
      // Registered now, not when the first item is asked for.
      const reader = { items: [] as T[], wake: (): void => undefined, cut: false }
      readers.add(reader)
      const wake = (): void => reader.wake()
      signal.addEventListener('abort', wake)
      return read()
      async function* read(): AsyncGenerator<T> {
        try {
          while (!signal.aborted && !reader.cut) {
            const item = reader.items.shift()
            if (item !== undefined) yield item
            else {
              await new Promise<void>((resolve) => {
                reader.wake = resolve
              })
            }
          }
        } finally {
          signal.removeEventListener('abort', wake)
          readers.delete(reader)
        }
      }
    },
  }
}
