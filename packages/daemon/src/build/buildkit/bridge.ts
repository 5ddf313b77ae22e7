import type { BuildResult } from '@gantry/builder'
import type { CallContext, Methods } from '@gantry/buildkit'
import { asList, asObject, asString, asStringMap, EngineError, messageOf } from '@gantry/std'
import { type Builds, definitionOf, type Definition, type OngoingBuild } from './builds.ts'
import type { OutputRequest } from '../export/context.ts'
import type { FrontendAnswer } from './frontend.ts'

/** One question to the front end. */
export interface FrontendCall {
  readonly name: string
  readonly attributes: Readonly<Record<string, string>>
  readonly inputs: Readonly<Record<string, Definition>>
  readonly imports: readonly OutputRequest[]
}

/** What the methods stand on. */
export interface BridgePorts {
  readonly builds: Builds
  worker(): object
  ask(build: OngoingBuild, call: FrontendCall, signal: AbortSignal): Promise<FrontendAnswer>
  resultOf(definition: Definition, what: string): BuildResult
  /** An error in the words that clients show. */
  worded(error: unknown): unknown
}

/** moby.buildkit.v1.frontend.SolveRequest */
interface FrontendSolve {
  readonly Frontend: string
  readonly FrontendOpt: Readonly<Record<string, string>>
  readonly FrontendInputs: Readonly<Record<string, Definition>>
  readonly CacheImports: readonly OutputRequest[]
  readonly Definition?: Definition
}

/** moby.buildkit.v1.frontend.ReturnRequest */
interface Return {
  readonly result?: { readonly ref?: { readonly id: string } }
  readonly error?: { readonly code: number; readonly message: string }
}

const BUILD_ID = 'buildkit-controlapi-buildid'
/** What this door can do, by the names that clients ask for. */
const CAPABILITIES = ['solve.base', 'return', 'returnmap', 'proto.refarray', 'gateway.solve.metadata', 'gateway.evaluate', 'gateway.solve.evaluate', 'resolveimage', 'frontend.inputs', 'importcaches', 'frontend.caps', 'reference.output', 'moby.buildkit.frontend.contexts']

/** Caches that a client names: with the question, among its attributes, or with the build. */
function importsOf(build: OngoingBuild, { CacheImports, FrontendOpt }: FrontendSolve): readonly OutputRequest[] {
  if (CacheImports.length > 0) return CacheImports
  const text = FrontendOpt['cache-imports'] ?? ''
  if (text === '') return build.request.Cache?.Imports ?? []
  try {
    return asList(JSON.parse(text), 'cache-imports').map((one) => ({ Type: asString(asObject(one, 'cache-imports')['Type'], 'Type'), Attrs: asStringMap(asObject(one, 'cache-imports')['Attrs'] ?? {}, 'Attrs') }))
  } catch (cause) {
    throw new EngineError('invalid', `cache-imports: expected a JSON list: ${messageOf(cause)}`, { cause })
  }
}

const refOf = (id: string): object => ({ id, def: definitionOf(id) })
/** A result that somebody else keeps. */
const lent = (result: BuildResult): BuildResult => ({ ...result, [Symbol.dispose]: () => undefined })

/** The front end's door (moby.buildkit.v1.frontend.LLBBridge): clients drive it themselves and hand back what it came to. */
export function createBridge({ builds, worker, ask, resultOf, worded }: BridgePorts): Methods {
  return {
    Ping: () => ({ FrontendAPICaps: CAPABILITIES.map((ID) => ({ ID, Enabled: true })), LLBCaps: [], Workers: [worker()] }),
    async Solve(request: FrontendSolve, { requestHeader, signal }: CallContext) {
      const build = await builds.find(requestHeader.get(BUILD_ID) ?? '', signal)
      try {
        if (request.Definition !== undefined && request.Definition.def.length > 0) return { result: { ref: refOf(builds.keep(lent(resultOf(request.Definition, 'solve')))), metadata: {} } }
        const { result, metadata } = await ask(build, { name: request.Frontend, attributes: request.FrontendOpt, inputs: request.FrontendInputs, imports: importsOf(build, request) }, signal)
        return { result: { ref: result === undefined ? { id: '' } : refOf(builds.keep(result)), metadata } }
      } catch (error) {
        build.failure = worded(error)
        throw build.failure
      }
    },
    async Return({ result, error }: Return, { requestHeader, signal }: CallContext) {
      const build = await builds.find(requestHeader.get(BUILD_ID) ?? '', signal)
      if (error === undefined || error.code === 0) build.returned.resolve({ result: result?.ref?.id ?? '' })
      else build.returned.resolve({ error: build.failure !== undefined && error.message.includes(messageOf(build.failure)) ? build.failure : new EngineError('internal', error.message) })
      return {}
    },
    Evaluate: () => ({}),
    Inputs: () => ({ Definitions: {} }),
  }
}
