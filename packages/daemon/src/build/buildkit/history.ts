import type { CallContext, Methods } from '@gantry/buildkit'
import type { EndedBuild, OngoingBuild } from './builds.ts'
import { type StatusEvent, timestamp } from './status-log.ts'

/** Builds that have ended, for `buildx history`. */
export interface BuildHistory {
  add(ended: EndedBuild): void
  /** What a build has told; undefined: nobody remembers it. */
  events(ref: string): Iterable<StatusEvent> | undefined
  methods(ongoing: () => readonly OngoingBuild[]): Methods
}

const MAX_BUILDS = 50
/** Output of all builds together. */
const MAX_BYTES = 64 << 20
const EVENT = { started: 0, complete: 1, deleted: 2 } as const

interface HistoryRequest {
  readonly ActiveOnly: boolean
  readonly Ref: string
  readonly EarlyExit: boolean
  readonly Limit: number
}

interface Entry {
  readonly ended: EndedBuild
  pinned: boolean
}

function recordOf(build: OngoingBuild, entry: Entry | undefined): object {
  const { total, completed, cached, warnings } = build.log.counts()
  const ended = entry?.ended
  return {
    Ref: build.request.Ref, Frontend: build.request.Frontend === '' ? 'dockerfile.v0' : build.request.Frontend, FrontendAttrs: build.attributes, Exporters: build.request.Exporters, CreatedAt: timestamp(build.startedAt),
    ...(ended !== undefined && { CompletedAt: timestamp(ended.endedAt), ExporterResponse: ended.answer, ...(ended.error !== '' && { error: { code: 2, message: ended.error, details: [] } }) }),
    pinned: entry?.pinned === true, numTotalSteps: total, numCompletedSteps: completed, numCachedSteps: cached, numWarnings: warnings,
  }
}

/** Keeps the last builds, and those that are pinned, for as long as the daemon runs. */
export function createHistory(): BuildHistory {
  const entries = new Map<string, Entry>()
  const listeners = new Set<(event: object) => void>()
  const tell = (event: object): void => {
    for (const heard of listeners) heard(event)
  }
  return {
    add(ended) {
      const entry = { ended, pinned: false }
      entries.set(ended.build.request.Ref, entry)
      let bytes = [...entries.values()].reduce((sum, one) => sum + one.ended.build.log.bytes, 0)
      for (const [ref, one] of entries) {
        if ((entries.size <= MAX_BUILDS && bytes <= MAX_BYTES) || one.pinned) continue
        bytes -= one.ended.build.log.bytes
        entries.delete(ref)
      }
      tell({ type: EVENT.complete, record: recordOf(ended.build, entry) })
    },
    events: (ref) => entries.get(ref)?.ended.build.log.events,
    methods: (ongoing) => ({
      async *ListenBuildHistory({ ActiveOnly, Ref, EarlyExit, Limit }: HistoryRequest, { signal, responseHeader }: CallContext) {
        responseHeader.set('buildkit-current-timestamp', new Date().toISOString())
        const wanted = (ref: string): boolean => Ref === '' || Ref === ref
        const news: object[] = []
        let stir = Promise.withResolvers<void>()
        const hear = (event: object): void => {
          news.push(event)
          stir.resolve()
        }
        if (!EarlyExit) listeners.add(hear)
        try {
          for (const build of ongoing()) if (wanted(build.request.Ref) && !build.request.Internal) yield { type: EVENT.started, record: recordOf(build, undefined) }
          const past = ActiveOnly ? [] : [...entries.values()].filter(({ ended }) => wanted(ended.build.request.Ref)).reverse()
          for (const entry of Limit > 0 ? past.slice(0, Limit) : past) yield { type: EVENT.complete, record: recordOf(entry.ended.build, entry) }
          signal.addEventListener('abort', () => stir.resolve(), { once: true })
          while (!EarlyExit && !signal.aborted) {
            yield* news.splice(0)
            await stir.promise
            stir = Promise.withResolvers()
          }
        } finally {
          listeners.delete(hear)
        }
      },
      UpdateBuildHistory({ Ref, Pinned, Delete }: { readonly Ref: string; readonly Pinned: boolean; readonly Delete: boolean }) {
        const entry = entries.get(Ref)
        if (entry === undefined) return {}
        if (Delete) {
          entries.delete(Ref)
          tell({ type: EVENT.deleted, record: recordOf(entry.ended.build, entry) })
        } else entry.pinned = Pinned
        return {}
      },
    }),
  }
}
