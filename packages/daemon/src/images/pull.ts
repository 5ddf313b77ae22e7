import { chainIds, type Graph, type Image, parseImageConfig } from '@gantry/graph'
import { type Credentials, canonicalName, familiarName, familiarString, hostPlatform, isForeignLayer, type Manifest, parseReference, type Platform, type Reference } from '@gantry/registry'
import { type Descriptor, EngineError, isEngineError, logger } from '@gantry/std'
import type { ImageProcess } from './process/client.ts'
import { fromAnswer, type OpProgress, type RemotePlace } from './process/protocol.ts'
import { layerMessage, shortDigest, type Tell } from './progress.ts'
import type { Registries } from './registries.ts'
import { askPlaces, fetchConfig, pullFailure, type ResolvedImage, resolveImageManifest } from './resolve.ts'
import type { Transfers } from './transfers.ts'

const log = logger('daemon.images.pull')
/** Times that a pull begins anew when layers go away under it. */
const ROUNDS = 3

/** What a pull needs of the house. */
export interface PullPorts {
  readonly graph: Graph
  readonly work: ImageProcess
  readonly registries: Registries
  readonly transfers: Transfers
  emit(action: string, id: string, attributes: Readonly<Record<string, string>>): void
}

/** What is pulled, and for whom. */
export interface PullRequest {
  readonly reference: Reference
  readonly platform: Platform | undefined
  readonly credentials: Credentials
  readonly tell: Tell
  readonly signal: AbortSignal | undefined
}

/** A layer that is not there yet. */
interface MissingLayer {
  readonly chainId: string
  /** Chain id of the layer below. */
  readonly parent: string | undefined
  readonly layer: Descriptor
  readonly diffId: string
  /** As people see it. */
  readonly id: string
}

function checkLayers(manifest: Manifest, diffIds: readonly string[]): void {
  if (manifest.layers.length !== diffIds.length) throw new EngineError('invalid', `the manifest has ${manifest.layers.length} layers, the image configuration ${diffIds.length}`)
  const foreign = manifest.layers.find((layer) => isForeignLayer(layer.mediaType ?? ''))
  if (foreign !== undefined) throw new EngineError('unsupported', `layer ${foreign.digest} is a foreign layer (${foreign.mediaType}), which registries do not distribute: not supported`)
}

/** One layer for people: what happens to it, as Docker says it. */
function tellLayer(tell: Tell, id: string): (progress: OpProgress) => void {
  return ({ step, current, total }) => {
    if (step === 'resume') tell(layerMessage(id, 'Resuming download', current, total))
    else if (step === 'download') tell(layerMessage(id, 'Downloading', current, total))
    else if (step === 'extract') tell(layerMessage(id, 'Extracting', current, total))
    else if (step === 'verify') {
      tell(layerMessage(id, 'Verifying Checksum'))
      tell(layerMessage(id, 'Download complete'))
    }
  }
}

/** Where a blob's bytes are kept until its layer is complete; the same blob may stand at several places of an image. */
function partOf(graph: Graph, layer: Descriptor, chainId: string): string {
  return `${graph.staging}/${layer.digest.slice('sha256:'.length)}-${shortDigest(chainId)}.part`
}

/** The archive of a layer that waits for the one below it. */
function archiveOf(graph: Graph, chainId: string): string {
  return `${graph.staging}/${chainId.slice('sha256:'.length)}.tar`
}

/** Brings one layer into the store, complete and checked. */
async function fetchOne(ports: PullPorts, remote: RemotePlace, { layer, diffId, chainId }: MissingLayer, report: (progress: OpProgress) => void, signal: AbortSignal): Promise<void> {
  const { layers } = ports.graph
  if (layers.get(chainId) !== undefined || layers.settled(chainId) !== undefined) return
  const part = partOf(ports.graph, layer, chainId)
  let resumed = false
  const attempt = async (): Promise<void> => {
    const staged = await layers.stage()
    try {
      const onProgress = (progress: OpProgress): void => {
        if (progress.step === 'resume') resumed = true
        report(progress)
      }
      const written = await ports.work.run('fetch-layer', { remote, digest: layer.digest, size: layer.size, part, target: staged.target, diffId }, { onProgress, signal })
      await layers.settle(staged, fromAnswer(written), chainId)
    } catch (error) {
      layers.unstage(staged.place)
      throw error
    }
  }
  try {
    await attempt()
  } catch (error) {
    // What an earlier try had kept may have been damaged since: once more from the beginning.
    if (!resumed || !isEngineError(error) || error.kind !== 'invalid') throw error
    log.warn('what was kept of a layer does not fit: fetching it anew', { digest: layer.digest })
    await attempt()
  }
}

/** Brings the archive of one layer into a file, complete and checked. */
async function fetchArchive(ports: PullPorts, remote: RemotePlace, { layer, diffId, chainId }: MissingLayer, report: (progress: OpProgress) => void, signal: AbortSignal): Promise<void> {
  const path = archiveOf(ports.graph, chainId)
  ports.graph.discard(path)
  await ports.work.run('fetch-layer', { remote, digest: layer.digest, size: layer.size, part: partOf(ports.graph, layer, chainId), target: { kind: 'tar', path }, diffId }, { onProgress: report, signal })
}

/** Makes a layer of its archive, above the one before it. */
async function placeArchive({ graph }: PullPorts, { diffId, chainId, parent }: MissingLayer): Promise<void> {
  if (graph.layers.get(chainId) === undefined) await graph.registerFile(archiveOf(graph, chainId), parent, diffId)
  graph.discard(archiveOf(graph, chainId))
}

