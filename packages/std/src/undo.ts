/** Steps to take back when a sequence fails half-way. Every undo may run twice. */
export interface UndoStack extends AsyncDisposable {
  add(what: string, undo: () => void | Promise<void>): void
  /** Nothing is taken back from here on. */
  commit(): void
}

/** Hears of an undo that failed; the first error of the sequence stays the one that is thrown. */
export type UndoObserver = (what: string, cause: unknown) => void

/** Makes an undo stack; leaving its scope without `commit` runs the undos, last first. */
export function undoStack(observe: UndoObserver = () => undefined): UndoStack {
  let steps: { readonly what: string; readonly undo: () => void | Promise<void> }[] = []
  return {
    add(what, undo) {
      steps.push({ what, undo })
    },
    commit() {
      steps = []
    },
    async [Symbol.asyncDispose]() {
      for (const step of steps.splice(0).reverse()) {
        try {
          await step.undo()
        } catch (cause) {
          observe(step.what, cause)
        }
      }
    },
  }
}
