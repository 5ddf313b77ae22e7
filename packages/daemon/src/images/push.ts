import type { Graph, Image, KnownBlob, Layer } from '@gantry/graph'
import { type Credentials, canonicalName, familiarName, imageMediaTypes, type LayerCompression, layerCompression, layerMediaType, type MediaFamily, parseManifest, type Reference, type RegistryClient } from '@gantry/registry'
import { type Descriptor, digestOf, EngineError } from '@gantry/std'
import type { ImageProcess } from './process/client.ts'
import type { Packing } from './process/protocol.ts'
import { layerMessage, shortDigest, type Tell } from './progress.ts'
import type { Registries } from './registries.ts'
import { askPlaces } from './resolve.ts'
import type { Transfers } from './transfers.ts'

/** What a push needs of the house. */
export interface PushPorts {
  readonly graph: Graph
  readonly work: ImageProcess
  readonly registries: Registries
  readonly uploads: Transfers
  readonly compression: 'gzip' | 'zstd'
  emit(action: string, id: string, attributes: Readonly<Record<string, string>>): void
}

/** What is asked of what is sent, where it is not what the daemon has by itself. */
export interface PushForm {
  readonly packing?: Packing | undefined
  /** Also layers that are there in another packing are sent. */
  readonly force?: boolean
  readonly family?: MediaFamily | undefined
}

/** What is pushed, and for whom. */
export interface PushRequest {
  readonly image: Image
  readonly reference: Reference
  readonly credentials: Credentials
  readonly tell: Tell
  readonly signal: AbortSignal | undefined
  readonly form?: PushForm
}

/** A registry, and where in it layers go. */
export interface PushTarget {
  readonly client: RegistryClient
  readonly request: Omit<PushRequest, 'image'>
}

/** Blobs of one layer that the registry is asked for before the layer is packed. */
const CANDIDATES = 4

const known = ({ digest, size, mediaType }: KnownBlob): Descriptor => ({ digest, size, mediaType })

/** The layer as the registry has it already, or can take it over from a repository beside. */
async function alreadyThere(ports: PushPorts, { client, request }: PushTarget, layer: Layer, id: string): Promise<Descriptor | undefined> {
  const { reference, signal, tell, form } = request
  const { packing } = form ?? {}
  const fits = (blob: KnownBlob): boolean => form?.force !== true || packing === undefined || layerCompression(blob.mediaType) === packing.compression
  const blobs = ports.graph.content.blobs(layer.diffId).filter(fits).slice(0, CANDIDATES)
  for (const blob of blobs) {
    if (!(await client.hasBlob(reference.path, blob.digest, signal))) {
      ports.graph.content.forgetBlob(blob.digest, canonicalName(reference))
      continue
    }
    tell(layerMessage(id, 'Layer already exists'))
    return known(blob)
  }
  for (const blob of blobs) {
    const from = blob.repositories.find((repository) => repository.startsWith(`${reference.domain}/`) && repository !== canonicalName(reference))?.slice(reference.domain.length + 1)
    if (from === undefined) continue
    const upload = await client.startUpload(reference.path, { digest: blob.digest, from }, signal)
    if (upload.kind !== 'mounted') continue
    tell(layerMessage(id, `Mounted from ${from}`))
    return known(blob)
  }
  return undefined
}

