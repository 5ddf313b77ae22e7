import type { BuildReport, StepReport } from '@gantry/builder'
import type { Tell } from '../images/progress.ts'

/** Tells of a build as it happens, for clients that draw it: each line is one event of one step. Times are milliseconds since the build began. */
export function stepReport(tell: Tell): BuildReport {
  const begun = performance.now()
  const now = (): number => Math.round((performance.now() - begun) * 10) / 10
  return {
    begin(info): StepReport {
      const { number } = info
      tell({ step: { ...info, event: 'begin', at: now() } })
      const decoders = { stdout: new TextDecoder(), stderr: new TextDecoder() }
      return {
        output: (stream, chunk) => tell({ step: { number, event: 'output', stream, text: decoders[stream].decode(chunk, { stream: true }) } }),
        note: (text) => tell({ step: { number, event: 'output', stream: 'stderr', text: `${text}\n` } }),
        done: ({ cached }) => tell({ step: { number, event: 'done', cached, at: now() } }),
        failed: (message) => tell({ step: { number, event: 'failed', message, at: now() } }),
      }
    },
    warn: (message) => tell({ step: { number: 0, event: 'warning', message } }),
  }
}
