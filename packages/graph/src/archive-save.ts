import { type Descriptor, digestOf } from '@gantry/std'
import { layerTar } from './apply/skeleton-tar.ts'
import type { Image, ImageStore } from './images.ts'
import type { Layer, LayerStore } from './layers.ts'
import { BLOCK, encodeHeader, padding, type TarEntry } from './tar-header.ts'

/** What is saved: an image and the names it goes by. */
export interface SavedImage {
  readonly image: Image
  /** `name:tag` */
  readonly names: readonly string[]
}

/** A layer's blob as it goes into an archive. */
export interface SavedLayer extends Descriptor {
  readonly mediaType: string
  read(): AsyncIterable<Buffer>
}

/** What an archive calls its parts, and in what form its layers are. */
export interface SaveForm {
  readonly manifestType: string
  readonly configType: string
  layer(layer: Layer): Promise<SavedLayer> | SavedLayer
}

function entry(path: string, size: number, type: TarEntry['type'] = 'file'): TarEntry {
  return { path, type, mode: type === 'directory' ? 0o755 : 0o644, uid: 0, gid: 0, size, mtimeSeconds: 0, mtimeNanos: 0, link: '', major: 0, minor: 0, xattrs: new Map() }
}

function* file(path: string, content: Buffer): Generator<Buffer> {
  yield encodeHeader(entry(path, content.length))
  yield content
  yield padding(content.length)
}

const hex = (digest: string): string => digest.slice('sha256:'.length)
const blob = (digest: string): string => `blobs/sha256/${hex(digest)}`

const PLAIN = { manifestType: 'application/vnd.oci.image.manifest.v1+json', configType: 'application/vnd.oci.image.config.v1+json' } as const
const plainBlob = ({ diffId, tarBytes }: Layer): Descriptor => ({ mediaType: 'application/vnd.oci.image.layer.v1.tar', digest: diffId, size: tarBytes })

/** Layers as plain archives, described as OCI has it. */
export function plainForm(layers: LayerStore): SaveForm {
  return { ...PLAIN, layer: (layer) => ({ ...plainBlob(layer), mediaType: 'application/vnd.oci.image.layer.v1.tar', read: () => layerTar(layers.source(layer.chainId)) }) }
}

function manifestOf(image: Image, { manifestType, configType }: Pick<SaveForm, 'manifestType' | 'configType'>, blobs: readonly Descriptor[]): Buffer {
  const layers = blobs.map(({ mediaType, digest, size }) => ({ mediaType, digest, size }))
  return Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: manifestType, config: { mediaType: configType, digest: image.id, size: image.raw.length }, layers }))
}

/** The OCI manifest of an image whose layers go out as plain archives. */
export function plainManifest(image: Image, images: ImageStore): Buffer {
  return manifestOf(image, PLAIN, [...images.layers(image)].reverse().map(plainBlob))
}

/** Writes images as an OCI layout that also carries Docker's manifest.json, so that every tool reads it. */
export async function* saveArchive(saved: readonly SavedImage[], images: ImageStore, form: SaveForm): AsyncGenerator<Buffer> {
  const written = new Set<string>()
  const blobs = new Map<string, Descriptor>()
  const manifests: unknown[] = []
  const index: unknown[] = []
  for (const directory of ['blobs', 'blobs/sha256']) yield encodeHeader(entry(directory, 0, 'directory'))
  for (const { image, names } of saved) {
    const chain = [...images.layers(image)].reverse()
    for (const layer of chain) {
      if (blobs.has(layer.diffId)) continue
      const packed = await form.layer(layer)
      blobs.set(layer.diffId, packed)
      if (written.has(packed.digest)) continue
      written.add(packed.digest)
      yield encodeHeader(entry(blob(packed.digest), packed.size))
      for await (const chunk of packed.read()) yield chunk
      yield padding(packed.size)
    }
    if (!written.has(image.id)) yield* file(blob(image.id), image.raw)
    written.add(image.id)
    const own = chain.flatMap((layer) => blobs.get(layer.diffId) ?? [])
    const manifest = manifestOf(image, form, own)
    const digest = digestOf(manifest)
    if (!written.has(digest)) yield* file(blob(digest), manifest)
    written.add(digest)
    manifests.push({ Config: blob(image.id), RepoTags: names.length === 0 ? null : names, Layers: own.map((layer) => blob(layer.digest)) })
    const described = { mediaType: form.manifestType, digest, size: manifest.length }
    if (names.length === 0) index.push(described)
    for (const name of names) index.push({ ...described, annotations: { 'io.containerd.image.name': name, 'org.opencontainers.image.ref.name': name.slice(name.lastIndexOf(':') + 1) } })
  }
  yield* file('index.json', Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: 'application/vnd.oci.image.index.v1+json', manifests: index })))
  yield* file('manifest.json', Buffer.from(JSON.stringify(manifests)))
  yield* file('oci-layout', Buffer.from('{"imageLayoutVersion":"1.0.0"}'))
  yield Buffer.alloc(BLOCK * 2)
}
