import { type BuildOptions, type BuildResult, solveBuild } from '@gantry/builder'
import { ignoreRules } from '@gantry/std'
import { platformOf } from '../sources.ts'
import { openClientAgents } from './agents.ts'
import { frontendRequest } from './attributes.ts'
import { importCaches } from '../export/cache-exchange.ts'
import { secretOfClient } from './client-credentials.ts'
import { namedContexts, sourcesOf } from './client-sources.ts'
import type { FrontendContext } from './frontend-context.ts'
import { answerQuestion } from '../questions.ts'
import { vertexReport } from './report.ts'
import { portsWithVertices, warnOf } from './told.ts'

/** What the front end comes to; a question has no result. */
export interface FrontendAnswer {
  readonly result: BuildResult | undefined
  readonly metadata: Readonly<Record<string, Uint8Array>>
}

/** Answers what a client asks of the front end for Dockerfiles: a build, or a question about one. */
export async function solveFrontend(context: FrontendContext, attributes: Readonly<Record<string, string>>): Promise<FrontendAnswer> {
  const { ports, session, log, signal } = context
  const request = frontendRequest(attributes)
  const held: Disposable[] = []
  try {
    const sources = await sourcesOf(context, request, held)
    const { dockerfile } = sources
    const rules = sources.ignore === undefined ? undefined : ignoreRules(sources.ignore.toString('latin1'))
    const ignores = (path: string): boolean => rules?.ignores(path) === true
    if (request.question !== '') return { result: undefined, metadata: answerQuestion(request.question, dockerfile, request.buildArgs, { target: request.target, ignores }) }
    warnOf(log, dockerfile, request, ignores)
    const remoteCache = await importCaches(context, context.cacheImports)
    using agents = openClientAgents(session, ports.execRoot, signal)
    const options: BuildOptions = {
      context: sources.context, contexts: namedContexts(context, request, held), dockerfile, target: request.target, buildArgs: request.buildArgs, labels: request.labels, platform: platformOf(request.platform), askedPlatform: request.platform,
      noCache: request.noCache, noCacheStages: request.noCacheStages, remoteCache, inlineCache: request.inlineCache || context.inlineCache, pull: request.pull, network: request.network, hosts: request.hosts, resources: request.resources, entitlements: new Set(context.entitlements.filter((one) => ports.entitlements.has(one))),
      secret: (id) => secretOfClient(session, id), ssh: (id, access) => agents.socket(id, access), signal,
    }
    const result = await solveBuild(portsWithVertices(context), options, vertexReport(log))
    return { result, metadata: { 'containerimage.config': result.document() } }
  } finally {
    for (const one of held) one[Symbol.dispose]()
  }
}
