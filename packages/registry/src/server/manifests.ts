import { collect, digestOf, EngineError, isDigest } from '@gantry/std'
import { type Index, type Manifest, MANIFEST_LIMIT, parseManifest } from '../manifest.ts'
import { isForeignLayer, MEDIA } from '../media-types.ts'
import { Refusal, type RegistryRequest, sendDocument, sendHead } from './answer.ts'
import { keepBlob } from './keep.ts'
import type { ReadableContent, RegistryServerOptions } from './server.ts'
import type { RegistryStore, StoredManifest } from './store.ts'

const TAG = /^[\w][\w.-]{0,127}$/
const PAGE = 1000

/** Digests that a manifest needs to be there. */
export function manifestChildren({ bytes, mediaType }: StoredManifest): readonly string[] {
  const parsed = parseManifest(bytes, mediaType)
  return parsed.kind === 'index' ? parsed.manifests.map((one) => one.digest) : [parsed.config.digest, ...parsed.layers.map((one) => one.digest)]
}

/** `GET`, `HEAD /v2/NAME/manifests/REFERENCE` (distribution-spec, "Pulling manifests"). */
export async function getManifest(content: ReadableContent, request: RegistryRequest): Promise<void> {
  const found = await content.manifest(request.name, request.reference)
  if (found === undefined) {
    if (!(await content.has(request.name))) throw new Refusal(404, 'NAME_UNKNOWN', `repository ${request.name} is not known to this registry`)
    throw new Refusal(404, 'MANIFEST_UNKNOWN', `manifest ${request.reference} is not known to ${request.name}`)
  }
  request.response.writeHead(200, { 'Content-Type': found.mediaType, 'Content-Length': String(found.bytes.length), 'Docker-Content-Digest': found.digest, ETag: `"${found.digest}"` })
  request.response.end(request.method === 'HEAD' ? undefined : found.bytes)
}

function parsed(bytes: Buffer, mediaType: string): Manifest | Index {
  try {
    return parseManifest(bytes, mediaType)
  } catch (error) {
    if (error instanceof EngineError) throw new Refusal(400, 'MANIFEST_INVALID', error.message)
    throw error
  }
}

/** Refuses a manifest whose content has not been pushed before it. What only the engine behind has is taken into the store: the manifest outlives the engine's image. */
async function checkChildren({ store, behind }: RegistryServerOptions, name: string, manifest: Manifest | Index): Promise<void> {
  const unknown = (digest: string): never => {
    throw new Refusal(manifest.kind === 'index' ? 400 : 404, 'MANIFEST_BLOB_UNKNOWN', `the manifest names ${digest}, which is not known to ${name}`)
  }
  if (manifest.kind === 'index') {
    for (const { digest } of manifest.manifests) if (store.manifest(name, digest) === undefined) unknown(digest)
    return
  }
  for (const { digest } of [manifest.config, ...manifest.layers.filter((one) => !isForeignLayer(one.mediaType ?? ''))]) {
    if (store.blob(name, digest) !== undefined) continue
    const blob = (await behind?.blob(name, digest)) ?? unknown(digest)
    await keepBlob(store, name, digest, blob.read(), 'the engine')
  }
}

