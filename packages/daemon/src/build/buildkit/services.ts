import type { Duplex } from 'node:stream'
import { type BuildContext, type BuildResult, DockerfileError, isOwnFrontend } from '@gantry/builder'
import { type CallContext, decode, type Door, type Methods, openDoor } from '@gantry/buildkit'
import { EngineError, messageOf } from '@gantry/std'
import type { BuildHandlerPorts } from '../ports.ts'
import { createBridge, type FrontendCall } from './bridge.ts'
import { createBuilds, type Definition, type OngoingBuild, resultNamed, type SolveRequest } from './builds.ts'
import { clientContext } from './client-context.ts'
import { checkExports, exportBuild } from './exports.ts'
import { detailsOf } from './error-details.ts'
import { type FrontendAnswer, solveFrontend } from './frontend.ts'
import type { BuildHistory } from './history.ts'
import { createSessions, sessionHead, tunnel } from './sessions.ts'


/** What the services stand on. */
export interface ServicePorts {
  readonly ports: BuildHandlerPorts
  /** Hears that a build has ended. */
  built(): void
  /** An archive that came beside a build, by its name. */
  uploaded(name: string, signal: AbortSignal): Promise<BuildContext>
  readonly history: BuildHistory
  /** Methods that are about the cache. */
  readonly cache: Methods
  /** Who builds (moby.buildkit.v1.types.WorkerRecord). */
  worker(): object
}

/** BuildKit's clients, and what they want. */
export interface BuildkitServices {
  /** A connection that a client calls us on. */
  readonly door: Door
  /** Carries a build out that one request asks for; ends when `follow` has ended, too. */
  build(request: SolveRequest, follow: (build: OngoingBuild) => Promise<void>, signal: AbortSignal): Promise<Readonly<Record<string, string>>>
  /** A connection that we call a client on; ends with it. */
  session(socket: Duplex, header: (name: string) => string, signal: AbortSignal): Promise<void>
}

const FRONTENDS = new Set(['dockerfile.v0', 'gateway.v0'])
const NO_DEFINITIONS = 'definitions (LLB) are not solved by this version of Gantry: build from a Dockerfile'

function refuseFrontend(frontend: string, attributes: Readonly<Record<string, string>>): void {
  if (!FRONTENDS.has(frontend)) throw new EngineError('unsupported', `front end ${JSON.stringify(frontend)}: expected dockerfile.v0`)
  const source = attributes['source'] ?? ''
  if (frontend === 'gateway.v0' && !isOwnFrontend(source)) throw new EngineError('unsupported', `front end ${JSON.stringify(source)}: other front ends than docker/dockerfile are not supported`)
}

/** What was wrong, in the words that clients show: they have the lines from elsewhere. */
const worded = (error: unknown): unknown => (error instanceof DockerfileError ? Object.assign(new DockerfileError(error.source, error.place, error.summary, { parsing: false, cause: error }), { message: error.summary }) : error)
const decodeOp = (bytes: Uint8Array): { readonly source?: { readonly identifier: string } } => decode('pb.Op', bytes)

/** Makes the services that BuildKit's clients call. */
export function createServices({ ports, built, uploaded, history, cache, worker }: ServicePorts): BuildkitServices {
  const builds = createBuilds()
  const sessions = createSessions()
  const resultOf = (definition: Definition, what: string): BuildResult => {
    const named = resultNamed(definition, decodeOp)
    if (named === undefined) throw new EngineError('unsupported', `${what}: ${NO_DEFINITIONS}`)
    const result = builds.result(named)
    if (result === undefined) throw new EngineError('not-found', `${what}: the result ${named} is not there any more`)
    return result
  }
  const ask = async (build: OngoingBuild, { name, attributes, inputs, imports }: FrontendCall, signal: AbortSignal): Promise<FrontendAnswer> => {
    refuseFrontend(name, attributes)
    build.attributes = attributes
    const { request, log } = build
    const session = await sessions.find(request.Session, signal)
    const results = new Map(Object.entries(inputs).map(([key, definition]) => [key, resultOf(definition, `input ${key}`)] as const))
    const inlineCache = request.Cache?.Exports.some((one) => one.Type === 'inline') === true
    return solveFrontend({ ...clientContext(ports, session, log, AbortSignal.any([signal, build.signal])), uploaded, entitlements: request.Entitlements, inputs: results, cacheImports: imports, inlineCache }, attributes)
  }
  /** What a build came to, by itself or by what its client did with the front end's door. */
  const outcome = async (build: OngoingBuild): Promise<string> => {
    const { request } = build
    if ((request.SourcePolicy?.rules.length ?? 0) > 0) throw new EngineError('unsupported', 'source policies are not supported by this version of Gantry')
    checkExports(request)
    if (request.Frontend !== '') {
      const { result } = await ask(build, { name: request.Frontend, attributes: request.FrontendAttrs, inputs: request.FrontendInputs, imports: request.Cache?.Imports ?? [] }, build.signal)
      return result === undefined ? '' : builds.keep(result)
    }
    if ((request.Definition?.def.length ?? 0) > 0) throw new EngineError('unsupported', NO_DEFINITIONS)
    const returned = await build.returned.promise
    if ('error' in returned) throw returned.error
    return returned.result
  }
  const solve = async (request: SolveRequest, signal: AbortSignal, onBegin: (build: OngoingBuild) => void = () => undefined): Promise<Readonly<Record<string, string>>> => {
    const build = builds.begin(request, signal)
    onBegin(build)
    let [answer, error]: [Readonly<Record<string, string>>, string] = [{}, '']
    try {
      const result = builds.result(await outcome(build))
      if (result !== undefined) answer = await exportBuild(async () => clientContext(ports, await sessions.find(request.Session, signal), build.log, build.signal), build, result)
      return answer
    } catch (cause) {
      error = messageOf(cause)
      throw worded(cause)
    } finally {
      builds.end(build)
      built()
      if (!request.Internal) history.add({ build, endedAt: Date.now(), error, answer })
    }
  }
  const control: Methods = {
    Solve: async (request: SolveRequest, { signal }: CallContext) => ({ ExporterResponse: await solve(request, signal) }),
    async *Status({ Ref }: { readonly Ref: string }, { signal, responseHeader }: CallContext) {
      responseHeader.set('buildkit-current-timestamp', new Date().toISOString())
      const ended = history.events(Ref)
      if (ended !== undefined) return yield* ended
      yield* (await builds.logOf(Ref, signal)).read(signal)
    },
    async *Session(incoming: AsyncIterable<{ readonly data: Uint8Array }>, { requestHeader, signal }: CallContext) {
      const { outside, outgoing } = tunnel(incoming)
      const joined = sessions.join(outside, sessionHead((name) => requestHeader.get(name) ?? ''), signal)
      for await (const data of outgoing) yield { data }
      await joined
    },
    ListWorkers: () => ({ record: [worker()] }),
    Info: () => ({ buildkitVersion: (worker() as { readonly BuildkitVersion: object }).BuildkitVersion }),
    ...cache,
    ...history.methods(() => builds.ongoing()),
  }
  return {
    door: openDoor({ 'moby.buildkit.v1.Control': control, 'moby.buildkit.v1.frontend.LLBBridge': createBridge({ builds, worker, ask, resultOf, worded }), 'grpc.health.v1.Health': { Check: () => ({ status: 1 }) } }, detailsOf),
    async build(request, follow, signal) {
      let told: Promise<void> | undefined
      try {
        return await solve(request, signal, (build) => (told = follow(build)))
      } finally {
        await told
      }
    },
    session: (socket, header, signal) => sessions.join(socket, sessionHead(header), signal),
  }
}
