import { build, type BuildContext, type BuildOptions, check, type CacheRecord, toBytes, toText } from '@gantry/builder'
import { familiarString, hostPlatform, parseReference } from '@gantry/registry'
import { EngineError, ignoreRules } from '@gantry/std'
import type { Handlers } from '../engine/job.ts'
import { tagImage } from '../images/images.ts'
import { shortDigest } from '../images/progress.ts'
import { openUrl } from '../images/remote-archive.ts'
import type { BuildCacheRow, BuildJobs, BuildRequest } from '../jobs/build.ts'
import { classicReport } from './classic-report.ts'
import { isGitSource } from './git.ts'
import { stepReport } from './step-report.ts'
import { type BuildHandlerPorts, buildPorts, gitContext, platformOf } from './sources.ts'

const DOCKERFILE_LIMIT = 4 << 20
const CONTEXT_NAMES = ['Dockerfile', 'dockerfile']

async function collected(source: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of source) {
    bytes += chunk.length
    if (bytes > DOCKERFILE_LIMIT) throw new EngineError('invalid', `the Dockerfile has more than ${DOCKERFILE_LIMIT} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

/** The context of a request: what comes with it, or what an URL leads to. A text is a Dockerfile without a context. */
async function contextOf(ports: BuildHandlerPorts, request: BuildRequest, body: AsyncIterable<Uint8Array> | undefined, signal: AbortSignal): Promise<{ readonly context: BuildContext | undefined; readonly dockerfile: Buffer | undefined }> {
  const { remote } = request
  if (remote === '' || remote === 'client-session') {
    if (body === undefined) throw new EngineError('invalid', 'a build needs a context')
    return { context: await ports.contexts.receive(body), dockerfile: undefined }
  }
  if (isGitSource(remote)) return { context: await gitContext(ports, remote, { keepGitDirectory: false, signal }), dockerfile: undefined }
  const answer = await openUrl(remote, signal)
  if (/^text\/plain/.test(answer.contentType)) return { context: undefined, dockerfile: await collected(answer.body) }
  return { context: await ports.contexts.receive(answer.body), dockerfile: undefined }
}

function dockerfileIn(context: BuildContext, wanted: string): { readonly name: string; readonly bytes: Buffer } {
  const names = wanted === '' ? CONTEXT_NAMES : [wanted.replace(/^(\.?\/)+/, '')]
  for (const name of names) {
    const path = context.tree.resolve(toBytes(name), true)
    const node = path === undefined ? undefined : context.tree.get(path)
    if (node?.type !== 'file') continue
    if (node.size > DOCKERFILE_LIMIT) throw new EngineError('invalid', `${name} has ${node.size} bytes: expected at most ${DOCKERFILE_LIMIT}`)
    return { name, bytes: Buffer.concat([...context.read(node.digest)]) }
  }
  throw new EngineError('invalid', `Cannot locate specified Dockerfile: ${wanted === '' ? 'Dockerfile' : wanted}`)
}

/** What a context's `.dockerignore` leaves out. */
function ignoredIn(context: BuildContext): (path: string) => boolean {
  const node = context.tree.get('.dockerignore')
  if (node?.type !== 'file' || node.size > DOCKERFILE_LIMIT) return () => false
  const rules = ignoreRules(Buffer.concat([...context.read(node.digest)]).toString('latin1'))
  return (path) => rules.ignores(path)
}

/** The Dockerfile and the list of what is left out may be left out themselves. */
function withoutIgnored(context: BuildContext, dockerfile: string): BuildContext {
  const hidden = new Set([toBytes(dockerfile), '.dockerignore'].filter(ignoredIn(context)))
  return hidden.size === 0 ? context : { ...context, tree: context.tree.without(hidden), [Symbol.dispose]: () => context[Symbol.dispose]() }
}

function rowOf(record: CacheRecord): BuildCacheRow {
  return { id: record.id, type: record.kind, description: record.description, inUse: false, chainId: record.chainId, bytes: record.bytes, createdAt: record.createdAt, usedAt: record.usedAt, uses: record.uses }
}

/** Jobs of the builder. */
export function buildHandlers(ports: BuildHandlerPorts): Handlers<BuildJobs> {
  const running = new Map<string, AbortController>()
  const rows = async (): Promise<readonly BuildCacheRow[]> => {
    const mounts = await Promise.all(ports.mounts.list().map(async (mount) => ({ id: mount.path.slice(mount.path.lastIndexOf('/') + 1), type: 'exec.cachemount', description: `cached mount ${mount.id}`, inUse: mount.inUse, chainId: '', bytes: await ports.graph.bytesIn(mount.path), createdAt: mount.createdAt, usedAt: mount.usedAt, uses: 1 })))
    return [...ports.cache.list().map(rowOf), ...mounts]
  }
  return {
    'build.image': async ({ input, stdio, signal: asked }) => {
      const cancel = new AbortController()
      const signal = AbortSignal.any([asked, cancel.signal])
      if (input.buildId !== '') running.set(input.buildId, cancel)
      const names = input.tags.map((tag) => familiarString(parseReference(tag)))
      let held: BuildContext | undefined
      try {
        const { context: received, dockerfile: text } = await contextOf(ports, input, stdio.input, signal)
        held = received
        const dockerfile = text !== undefined ? { name: 'Dockerfile', bytes: text } : received === undefined ? undefined : dockerfileIn(received, input.dockerfile)
        if (dockerfile === undefined) throw new EngineError('invalid', 'a build needs a Dockerfile')
        const options: BuildOptions = {
          context: received === undefined ? undefined : withoutIgnored(received, dockerfile.name), contexts: new Map(), dockerfile, target: input.target, buildArgs: input.buildArgs, labels: input.labels, platform: platformOf(input.platform), askedPlatform: input.platform,
          noCache: input.noCache, pull: input.pull, network: input.network === '' ? 'default' : input.network, hosts: input.hosts, resources: input.resources, entitlements: new Set(['network.host']), secret: async () => undefined, ssh: async () => undefined, signal,
        }
        if (input.check) {
          const found = check(options, hostPlatform(), received === undefined ? () => false : ignoredIn(received))
          input.tell({ stream: found.text })
          // Clients end with it: what was found is told already.
          if (found.count > 0) throw Object.assign(new EngineError('invalid', `${found.count} warnings`), { exitCode: 1 })
          return { id: '' }
        }
        if (input.cacheFrom.length > 0) input.tell({ stream: `[Warning] cache-from (${input.cacheFrom.join(', ')}) is not used: steps are found again by what they read\n` })
        const image = await build(buildPorts(ports, { tell: input.quiet ? () => undefined : input.tell, credentials: input.credentials }), options, input.steps ? stepReport(input.tell) : classicReport(input.tell, input.quiet))
        if (!input.quiet) input.tell({ aux: { ID: image.id } })
        if (!input.steps) input.tell({ stream: input.quiet ? `${image.id}\n` : `Successfully built ${shortDigest(image.id)}\n` })
        for (const name of names) {
          tagImage(ports.images, image, name)
          if (!input.quiet && !input.steps) input.tell({ stream: `Successfully tagged ${name}\n` })
        }
        return { id: image.id }
      } finally {
        held?.[Symbol.dispose]()
        if (input.buildId !== '') running.delete(input.buildId)
      }
    },
    'build.cancel': async ({ input }) => {
      const controller = running.get(input.buildId)
      if (controller === undefined) throw new EngineError('not-found', `build ${toText(toBytes(input.buildId))} is not running`)
      controller.abort(new EngineError('unavailable', 'the build was cancelled'))
      return undefined
    },
    'build.cache': () => rows(),
    'build.prune': async ({ input }) => {
      const { filters } = input
      const until = filters.values('until').map((text) => Date.parse(text))
      const all = [...(await rows())].sort((a, b) => b.usedAt - a.usedAt)
      let kept = 0
      const gone = all.filter((row) => {
        const wanted = !row.inUse && until.every((ms) => row.usedAt < ms) && (filters.values('id').length === 0 || filters.values('id').some((id) => row.id.startsWith(id))) && (filters.values('type').length === 0 || filters.values('type').includes(row.type))
        if (wanted && (input.keepBytes === 0 || kept + row.bytes > input.keepBytes)) return true
        kept += row.bytes
        return false
      })
      const ids = new Set(gone.map((row) => row.id))
      ports.cache.prune((record) => ids.has(record.id))
      for (const mount of ports.mounts.list()) if (ids.has(mount.path.slice(mount.path.lastIndexOf('/') + 1))) ports.mounts.remove(mount)
      const contexts = input.keepBytes === 0 && until.length === 0 ? ports.contexts.prune(Date.now()) : 0
      return { ids: [...ids], bytes: gone.reduce((sum, row) => sum + row.bytes, 0) + contexts }
    },
  }
}
