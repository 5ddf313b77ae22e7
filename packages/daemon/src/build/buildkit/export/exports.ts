import type { BuildResult } from '@gantry/builder'
import type { ClientSession } from '@gantry/buildkit'
import { EngineError } from '@gantry/std'
import type { BuildHandlerPorts } from '../../ports.ts'
import type { ExportAnswer, ExportRequest, OngoingBuild, SolveRequest } from '../builds.ts'
import { checkCache, type ExchangeContext, exportCache } from '../cache-exchange.ts'
import { during } from '../status-log.ts'
import { toArchive } from './archives.ts'
import { toDirectory, toTar } from './files.ts'
import { type Attributes, flagOf, outputForm } from './form.ts'
import { toImage } from './images.ts'

const SHOWN: Readonly<Record<string, string>> = { moby: 'exporting to image', image: 'exporting to image', docker: 'exporting to docker image format', oci: 'exporting to oci image format', local: 'exporting to client directory', tar: 'exporting to client tarball' }

/** Attributes that other builders know, and the one value that is honoured here. */
const ONLY: Readonly<Record<string, boolean>> = { 'rewrite-timestamp': false, 'registry.insecure': false, 'name-canonical': false, 'prefer-nondist-layers': false, 'platform-split': false, 'push-by-digest': false, store: true, tar: true }

function refuse(attributes: Attributes): void {
  const wanted = Object.keys(attributes).find((name) => name.startsWith('annotation') || name === 'dangling-name-prefix' || (ONLY[name] !== undefined && (flagOf(attributes, name) ?? ONLY[name]) !== ONLY[name]))
  if (wanted !== undefined) throw new EngineError('unsupported', `output: ${wanted}=${attributes[wanted]}: not supported by this version of Gantry`)
}

/** Takes what was built to one of the places that the client has named; `nth` among them. */
async function exportResult(context: ExchangeContext, nth: number, request: ExportRequest, result: BuildResult): Promise<ExportAnswer> {
  const vertex = context.log.open(SHOWN[request.Type] ?? '')
  const exporter = String(nth)
  const nothing = (): ExportAnswer => ({})
  return during(vertex, () => {
    if (request.Type === 'local') return toDirectory(context, exporter, result, vertex).then(nothing)
    if (request.Type === 'tar') return toTar(context, exporter, result, vertex).then(nothing)
    if (request.Type === 'docker' || request.Type === 'oci') return toArchive(context, exporter, result, request, vertex)
    return toImage(context, result, request, vertex)
  })
}

/** Places that a client wants what was built to go to. */
function outputsOf(request: SolveRequest): readonly ExportRequest[] {
  return request.Exporters.length > 0 ? request.Exporters : request.ExporterDeprecated === '' ? [] : [{ Type: request.ExporterDeprecated, Attrs: request.ExporterAttrsDeprecated }]
}

/** Refuses what no output or cache can be, before anything is built. */
export function checkOutputs(request: SolveRequest): void {
  for (const { Type, Attrs } of outputsOf(request)) {
    if (SHOWN[Type] === undefined) throw new EngineError('unsupported', `output type ${JSON.stringify(Type)}: expected one of image, docker, oci, local, tar`)
    refuse(Attrs)
    outputForm(Attrs)
  }
  for (const cache of request.Cache?.Exports ?? []) checkCache(cache)
}

/** Takes what was built to all the places that the client has named, its cache, too. */
export async function exportBuild(ports: BuildHandlerPorts, { request, log, signal }: OngoingBuild, sessionOf: () => Promise<ClientSession>, result: BuildResult): Promise<ExportAnswer> {
  const wanted = outputsOf(request)
  const caches = request.Cache?.Exports ?? []
  if (wanted.length + caches.length === 0) return {}
  const context = { ports, session: await sessionOf(), log, signal }
  let answer: ExportAnswer = {}
  for (const [nth, one] of wanted.entries()) answer = { ...answer, ...(await exportResult(context, nth, one, result)) }
  for (const one of caches) answer = { ...answer, ...(await exportCache(context, one, result)) }
  return answer
}
