import { EngineError } from '@gantry/std'
import type { Dockerfile } from './dockerfile/instructions.ts'
import type { Source } from './dockerfile/source.ts'
import { type BuildOptions, contextNamed } from './options.ts'
import type { CacheRecord, NewRecord } from './cache.ts'
import { type CacheUse, fetchUse } from './remote-cache.ts'
import type { BuildPorts } from './ports.ts'
import type { BuildReport } from './report.ts'
import type { Solver } from './solver.ts'
import { buildStage } from './stage.ts'
import { type BuildPlan, contextPaths, stageOfFrom } from './stages.ts'
import { type StageState, stateOf } from './state.ts'

const MAX_RUNNING = 8

/** Lets so many work at a time. */
function semaphore(count: number): <T>(work: () => Promise<T>) => Promise<T> {
  let free = count
  const waiting: (() => void)[] = []
  return async (work) => {
    if (free > 0) free--
    else await new Promise<void>((resolve) => waiting.push(resolve))
    try {
      return await work()
    } finally {
      const next = waiting.shift()
      if (next === undefined) free++
      else next()
    }
  }
}

/** Builds the target of a plan; gives what it came to, and notes in `uses` what its steps did. */
export async function solve(ports: BuildPorts, options: BuildOptions, source: Source, file: Dockerfile, plan: BuildPlan, report: BuildReport, hold: (chainId: string) => void, uses: Map<string, CacheUse>): Promise<StageState> {
  const limit = semaphore(MAX_RUNNING)
  const stages = new Map<number, Promise<StageState>>()
  const failed = new AbortController()
  const signal = AbortSignal.any([options.signal, failed.signal])
  const order = [...plan.stages.keys()].sort((a, b) => a - b)
  const counts = new Map(order.map((index) => [index, 1 + (plan.stages.get(index)?.stage.instructions.length ?? 0)]))
  const total = [...counts.values()].reduce((sum, count) => sum + count, 0)
  const firsts = new Map<number, number>()
  order.reduce((sum, index) => (firsts.set(index, sum), sum + (counts.get(index) ?? 0)), 1)
  const epochText = options.buildArgs.get('SOURCE_DATE_EPOCH')
  if (epochText !== undefined && !/^\d{1,12}$/.test(epochText)) throw new EngineError('invalid', `SOURCE_DATE_EPOCH: ${epochText}: expected seconds since 1970`)
  const epoch = epochText === undefined ? undefined : Number(epochText)
  const images = new Map<string, Promise<StageState>>()
  const imageState = (name: string, platform: string): Promise<StageState> => {
    const key = `${name} ${platform}`
    const known = images.get(key)
    if (known !== undefined) return known
    const fetched = ports.image(name, platform, { pull: options.pull, signal }).then((image) => {
      if (image.chainId !== undefined) hold(image.chainId)
      return stateOf(image)
    })
    images.set(key, fetched)
    return fetched
  }
  const note = (key: string, record: NewRecord, createdAt: number): void => {
    const { kind, description, chainId, diffId, bytes } = record
    uses.set(key, { key, kind, description, chainId, diffId, bytes, createdAt, parent: ports.graph.layers.chain(chainId)[1]?.chainId ?? '' })
  }
  const fetched = async (key: string): Promise<CacheRecord | undefined> => {
    const record = await limit(() => fetchUse(ports.graph.layers, options.remoteCache, key))
    return record === undefined ? undefined : ports.cache.keep(key, record)
  }
  const cachedUnless = (anew: boolean): Solver['cached'] => (key, info, make) =>
    ports.cache.once(key, async () => {
      const known = anew ? undefined : (ports.cache.find(key) ?? (await fetched(key)))
      if (known !== undefined) {
        hold(known.chainId)
        note(key, known, known.createdAt)
        return { layer: known, cached: true, createdAt: known.createdAt }
      }
      const layer = await limit(() => {
        signal.throwIfAborted()
        return make()
      })
      const record = ports.cache.keep(key, { ...info, ...layer })
      hold(layer.chainId)
      note(key, record, record.createdAt)
      return { layer, cached: false, createdAt: record.createdAt }
    }, signal)
  const solver: Solver = {
    ports, options: { ...options, signal }, source, file, plan, report, epoch, now: epoch ?? Math.floor(Date.now() / 1000), hold,
    context: () => options.context(contextPaths(plan)),
    stage: (index) => stageOnce(index),
    async from(name, own) {
      const context = contextNamed(options.contexts, name)
      if (typeof context === 'function') return { context: await context() }
      if (typeof context === 'object') {
        if (context.chainId !== undefined) hold(context.chainId)
        return { chainId: context.chainId }
      }
      const index = context === undefined ? stageOfFrom(file.stages, name, own) : undefined
      if (index !== undefined) return stageOnce(index)
      if (name === 'scratch') return { chainId: undefined }
      return imageState(typeof context === 'string' ? context.replace(/^docker-image:\/\//, '') : name, '')
    },
    anew: () => ({ ...solver, options: { ...solver.options, noCache: true }, cached: cachedUnless(true) }),
    cached: cachedUnless(options.noCache),
  }
  const stageOnce = (index: number): Promise<StageState> => {
    const known = stages.get(index)
    if (known !== undefined) return known
    plan.include(index)
    const running = buildStage(solver, index, { total, first: firsts.get(index) ?? total + 1 + 1000 * index, lastOf: (one) => (firsts.get(one) ?? 1) + (counts.get(one) ?? 1) - 1, imageState }).catch((error: unknown) => {
      failed.abort(error)
      throw error
    })
    running.catch(() => undefined)
    stages.set(index, running)
    return running
  }
  await Promise.allSettled(order.map(stageOnce))
  // Those that were added on the way.
  await Promise.allSettled(stages.values())
  // The first that failed says why; the others were told to stop.
  if (failed.signal.aborted) throw failed.signal.reason
  return stageOnce(plan.target)
}