/** Sends a layer, where the registry does not have it; gives what the registry knows it by. */
export async function pushLayer(ports: PushPorts, target: PushTarget, layer: Layer): Promise<Descriptor> {
  const { request, client } = target
  const { reference, tell, signal } = request
  const id = shortDigest(layer.diffId)
  tell(layerMessage(id, 'Preparing'))
  const there = await alreadyThere(ports, target, layer, id)
  if (there !== undefined) {
    ports.graph.content.noteBlob(layer.diffId, there, canonicalName(reference))
    return there
  }
  const repository = canonicalName(reference)
  const packing = request.form?.packing ?? { compression: ports.compression, level: undefined }
  await ports.uploads.run(
    `${repository} ${layer.diffId} ${packing.compression}`,
    async (report, stop) => {
      const remote = { endpoint: client.endpoint, credentials: request.credentials, name: reference.path }
      const blob = await ports.work.run('push-layer', { remote, source: ports.graph.layers.source(layer.chainId), bytes: layer.tarBytes, packing }, { onProgress: report, signal: stop })
      ports.graph.content.noteBlob(layer.diffId, { ...blob, mediaType: layerMediaType(packing.compression === 'gzip' ? 'docker' : 'oci', packing.compression) }, repository)
    },
    ({ current, total }) => tell(layerMessage(id, 'Pushing', current, total)),
    signal,
  )
  tell(layerMessage(id, 'Pushed'))
  const pushed = ports.graph.content.blobs(layer.diffId).find((blob) => blob.repositories[0] === repository && layerCompression(blob.mediaType) === packing.compression)
  if (pushed === undefined) throw new EngineError('internal', `layer ${id} was pushed, but not noted`)
  return known(pushed)
}

/** The manifest that the image came with, when the registry has just these blobs: so its digest stays. Else one of our own. */
function manifestFor(graph: Graph, image: Image, layers: readonly Descriptor[], wanted: MediaFamily | undefined): { readonly mediaType: string; readonly bytes: Buffer } {
  for (const kept of graph.content.manifestsOf(image.id)) {
    if (wanted !== undefined && kept.mediaType !== imageMediaTypes(wanted).manifestType) continue
    const parsed = parseManifest(kept.bytes, kept.mediaType)
    if (parsed.kind === 'manifest' && parsed.config.digest === image.id && parsed.layers.length === layers.length && parsed.layers.every((layer, index) => layer.digest === layers[index]?.digest)) return { mediaType: parsed.mediaType, bytes: kept.bytes }
  }
  const compressionOf = (layer: Descriptor): LayerCompression => layerCompression(layer.mediaType ?? '')
  const family = wanted ?? (layers.every((layer) => compressionOf(layer) === 'gzip') ? 'docker' : 'oci')
  const { manifestType: mediaType, configType } = imageMediaTypes(family)
  const document = {
    schemaVersion: 2, mediaType,
    config: { mediaType: configType, size: image.raw.length, digest: image.id },
    layers: layers.map((layer) => ({ mediaType: layerMediaType(family, compressionOf(layer)), size: layer.size, digest: layer.digest })),
  }
  return { mediaType, bytes: Buffer.from(JSON.stringify(document, undefined, 3)) }
}

/** Pushes one image under one name. */
export async function pushImage(ports: PushPorts, request: PushRequest): Promise<void> {
  const { graph } = ports
  const { image, reference, tell, signal } = request
  const layers = [...graph.images.layers(image)].reverse()
  const tag = reference.tag ?? 'latest'
  const { digest, size } = await askPlaces(ports.registries, reference.domain, request.credentials, { mirrors: false }, async (client) => {
    await client.ping(signal)
    using _ = client
    tell({ status: `The push refers to repository [${canonicalName(reference)}]` })
    const blobs = await Promise.all(layers.map((layer) => pushLayer(ports, { client, request }, layer)))
    if (!(await client.hasBlob(reference.path, image.id, signal))) await client.putBlob(reference.path, image.raw, signal)
    const manifest = manifestFor(graph, image, blobs, request.form?.family)
    await client.putManifest(reference.path, tag, manifest.mediaType, manifest.bytes, signal)
    graph.content.keep({ ...manifest, digest: digestOf(manifest.bytes) }, image.id)
    return { digest: digestOf(manifest.bytes), size: manifest.bytes.length }
  })
  graph.tags.set(`${familiarName(reference)}@${digest}`, image.id)
  tell({ status: `${tag}: digest: ${digest} size: ${size}` })
  tell({ progressDetail: {}, aux: { Tag: tag, Digest: digest, Size: size } })
  ports.emit('push', `${familiarName(reference)}:${tag}`, { name: familiarName(reference) })
}
