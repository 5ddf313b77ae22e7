import type { BuildResult } from '@gantry/builder'
import { sendBytes } from '@gantry/buildkit'
import { withBytes } from '../export/bytes.ts'
import { exportCache } from '../export/cache-exchange.ts'
import { checkOutputs, SHOWN } from '../export/check.ts'
import type { OutputAnswer, OutputRequest } from '../export/context.ts'
import { toImage } from '../export/images.ts'
import { during } from '../export/vertex.ts'
import type { OngoingBuild, SolveRequest } from './builds.ts'
import type { ClientContext } from './client-context.ts'
import { toDirectory } from './export-files.ts'

/** Takes what was built to one of the places that the client has named; `nth` among them. */
function exportResult(context: ClientContext, nth: number, request: OutputRequest, result: BuildResult): Promise<OutputAnswer> {
  const vertex = context.log.open(SHOWN[request.Type] ?? '')
  const exporter = String(nth)
  return during(vertex, async () => {
    if (request.Type === 'moby' || request.Type === 'image') return toImage(context, result, request, vertex)
    if (request.Type === 'local') {
      await toDirectory(context, exporter, result, vertex)
      return {}
    }
    vertex.status('sending tarball')
    const answer = await withBytes(context, result, request, (archive) => sendBytes(context.session, exporter, archive, context.signal))
    vertex.status('sending tarball', { done: true })
    return answer
  })
}

/** Places that a client wants what was built to go to. */
function outputsOf(request: SolveRequest): readonly OutputRequest[] {
  return request.Exporters.length > 0 ? request.Exporters : request.ExporterDeprecated === '' ? [] : [{ Type: request.ExporterDeprecated, Attrs: request.ExporterAttrsDeprecated }]
}

/** Refuses what no output or cache can be, before anything is built. */
export function checkExports(request: SolveRequest): void {
  checkOutputs(outputsOf(request), request.Cache?.Exports ?? [])
}

/** Takes what was built to all the places that the client has named, its cache, too. */
export async function exportBuild(contextOf: () => Promise<ClientContext>, { request }: OngoingBuild, result: BuildResult): Promise<OutputAnswer> {
  const wanted = outputsOf(request)
  const caches = request.Cache?.Exports ?? []
  if (wanted.length + caches.length === 0) return {}
  const context = await contextOf()
  let answer: OutputAnswer = {}
  for (const [nth, one] of wanted.entries()) answer = { ...answer, ...(await exportResult(context, nth, one, result)) }
  for (const one of caches) answer = { ...answer, ...(await exportCache(context, one, result)) }
  return answer
}
