import { EngineError, parseTimestamp } from '@gantry/std'
import type { Handlers } from '../engine/job.ts'
import type { BuildCacheRow, BuildJobs } from '../jobs/build.ts'
import { openAgentLines } from './agent-lines.ts'
import { cacheMethods } from './buildkit/cache-methods.ts'
import { createHistory } from './buildkit/history.ts'
import type { BuildkitServices } from './buildkit/services.ts'
import { createUploads } from './buildkit/uploads.ts'
import { workerRecord } from './buildkit/worker.ts'
import { classicBuild } from './classic.ts'
import { checkOutputs } from './export/check.ts'
import { watchCache } from './gc.ts'
import { openOffers } from './offers.ts'
import { openOutputs } from './outputs.ts'
import type { BuildHandlerPorts } from './ports.ts'
import { cachePruner, cacheRows } from './prune.ts'
import { openSecrets } from './secrets.ts'

/** Jobs of the builder. */
export function buildHandlers(ports: BuildHandlerPorts): Handlers<BuildJobs> {
  const running = new Map<string, AbortController>()
  const offers = openOffers(ports.contexts)
  const secretsAhead = openSecrets()
  const agents = openAgentLines()
  const uploads = createUploads()
  const outputs = openOutputs(ports)
  const classic = { ports, offers, secrets: secretsAhead, agents, outputs }
  const prune = cachePruner(ports)
  const rows = (): Promise<readonly BuildCacheRow[]> => cacheRows(ports)
  const built = watchCache({ rules: ports.gc, home: ports.graph.staging, rows, prune, pruneContexts: (before) => ports.contexts.prune(before) })
  let services: BuildkitServices | undefined
  /** Made when the first of BuildKit's clients comes. */
  const buildkit = async (): Promise<BuildkitServices> => {
    const { createServices } = await import('./buildkit/services.ts')
    return (services ??= createServices({ ports, built, uploaded: (name, signal) => uploads.take(name, signal), history: createHistory(), cache: cacheMethods(rows, prune), worker: () => workerRecord(ports) }))
  }
  return {
    'build.image': async ({ input, stdio, signal: asked }) => {
      const cancel = new AbortController()
      if (input.buildId !== '') running.set(input.buildId, cancel)
      try {
        const signal = AbortSignal.any([asked, cancel.signal])
        if (input.session !== '') return await (await import('./buildkit/older-builds.ts')).olderBuild(await buildkit(), input, signal)
        checkOutputs(input.outputs, input.cacheTo)
        return await classicBuild(classic, input, stdio.input, signal)
      } finally {
        built()
        if (input.buildId !== '') running.delete(input.buildId)
      }
    },
    'build.complete': async ({ input: { id }, stdio }) => {
      if (stdio.input === undefined) throw new EngineError('invalid', 'an offer is completed with an archive')
      await offers.complete(id, stdio.input)
      return undefined
    },
    'build.output': async ({ input: { id }, stdio, signal }) => {
      await outputs.send(id, async (chunk) => stdio.write?.(chunk), signal)
      return undefined
    },
    'build.agent': async ({ input: { token, id, socket }, signal }) => {
      signal.addEventListener('abort', () => void socket.destroy(), { once: true })
      await agents.join(token, id, socket)
      return undefined
    },
    'build.secrets': async ({ input: { values } }) => ({ id: secretsAhead.keep(values) }),
    'build.offer': async ({ input: { from, list } }) => offers.make(from, list),
    'build.upload': async ({ input: { id }, stdio }) => {
      if (stdio.input === undefined) throw new EngineError('invalid', 'an upload is an archive')
      uploads.receive(id, await ports.contexts.receive(stdio.input))
      return undefined
    },
    'build.cancel': async ({ input }) => {
      const controller = running.get(input.buildId)
      if (controller === undefined) throw new EngineError('not-found', `build ${input.buildId} is not running`)
      controller.abort(new EngineError('unavailable', 'the build was cancelled'))
      return undefined
    },
    'build.cache': () => rows(),
    'build.prune': async ({ input: { filters, keepBytes } }) => {
      const until = filters.values('until').map((text) => Number(parseTimestamp(text) / 1_000_000n))
      const wanted = (row: BuildCacheRow): boolean => until.every((ms) => row.usedAt < ms) && (filters.none('id') || filters.some('id', (id) => row.id.startsWith(id))) && filters.matches('type', row.type)
      const { gone, bytes } = await prune({ keepBytes, wanted, withContexts: until.length === 0 })
      return { ids: gone.map((row) => row.id), bytes }
    },
    'build.connect': async ({ input: { socket, header }, signal }) => {
      // Node takes it amiss, with an abort, if something is still being written when a connection becomes one of HTTP/2.
      await new Promise<void>((resolve, reject) => void socket.write('', (error) => (error ? reject(error) : resolve())))
      const { door, session } = await buildkit()
      // A client that has ended its side is gone: nobody reads what could still be said.
      socket.once('end', () => void socket.destroy())
      if (header !== undefined) return session(socket, header, signal)
      const closed = new Promise<void>((resolve) => void socket.once('close', resolve))
      signal.addEventListener('abort', () => void socket.destroy(), { once: true })
      door.accept(socket)
      return closed
    },
  }
}
