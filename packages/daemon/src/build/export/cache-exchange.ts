import { Readable } from 'node:stream'
import { type BuildResult, type CacheUse, INLINE_CACHE, type RemoteCache, type RemoteUse } from '@gantry/builder'
import { layerTar } from '@gantry/graph'
import { MEDIA, parseManifest, parseReference, type RegistryClient } from '@gantry/registry'
import { asInteger, asList, asObject, asString, collect, type Descriptor, digestOf, EngineError } from '@gantry/std'
import { resolveImage } from '../../images/images.ts'
import { pushLayer } from '../../images/push.ts'
import { askPlaces } from '../../images/resolve.ts'
import type { ClientContent, ExportContext, OutputRequest } from './context.ts'
import { flagOf, openPacker, outputForm } from './form.ts'
import { during, type OpenVertex, pullStatus } from './vertex.ts'

/** Configuration of a manifest that is no image, but a cache: `{records: [use and digest of its layer]}`. */
const CONFIG_TYPE = 'application/vnd.gantry.buildcache.config.v1+json'
const CONFIG_LIMIT = 32 << 20
const MAX_RECORDS = 10_000

function useOf(value: unknown, index: number): Omit<RemoteUse, 'open'> {
  const o = asObject(value, `records[${index}]`)
  return { key: asString(o['key'], 'key'), kind: asString(o['kind'], 'kind'), description: asString(o['description'], 'description'), diffId: asString(o['diffId'], 'diffId'), parent: asString(o['parent'], 'parent'), createdAt: asInteger(o['createdAt'], 'createdAt') }
}

/** Contents of a place by their digests. */
type Fetch = (digest: string) => AsyncIterable<Uint8Array>

/** Reads what a manifest tells of steps: one of a cache, or of an image that has it inside. */
async function usesOf(raw: Buffer, mediaType: string, fetch: Fetch): Promise<readonly RemoteUse[]> {
  const manifest = parseManifest(raw, mediaType)
  if (manifest.kind !== 'manifest') throw new EngineError('unsupported', 'a cache of several platforms is not supported')
  const document = asObject(JSON.parse((await collect(fetch(manifest.config.digest), CONFIG_LIMIT)).toString('utf8')), 'configuration')
  const inside = manifest.config.mediaType !== CONFIG_TYPE
  const list = asList((inside ? document[INLINE_CACHE] : document['records']) ?? [], 'records')
  if (list.length > MAX_RECORDS) throw new EngineError('invalid', `a cache of ${list.length} records: expected at most ${MAX_RECORDS}`)
  const diffIds = inside ? asList(asObject(document['rootfs'], 'rootfs')['diff_ids'], 'diff_ids') : []
  return list.flatMap((value, index) => {
    const use = useOf(value, index)
    const blob = inside ? manifest.layers[diffIds.indexOf(use.diffId)]?.digest : asString(asObject(value, 'record')['blob'], 'blob')
    return blob === undefined || blob === '' ? [] : [{ ...use, open: () => fetch(blob) }]
  })
}

async function* blobOf(client: RegistryClient, path: string, digest: string, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  yield* (await client.blob(path, digest, 0, signal)).stream
}

function contentOf({ content }: ExportContext): ClientContent {
  if (content === undefined) throw new EngineError('unsupported', 'caches of type local come and go through BuildKit’s door alone')
  return content
}

/** What an image here has inside of what its steps came to. */
function usesOfImage({ graph }: ExportContext['ports'], name: string): readonly RemoteUse[] {
  const image = resolveImage(graph, name)
  const chains = new Map(graph.images.layers(image).map((layer) => [layer.diffId, layer.chainId]))
  const list = asList(asObject(JSON.parse(image.raw.toString('utf8')), 'configuration')[INLINE_CACHE] ?? [], 'records').slice(0, MAX_RECORDS)
  if (list.length === 0) throw new EngineError('not-found', `${name} does not say what its steps came to (build with the argument BUILDKIT_INLINE_CACHE=1)`)
  return list.flatMap((value, index) => {
    const use = useOf(value, index)
    const chainId = chains.get(use.diffId)
    return chainId === undefined ? [] : [{ ...use, open: () => layerTar(graph.layers.source(chainId)) }]
  })
}

async function importOne(context: ExportContext, { Type, Attrs }: OutputRequest): Promise<readonly RemoteUse[]> {
  const { ports, signal } = context
  if (Type === 'image') return usesOfImage(ports, Attrs['ref'] ?? '')
  if (Type === 'local') {
    const content = contentOf(context)
    const store = `local:${Attrs['src'] ?? ''}`
    const fetch: Fetch = (digest) => content.read(store, digest)
    return usesOf(await collect(fetch(Attrs['digest'] ?? ''), CONFIG_LIMIT), MEDIA.ociManifest, fetch)
  }
  if (Type !== 'registry') throw new EngineError('unsupported', `cache-from: type ${JSON.stringify(Type)}: expected registry or local`)
  const named = parseReference(Attrs['ref'] ?? '')
  const credentials = await context.credentials(named)
  return askPlaces(ports.images.pull.registries, named.domain, credentials, { mirrors: false }, async (client) => {
    const { bytes, mediaType } = await client.manifest(named.path, named.digest ?? named.tag ?? 'latest', signal)
    return usesOf(bytes, mediaType, (digest) => blobOf(client, named.path, digest, signal))
  })
}

const nameOf = ({ Type, Attrs }: OutputRequest): string => Attrs['ref'] ?? Attrs['src'] ?? Attrs['dest'] ?? Type

