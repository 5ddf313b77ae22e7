import type { BuildResult } from '@gantry/builder'
import type { ClientSession } from '@gantry/buildkit'
import { EngineError } from '@gantry/std'
import type { BuildHandlerPorts } from '../ports.ts'
import type { ExportAnswer, ExportRequest, OngoingBuild } from './builds.ts'
import { type ExchangeContext, exportCache } from './cache-exchange.ts'
import { toDirectory, toTar } from './export-files.ts'
import { toArchive, toImage } from './export-images.ts'
import { during } from './status-log.ts'

const SHOWN: Readonly<Record<string, string>> = { moby: 'exporting to image', image: 'exporting to image', docker: 'exporting to docker image format', oci: 'exporting to oci image format', local: 'exporting to client directory', tar: 'exporting to client tarball' }

function refuse(attributes: Readonly<Record<string, string>>): void {
  const unknown = Object.entries(attributes).find(([name, value]) => name.startsWith('annotation') || (name === 'rewrite-timestamp' && value === 'true') || (name === 'compression' && /^(?:zstd|estargz)$/.test(value)))
  if (unknown !== undefined) throw new EngineError('unsupported', `output: ${unknown[0]}=${unknown[1]}: not supported by this version of Gantry`)
}

/** Takes what was built to one of the places that the client has named; `nth` among them. */
async function exportResult(context: ExchangeContext, nth: number, request: ExportRequest, result: BuildResult): Promise<ExportAnswer> {
  const shown = SHOWN[request.Type]
  if (shown === undefined) throw new EngineError('unsupported', `output type ${JSON.stringify(request.Type)}: expected one of image, docker, oci, local, tar`)
  refuse(request.Attrs)
  const vertex = context.log.open(shown)
  const exporter = String(nth)
  const nothing = (): ExportAnswer => ({})
  return during(vertex, () => {
    if (request.Type === 'local') return toDirectory(context, exporter, result, vertex).then(nothing)
    if (request.Type === 'tar') return toTar(context, exporter, result, vertex).then(nothing)
    if (request.Type === 'docker' || request.Type === 'oci') return toArchive(context, exporter, result, request, vertex)
    return toImage(context, result, request, vertex)
  })
}

/** Takes what was built to all the places that the client has named, its cache, too. */
export async function exportBuild(ports: BuildHandlerPorts, { request, log, signal }: OngoingBuild, sessionOf: () => Promise<ClientSession>, result: BuildResult): Promise<ExportAnswer> {
  const wanted: readonly ExportRequest[] = request.Exporters.length > 0 ? request.Exporters : request.ExporterDeprecated === '' ? [] : [{ Type: request.ExporterDeprecated, Attrs: request.ExporterAttrsDeprecated }]
  const caches = request.Cache?.Exports ?? []
  if (wanted.length + caches.length === 0) return {}
  const context = { ports, session: await sessionOf(), log, signal }
  let answer: ExportAnswer = {}
  for (const [nth, one] of wanted.entries()) answer = { ...answer, ...(await exportResult(context, nth, one, result)) }
  for (const one of caches) answer = { ...answer, ...(await exportCache(context, one, result)) }
  return answer
}
