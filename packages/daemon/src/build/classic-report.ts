import type { BuildReport, StepInfo, StepReport } from '@gantry/builder'
import { shortDigest, type Tell } from '../images/progress.ts'
import { stepReport } from './step-report.ts'

const MAX_HELD = 4 << 20

interface Step {
  readonly info: StepInfo
  readonly held: string[]
  bytes: number
  ended: boolean
}

/**
 * Tells of a build as the classic builder does (`Step 1/3 : FROM busybox`, ` ---> Using cache`). Stages run at the same time: what a
 * step says waits until all before it have ended, so that the text reads in the order of the file.
 */
function classicReport(tell: Tell, quiet: boolean): BuildReport {
  const steps = new Map<number, Step>()
  let current = 1
  const say = (text: string): void => {
    if (!quiet) tell({ stream: text })
  }
  const advance = (): void => {
    for (let step = steps.get(current); step !== undefined; step = steps.get(current)) {
      for (const text of step.held.splice(0)) say(text)
      if (!step.ended) return
      current++
    }
  }
  const speak = (step: Step, text: string): void => {
    if (step.info.number === current) return say(text)
    step.bytes += text.length
    if (step.bytes <= MAX_HELD) step.held.push(text)
  }
  return {
    begin(info): StepReport {
      const known = steps.get(info.number)
      const step: Step = known ?? { info, held: [], bytes: 0, ended: false }
      if (known === undefined) steps.set(info.number, step)
      else step.ended = false
      const decoders = { stdout: new TextDecoder(), stderr: new TextDecoder() }
      if (known === undefined) speak(step, `Step ${info.number}/${info.total} : ${info.name}\n`)
      advance()
      return {
        output: (stream, chunk) => speak(step, decoders[stream].decode(chunk, { stream: true })),
        note: (text) => speak(step, `${text}\n`),
        done({ cached, id }) {
          if (cached && /^(RUN|COPY|ADD) /.test(info.name)) speak(step, ' ---> Using cache\n')
          if (id !== '') speak(step, ` ---> ${shortDigest(id)}\n`)
          step.ended = true
          advance()
        },
        failed() {
          step.ended = true
          advance()
        },
      }
    },
    warn: (message) => say(`${message}\n`),
  }
}

/** Tells of a build as its client wants it: as text, or as events. */
export function reportOf({ steps, quiet, tell }: { readonly steps: boolean; readonly quiet: boolean; readonly tell: Tell }): BuildReport {
  return steps ? stepReport(tell) : classicReport(tell, quiet)
}
