import type { Task } from '@gantry/runtime'
import { formatNanos } from '@gantry/std'
import type { KeptStep } from './record.ts'

/** The time points of a start: where each step ended. */
export function stopwatch(): { lap(phase: string, what: string): void; readonly steps: readonly KeptStep[]; readonly elapsedUs: () => number } {
  const began = performance.now()
  const elapsedUs = (): number => Math.round((performance.now() - began) * 1000)
  const steps: KeptStep[] = []
  let last = 0
  return {
    steps,
    elapsedUs,
    lap(phase, what) {
      const to = elapsedUs()
      steps.push({ phase, what, side: 'daemon', from: last, to })
      last = to
    },
  }
}

/** The helper's own time stamps, moved onto the request's clock. The init begins where the shim has cloned it. */
export function programSteps(task: Task, launchedAt: number): readonly KeptStep[] {
  const { steps } = task
  const cloned = steps.findLast((step) => step.side === 'shim' && step.phase === 'clone' && step.what === 'clone the process')
  const last = { shim: 0, init: cloned?.endedAt ?? 0 }
  return steps.map((step) => {
    const from = Math.min(last[step.side], step.endedAt)
    last[step.side] = step.endedAt
    return { phase: step.phase, what: step.what, side: step.side, from: launchedAt + Math.round(from / 1000), to: launchedAt + Math.round(step.endedAt / 1000) }
  })
}

/** Zero time of Go, which clients take for "never". */
export function timeText(nanos: string): string {
  return nanos === '' ? '0001-01-01T00:00:00Z' : formatNanos(BigInt(nanos))
}