/** What other builds came to, as far as it can be had: a cache that is not there is told of, and the build goes on. */
export async function importCaches(context: ExportContext, requests: readonly OutputRequest[]): Promise<RemoteCache | undefined> {
  if (requests.length === 0) return undefined
  const uses = new Map<string, RemoteUse>()
  await Promise.all(requests.map(async (request) => {
    const vertex = context.log.open(`importing cache manifest from ${nameOf(request)}`)
    try {
      for (const use of await during(vertex, () => importOne(context, request))) uses.set(use.key, use)
    } catch (error) {
      // The vertex has told of it.
      if (error instanceof EngineError && error.kind === 'unsupported') throw error
    }
  }))
  return { find: (key) => uses.get(key) }
}

/** Refuses what no cache can be. */
export function checkCache({ Type, Attrs }: OutputRequest): void {
  if (!['inline', 'registry', 'local'].includes(Type)) throw new EngineError('unsupported', `cache-to: type ${JSON.stringify(Type)}: expected inline, registry or local`)
  if (!['', 'min', 'max'].includes(Attrs['mode'] ?? '')) throw new EngineError('invalid', `cache-to: mode ${JSON.stringify(Attrs['mode'])}: expected min or max`)
  // A manifest of OCI's it is in any case.
  const older = ['oci-mediatypes', 'image-manifest'].find((name) => flagOf(Attrs, name) === false)
  if (older !== undefined) throw new EngineError('unsupported', `cache-to: ${older}=${Attrs[older]}: not supported by this version of Gantry`)
  outputForm(Attrs)
}

/** A cache's manifest and its configuration. `blobs`: layers as the other side has them, by diff id. */
function cacheManifest(uses: readonly CacheUse[], blobs: ReadonlyMap<string, Descriptor>): { readonly config: Buffer; readonly manifest: Buffer } {
  const records = uses.map(({ bytes: _, chainId: __, ...use }) => ({ ...use, blob: blobs.get(use.diffId)?.digest }))
  const config = Buffer.from(JSON.stringify({ records }))
  const layers = [...blobs.values()].map(({ mediaType, digest, size }) => ({ mediaType, digest, size }))
  return { config, manifest: Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: MEDIA.ociManifest, config: { mediaType: CONFIG_TYPE, digest: digestOf(config), size: config.length }, layers })) }
}

/** One use for each layer. */
const layersOf = (uses: readonly CacheUse[]): readonly CacheUse[] => [...new Map(uses.map((use) => [use.diffId, use])).values()]

async function toRegistry(context: ExportContext, uses: readonly CacheUse[], { Attrs }: OutputRequest, vertex: OpenVertex): Promise<void> {
  const { ports: { graph, images: { push } }, signal } = context
  const form = outputForm(Attrs)
  const reference = parseReference(Attrs['ref'] ?? '')
  const credentials = await context.credentials(reference)
  await askPlaces(push.registries, reference.domain, credentials, { mirrors: false }, async (client) => {
    await client.ping(signal)
    using _ = client
    const blobs = new Map<string, Descriptor>()
    for (const { chainId, diffId } of layersOf(uses)) {
      const layer = graph.layers.get(chainId)
      if (layer !== undefined) blobs.set(diffId, await pushLayer(push, { client, request: { reference, credentials, tell: pullStatus(vertex), signal, form } }, layer))
    }
    const { config, manifest } = cacheManifest(uses, blobs)
    await client.putBlob(reference.path, config, signal)
    await client.putManifest(reference.path, reference.tag ?? 'latest', MEDIA.ociManifest, manifest, signal)
  })
}

async function toClient(context: ExportContext, uses: readonly CacheUse[], { Attrs }: OutputRequest, vertex: OpenVertex): Promise<Descriptor> {
  const { graph } = context.ports
  const content = contentOf(context)
  const store = `local:${Attrs['dest'] ?? ''}`
  using packer = openPacker(context, outputForm(Attrs))
  const blobs = new Map<string, Descriptor>()
  for (const { chainId, diffId } of layersOf(uses)) {
    const layer = graph.layers.get(chainId)
    if (layer === undefined) continue
    vertex.status(`writing layer ${diffId}`)
    const blob = await packer.layer(layer)
    await content.write(store, blob, blob.read())
    vertex.status(`writing layer ${diffId}`, { done: true })
    blobs.set(diffId, blob)
  }
  const { config, manifest } = cacheManifest(uses, blobs)
  for (const bytes of [config, manifest]) await content.write(store, { digest: digestOf(bytes), size: bytes.length }, Readable.from([bytes]))
  return { mediaType: MEDIA.ociManifest, digest: digestOf(manifest), size: manifest.length }
}

/** Takes what the steps came to to where the client wants it. Gives what the client is told. */
export async function exportCache(context: ExportContext, request: OutputRequest, result: BuildResult): Promise<Readonly<Record<string, string>>> {
  const { Type, Attrs } = request
  // It is in the image already.
  if (Type === 'inline') return {}
  const vertex = context.log.open(`exporting cache to ${Type === 'registry' ? 'registry' : 'client directory'}`)
  try {
    return await during(vertex, async () => {
      const uses = Attrs['mode'] === 'max' ? result.uses : result.ownUses
      if (Type === 'local') return { 'cache.manifest': JSON.stringify(await toClient(context, uses, request, vertex)) }
      await toRegistry(context, uses, request, vertex)
      return {}
    })
  } catch (error) {
    if (flagOf(Attrs, 'ignore-error') === true) return {}
    throw error
  }
}
