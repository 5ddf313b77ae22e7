import type { BuildResult } from '@gantry/builder'
import { encode } from '@gantry/buildkit'
import { digestOf, EngineError, newId } from '@gantry/std'
import type { OutputAnswer, OutputRequest } from '../export/context.ts'
import { createArrivals } from './arrivals.ts'
import { openStatusLog, type StatusLog } from './status-log.ts'

/** What a client asks of a build (moby.buildkit.v1.SolveRequest). */
export interface SolveRequest {
  readonly Ref: string
  readonly Session: string
  readonly Frontend: string
  readonly FrontendAttrs: Readonly<Record<string, string>>
  readonly Definition?: Definition
  readonly FrontendInputs: Readonly<Record<string, Definition>>
  readonly Cache?: { readonly Exports: readonly OutputRequest[]; readonly Imports: readonly OutputRequest[] }
  readonly Entitlements: readonly string[]
  readonly Exporters: readonly OutputRequest[]
  readonly ExporterDeprecated: string
  readonly ExporterAttrsDeprecated: Readonly<Record<string, string>>
  readonly Internal: boolean
  readonly SourcePolicy?: { readonly rules: readonly object[] }
}

/** A graph of operations (pb.Definition). Those that are taken name what another build came to. */
export interface Definition {
  readonly def: readonly Uint8Array[]
}

/** What a client hands back as a build's result, or why there is none. */
export type Returned = { readonly result: string } | { readonly error: unknown }

/** A build that a client has begun and not ended. */
export interface OngoingBuild {
  readonly request: SolveRequest
  readonly log: StatusLog
  /** Aborted when the client goes, and at its end: whatever it still asks of the front end ends, too. */
  readonly signal: AbortSignal
  readonly startedAt: number
  readonly returned: PromiseWithResolvers<Returned>
  /** The last error that the client was told: what it hands back is made of it. */
  failure: unknown
  /** What was asked of the front end, where not the build itself said so. */
  attributes: Readonly<Record<string, string>>
}

/** A build that has ended. */
export interface EndedBuild {
  readonly build: OngoingBuild
  readonly endedAt: number
  readonly error: string
  readonly answer: OutputAnswer
}

/** Builds of clients by the names that they gave them, and what they came to. */
export interface Builds {
  begin(request: SolveRequest, signal: AbortSignal): OngoingBuild
  end(build: OngoingBuild): void
  /** Waits a moment: calls of one build may overtake each other. One that has ended does not come. */
  find(ref: string, signal: AbortSignal): Promise<OngoingBuild>
  /** What a build has told or tells; also of one that has ended before its client could ask. */
  logOf(ref: string, signal: AbortSignal): Promise<StatusLog>
  ongoing(): readonly OngoingBuild[]
  /** Keeps a result for as long as others may name it; gives its name. */
  keep(result: BuildResult): string
  result(id: string): BuildResult | undefined
}

const WAIT_MS = 5000
/** So long after it was made another build may stand on a result, and longer while there are builds. */
const RESULT_MS = 60_000
/** So long after its end a build's client may still ask for what it has told. */
const LOG_MS = 30_000
const SCHEME = 'gantry-result://'

/** A definition that names a result. */
export function definitionOf(id: string): object {
  const source = encode('pb.Op', { source: { identifier: `${SCHEME}${id}`, attrs: {} } })
  const digest = digestOf(source)
  const end = encode('pb.Op', { inputs: [{ digest, index: 0n }] })
  return { def: [source, end], metadata: { [digest]: {}, [digestOf(end)]: {} } }
}

/** The result that a definition names; undefined: it describes something else. */
export function resultNamed(definition: Definition, decodeOp: (bytes: Uint8Array) => { readonly source?: { readonly identifier: string } }): string | undefined {
  if (definition.def.length > 2) return undefined
  return definition.def.map(decodeOp).map((op) => op.source?.identifier ?? '').find((text) => text.startsWith(SCHEME))?.slice(SCHEME.length)
}

const noSuch = (ref: string): EngineError => new EngineError('not-found', `no such job ${ref}`)

/** Makes the list. */
export function createBuilds(): Builds {
  const builds = createArrivals<OngoingBuild>(WAIT_MS, noSuch)
  const results = new Map<string, BuildResult>()
  const ended = new Map<string, StatusLog>()
  const stops = new WeakMap<OngoingBuild, AbortController>()
  return {
    async find(ref, signal) {
      if (ended.has(ref)) throw noSuch(ref)
      return builds.find(ref, signal)
    },
    logOf: async (ref, signal) => ended.get(ref) ?? (await builds.find(ref, signal)).log,
    begin(request, asked) {
      if (request.Ref === '' || builds.get(request.Ref) !== undefined) throw new EngineError('invalid', `build ${request.Ref}: expected a name that no other build has`)
      const stop = new AbortController()
      const signal = AbortSignal.any([asked, stop.signal])
      const returned = Promise.withResolvers<Returned>()
      returned.promise.catch(() => undefined)
      const build: OngoingBuild = { request, signal, returned, log: openStatusLog(request.Ref), startedAt: Date.now(), failure: undefined, attributes: request.FrontendAttrs }
      asked.addEventListener('abort', () => returned.reject(new EngineError('unavailable', 'the client has gone')), { once: true })
      stops.set(build, stop)
      builds.set(request.Ref, build)
      return build
    },
    end(build) {
      builds.delete(build.request.Ref)
      stops.get(build)?.abort(new EngineError('unavailable', 'the build has ended'))
      build.log.end()
      ended.set(build.request.Ref, build.log)
      setTimeout(() => ended.delete(build.request.Ref), LOG_MS).unref()
    },
    ongoing: () => builds.values(),
    keep(result) {
      const id = newId().slice(0, 25)
      results.set(id, result)
      // As long as anything is built, it may be named, or be on its way to where it goes.
      const expire = (): void => {
        if (builds.values().length > 0) return void setTimeout(expire, RESULT_MS).unref()
        results.delete(id)
        result[Symbol.dispose]()
      }
      setTimeout(expire, RESULT_MS).unref()
      return id
    },
    result: (id) => results.get(id),
  }
}
