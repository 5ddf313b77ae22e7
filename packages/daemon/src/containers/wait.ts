import type { WaitCondition } from '../jobs/containers.ts'
import type { Container } from './container.ts'

/** Resolves when the condition has come true. The listener stands before `onWaiting` is called. */
export function waitFor(container: Container, condition: WaitCondition, onWaiting: () => void, signal: AbortSignal): Promise<{ readonly code: number; readonly error: string }> {
  return new Promise((resolve, reject) => {
    const set = condition === 'removed' ? container.waiters.removal : container.waiters.exit
    const heard = (code: number, error: string): void => {
      set.delete(heard)
      signal.removeEventListener('abort', gone)
      resolve({ code, error })
    }
    const gone = (): void => {
      set.delete(heard)
      reject(signal.reason)
    }
    signal.addEventListener('abort', gone)
    if (condition === 'not-running' && container.task === undefined && !container.state.starting) {
      onWaiting()
      heard(container.state.exitCode, '')
      return
    }
    set.add(heard)
    onWaiting()
  })
}
