import { build, type BuildContext, type BuildOptions, check, type NamedContext, type NamedContexts } from '@gantry/builder'
import { familiarString, hostPlatform, parseReference } from '@gantry/registry'
import { EngineError, parseTimestamp } from '@gantry/std'
import type { Handlers } from '../engine/job.ts'
import { tagImage } from '../images/images.ts'
import { shortDigest } from '../images/progress.ts'
import type { BuildCacheRow, BuildJobs, BuildRequest } from '../jobs/build.ts'
import { cacheMethods } from './buildkit/cache-methods.ts'
import { createHistory } from './buildkit/history.ts'
import type { BuildkitServices } from './buildkit/services.ts'
import { workerRecord } from './buildkit/worker.ts'
import { classicReport } from './classic-report.ts'
import { credentialsFor } from './credentials.ts'
import { dockerfileIn, ignoredIn, withoutIgnored } from './dockerfile.ts'
import { fetchContext, namedElsewhere } from './elsewhere.ts'
import { watchCache } from './gc.ts'
import { type Offers, openOffers } from './offers.ts'
import { openSecrets } from './secrets.ts'
import { cachePruner, cacheRows } from './prune.ts'
import { stepReport } from './step-report.ts'
import type { BuildHandlerPorts } from './ports.ts'
import { buildPorts, platformOf } from './sources.ts'

/** The context of a request: what comes with it, or what an URL leads to. A text is a Dockerfile without a context. */
async function contextOf(ports: BuildHandlerPorts, offers: Offers, request: BuildRequest, body: AsyncIterable<Uint8Array> | undefined, signal: AbortSignal): Promise<{ readonly context: BuildContext | undefined; readonly dockerfile: Buffer | undefined }> {
  const { remote } = request
  if (remote === '' || remote === 'client-session') {
    if (body === undefined) throw new EngineError('invalid', 'a build needs a context')
    return { context: request.offer === '' ? await ports.contexts.receive(body) : await offers.take(request.offer, body), dockerfile: undefined }
  }
  const fetched = await fetchContext(ports, remote, { keepGitDirectory: false, signal })
  return Buffer.isBuffer(fetched) ? { context: undefined, dockerfile: fetched } : { context: fetched, dockerfile: undefined }
}

/** Contexts that a client of ours names beside the first. Those that have come with it go with the build, asked for or not. */
function namedContexts(ports: BuildHandlerPorts, offers: Offers, wanted: ReadonlyMap<string, string>, signal: AbortSignal, held: Disposable[]): NamedContexts {
  const contextOf = ([name, value]: readonly [string, string]): readonly [string, NamedContext] => {
    if (value.startsWith('offer:')) {
      const context = offers.ready(value.slice('offer:'.length))
      held.push(context)
      return [name, async () => context]
    }
    const elsewhere = namedElsewhere(ports, value, signal, held)
    if (elsewhere !== undefined) return [name, elsewhere]
    throw new EngineError('invalid', `context ${name}: ${JSON.stringify(value)}: expected docker-image://, an URL or a git repository`)
  }
  return new Map([...wanted].map(contextOf))
}

/** Jobs of the builder. */
export function buildHandlers(ports: BuildHandlerPorts): Handlers<BuildJobs> {
  const running = new Map<string, AbortController>()
  const offers = openOffers(ports.contexts)
  const secretsAhead = openSecrets()
  const prune = cachePruner(ports)
  const rows = (): Promise<readonly BuildCacheRow[]> => cacheRows(ports)
  const built = watchCache({ rules: ports.gc, home: ports.graph.staging, rows, prune, pruneContexts: (before) => ports.contexts.prune(before) })
  let services: BuildkitServices | undefined
  /** Made when the first of BuildKit's clients comes. */
  const buildkit = async (): Promise<BuildkitServices> => {
    const { createServices } = await import('./buildkit/services.ts')
    return (services ??= createServices({ ports, built, history: createHistory(), cache: cacheMethods(rows, prune), worker: () => workerRecord(ports) }))
  }
  return {
    'build.image': async ({ input, stdio, signal: asked }) => {
      const cancel = new AbortController()
      const signal = AbortSignal.any([asked, cancel.signal])
      if (input.buildId !== '') running.set(input.buildId, cancel)
      const names = input.tags.map((tag) => familiarString(parseReference(tag)))
      let held: BuildContext | undefined
      const others: Disposable[] = []
      try {
        const { context: received, dockerfile: text } = await contextOf(ports, offers, input, stdio.input, signal)
        held = received
        const dockerfile = text !== undefined ? { name: 'Dockerfile', bytes: text } : received === undefined ? undefined : dockerfileIn(received, input.dockerfile)
        if (dockerfile === undefined) throw new EngineError('invalid', 'a build needs a Dockerfile')
        const files = received === undefined ? undefined : withoutIgnored(received, dockerfile.name)
        const secrets = input.secrets === '' ? new Map<string, Buffer>() : secretsAhead.take(input.secrets)
        const named = namedContexts(ports, offers, input.contexts, signal, others)
        const options: BuildOptions = {
          context: async () => files, contexts: named, dockerfile, target: input.target, buildArgs: input.buildArgs, labels: input.labels, platform: platformOf(input.platform), askedPlatform: input.platform,
          noCache: input.noCache, noCacheStages: input.noCacheStages, remoteCache: undefined, inlineCache: false, pull: input.pull, network: input.network === '' ? 'default' : input.network, hosts: input.hosts, resources: input.resources, entitlements: new Set([...ports.entitlements].filter((one) => one === 'network.host')), secret: async (id) => secrets.get(id), ssh: async () => undefined, signal,
        }
        if (input.check) {
          const found = check(options, hostPlatform(), received === undefined ? () => false : ignoredIn(received))
          input.tell({ stream: found.text })
          // Clients end with it: what was found is told already.
          if (found.count > 0) throw Object.assign(new EngineError('invalid', `${found.count} warnings`), { exitCode: 1 })
          return { id: '' }
        }
        if (input.cacheFrom.length > 0) input.tell({ stream: `[Warning] cache-from (${input.cacheFrom.join(', ')}) is not used: steps are found again by what they read\n` })
        const image = await build(buildPorts(ports, { tell: input.quiet ? () => undefined : input.tell, credentials: async (reference) => credentialsFor(reference, input.credentials) }), options, input.steps ? stepReport(input.tell) : classicReport(input.tell, input.quiet))
        if (!input.quiet) input.tell({ aux: { ID: image.id } })
        if (!input.steps) input.tell({ stream: input.quiet ? `${image.id}\n` : `Successfully built ${shortDigest(image.id)}\n` })
        for (const name of names) {
          tagImage(ports.images, image, name)
          if (!input.quiet && !input.steps) input.tell({ stream: `Successfully tagged ${name}\n` })
        }
        return { id: image.id }
      } finally {
        held?.[Symbol.dispose]()
        for (const one of others) one[Symbol.dispose]()
        built()
        if (input.buildId !== '') running.delete(input.buildId)
      }
    },
    'build.complete': async ({ input: { id }, stdio }) => {
      if (stdio.input === undefined) throw new EngineError('invalid', 'an offer is completed with an archive')
      await offers.complete(id, stdio.input)
      return undefined
    },
    'build.secrets': async ({ input: { values } }) => ({ id: secretsAhead.keep(values) }),
    'build.offer': async ({ input: { from, list } }) => offers.make(from, list),
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
