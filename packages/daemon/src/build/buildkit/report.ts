import type { BuildReport, StepInfo, StepReport } from '@gantry/builder'
import type { StatusLog } from './status-log.ts'

/** Tells of steps as vertices. What changes no file (ENV, LABEL …) is none, as clients know it. */
export function vertexReport(log: StatusLog): BuildReport {
  const digests = new Map<number, string>()
  const own = (info: StepInfo): readonly string[] => info.needs.flatMap((number) => digests.get(number) ?? [])
  return {
    begin(info): StepReport {
      if (info.shown === undefined) return { output: () => undefined, note: () => undefined, done: () => undefined, failed: () => undefined }
      const vertex = log.open(`[${info.shown}] ${info.name}`, own(info))
      digests.set(info.number, vertex.digest)
      return {
        output: (stream, chunk) => vertex.log(stream === 'stdout' ? 1 : 2, chunk),
        note: (text) => vertex.log(2, Buffer.from(`${text}\n`)),
        done: ({ cached }) => vertex.done({ cached }),
        failed: (error) => vertex.done({ error }),
      }
    },
    warn: () => undefined,
  }
}