/** All layers that are missing, side by side; where layers are stacked, their archives come side by side and are put in place in their order. */
async function fetchLayers(ports: PullPorts, remote: RemotePlace, manifest: Manifest, diffIds: readonly string[], request: PullRequest): Promise<void> {
  const { graph } = ports
  const chains = chainIds(diffIds)
  const failed = new AbortController()
  const signal = request.signal === undefined ? failed.signal : AbortSignal.any([request.signal, failed.signal])
  const missing = chains.flatMap((chainId, index) => {
    const [layer, diffId] = [manifest.layers[index], diffIds[index]]
    if (layer === undefined || diffId === undefined) return []
    const id = shortDigest(layer.digest)
    const there = graph.layers.get(chainId) !== undefined || graph.layers.settled(chainId) !== undefined
    request.tell(layerMessage(id, there ? 'Already exists' : 'Pulling fs layer'))
    return there ? [] : [{ chainId, parent: chains[index - 1], layer, diffId, id }]
  })
  const { stacked } = graph.driver
  const fetchThis = async (one: MissingLayer): Promise<void> => {
    await ports.transfers.run(one.chainId, (report, stop) => (stacked ? fetchArchive : fetchOne)(ports, remote, one, report, stop), tellLayer(request.tell, one.id), signal)
    if (!stacked) request.tell(layerMessage(one.id, 'Pull complete'))
  }
  // The largest first: the last one to end should be a small one.
  const order = [...missing].sort((a, b) => b.layer.size - a.layer.size)
  const results = await Promise.allSettled(order.map((one) => fetchThis(one).catch((error: unknown) => {
    failed.abort(error)
    throw error
  })))
  const reason = failed.signal.aborted ? failed.signal.reason : results.find((result) => result.status === 'rejected')?.reason
  if (reason !== undefined) throw reason
  if (!stacked) return
  for (const one of missing) {
    await ports.transfers.run(`place ${one.chainId}`, () => placeArchive(ports, one), () => undefined, signal)
    request.tell(layerMessage(one.id, 'Pull complete'))
  }
}

/** Names what was fetched, all at once: from here on it is there. Undefined when a layer went away meanwhile. */
function publish(graph: Graph, raw: Buffer, resolved: ResolvedImage, diffIds: readonly string[], reference: Reference): Image | undefined {
  return graph.transaction(() => {
    const top = graph.layers.assemble(diffIds)
    if (top === undefined && diffIds.length > 0) return undefined
    const image = graph.images.create(raw)
    const repository = canonicalName(reference)
    resolved.manifest.layers.forEach((layer, index) => graph.content.noteBlob(diffIds[index] ?? '', layer, repository))
    for (const one of new Set([resolved.raw, resolved.top])) graph.content.keep(one, image.id)
    // Who asks for a digest gets no tag, even where one stands beside it.
    if (reference.digest === undefined) graph.tags.set(familiarString(reference), image.id)
    graph.tags.set(`${familiarName(reference)}@${resolved.top.digest}`, image.id)
    return image
  })
}

async function pullOne(ports: PullPorts, request: PullRequest): Promise<void> {
  const { graph, registries } = ports
  const { reference, credentials, signal, tell } = request
  const asked = reference.digest ?? reference.tag ?? 'latest'
  const found = await askPlaces(registries, reference.domain, credentials, { mirrors: true }, async (client, place, shown) => ({ client, shown, place, top: await client.manifest(reference.path, asked, signal) })).catch((error: unknown) => {
    throw pullFailure(error, reference)
  })
  using client = found.client
  tell({ status: `Pulling from ${reference.path}`, id: asked })
  const resolved = await resolveImageManifest(client, reference.path, found.top, request.platform ?? hostPlatform(), signal)
  const known = graph.images.get(resolved.manifest.config.digest)
  const raw = known?.raw ?? (await fetchConfig(client, reference.path, resolved.manifest.config, signal))
  const diffIds = parseImageConfig(raw).rootfs.diff_ids
  checkLayers(resolved.manifest, diffIds)
  const before = graph.tags.get(familiarString(reference))
  const remote: RemotePlace = { endpoint: found.place.endpoint, credentials: found.shown, name: reference.path }
  let image: Image | undefined
  for (let round = 0; image === undefined && round < ROUNDS; round++) {
    await fetchLayers(ports, remote, resolved.manifest, diffIds, request)
    image = publish(graph, raw, resolved, diffIds, reference)
  }
  if (image === undefined) throw new EngineError('conflict', `${familiarString(reference)}: its layers are being removed while it is pulled`)
  const composition = graph.composition(image)
  if (composition !== undefined) await ports.work.run('compose', composition, { signal })
  tell({ status: `Digest: ${resolved.top.digest}` })
  tell({ status: `Status: ${before === image.id ? 'Image is up to date' : 'Downloaded newer image'} for ${familiarString(reference)}` })
  ports.emit('pull', familiarString(reference), { name: familiarName(reference) })
}

/** Pulls an image, or all tags of a repository. */
export async function pullImage(ports: PullPorts, request: PullRequest & { readonly allTags: boolean }): Promise<void> {
  if (!request.allTags) return pullOne(ports, request)
  const { reference, credentials, signal } = request
  const tags = await askPlaces(ports.registries, reference.domain, credentials, { mirrors: true }, async (client) => {
    using _ = client
    return client.tags(reference.path, signal)
  }).catch((error: unknown) => {
    throw pullFailure(error, reference)
  })
  for (const tag of tags) await pullOne(ports, { ...request, reference: parseReference(`${familiarName(reference)}:${tag}`) })
}