/** `PUT /v2/NAME/manifests/REFERENCE` (distribution-spec, "Pushing Manifests"). */
export async function putManifest(options: RegistryServerOptions, request: RegistryRequest): Promise<void> {
  const { store } = options
  const { name, reference } = request
  const isByDigest = isDigest(reference)
  if (!isByDigest && !TAG.test(reference)) throw new Refusal(400, 'TAG_INVALID', `invalid tag ${JSON.stringify(reference)}`)
  if (Number(request.message.headers['content-length'] ?? 0) > MANIFEST_LIMIT) throw new Refusal(413, 'SIZE_INVALID', `manifest of more than ${MANIFEST_LIMIT} bytes`)
  const bytes = await collect(request.message, MANIFEST_LIMIT)
  const digest = digestOf(bytes)
  if (isByDigest && digest !== reference) throw new Refusal(400, 'DIGEST_INVALID', `provided digest did not match uploaded content: ${reference} was named, ${digest} came`)
  const manifest = parsed(bytes, String(request.message.headers['content-type'] ?? ''))
  await checkChildren(options, name, manifest)
  store.putManifest(name, { digest, mediaType: manifest.mediaType, bytes }, isByDigest ? undefined : reference)
  const { subject } = manifest
  if (subject !== undefined) {
    const artifactType = manifest.artifactType || (manifest.kind === 'manifest' ? (manifest.config.mediaType ?? '') : '')
    const { annotations } = manifest
    store.addReferrer(name, subject.digest, digest, JSON.stringify({ mediaType: manifest.mediaType, digest, size: bytes.length, ...(artifactType !== '' && { artifactType }), ...(Object.keys(annotations).length > 0 && { annotations }) }))
  }
  sendHead(request, 201, { Location: `/v2/${name}/manifests/${digest}`, 'Docker-Content-Digest': digest, ...(subject !== undefined && { 'OCI-Subject': subject.digest }) })
}

/** `DELETE /v2/NAME/manifests/REFERENCE` (distribution-spec, "Deleting tags", "Deleting Manifests"). */
export function deleteManifest(store: RegistryStore, request: RegistryRequest): void {
  const found = store.manifest(request.name, request.reference)
  if (found === undefined || !store.removeManifest(request.name, request.reference)) throw new Refusal(404, 'MANIFEST_UNKNOWN', `manifest ${request.reference} is not known to ${request.name}`)
  const { subject } = parseManifest(found.bytes, found.mediaType)
  if (subject !== undefined && isDigest(request.reference)) store.removeReferrer(request.name, subject.digest, found.digest)
  sendHead(request, 202)
}

/** A page of names after `last`; names the next page in `Link` (distribution-spec, "Listing Tags"). */
function page(request: RegistryRequest, all: readonly string[]): { readonly items: readonly string[]; readonly headers: Readonly<Record<string, string>> } {
  const { searchParams } = request.url
  const text = searchParams.get('n')
  const count = text === null ? PAGE : Number(text)
  if (!Number.isSafeInteger(count) || count < 0) throw new Refusal(400, 'UNSUPPORTED', `n: expected a number, got ${JSON.stringify(text)}`)
  const last = searchParams.get('last') ?? ''
  const rest = all.filter((name) => name > last)
  const items = rest.slice(0, count)
  const next = new URLSearchParams({ n: String(count), last: items.at(-1) ?? '' })
  return { items, headers: items.length < rest.length && items.length > 0 ? { Link: `<${request.url.pathname}?${next}>; rel="next"` } : {} }
}

/** `GET /v2/NAME/tags/list`. */
export async function listTags(content: ReadableContent, request: RegistryRequest): Promise<void> {
  if (!(await content.has(request.name))) throw new Refusal(404, 'NAME_UNKNOWN', `repository ${request.name} is not known to this registry`)
  const { items, headers } = page(request, [...(await content.tags(request.name))].sort())
  sendDocument(request, 200, { name: request.name, tags: items }, headers)
}

/** `GET /v2/_catalog`. */
export async function listRepositories(content: ReadableContent, request: RegistryRequest): Promise<void> {
  const { items, headers } = page(request, await content.repositories())
  sendDocument(request, 200, { repositories: items }, headers)
}

/** `GET /v2/NAME/referrers/DIGEST` (distribution-spec, "Listing Referrers"). */
export function listReferrers(store: RegistryStore, request: RegistryRequest): void {
  if (!isDigest(request.reference)) throw new Refusal(400, 'DIGEST_INVALID', `not a sha256 digest: ${JSON.stringify(request.reference)}`)
  const wanted = request.url.searchParams.get('artifactType')
  const all = store.referrers(request.name, request.reference).map((text) => JSON.parse(text) as { readonly artifactType?: string })
  const manifests = wanted === null ? all : all.filter((one) => one.artifactType === wanted)
  sendDocument(request, 200, { schemaVersion: 2, mediaType: MEDIA.ociIndex, manifests }, { 'Content-Type': MEDIA.ociIndex, ...(wanted !== null && { 'OCI-Filters-Applied': 'artifactType' }) })
}
