import { createHash } from 'node:crypto'
import { layerTar } from './apply/skeleton-tar.ts'
import type { Image, ImageStore } from './images.ts'
import type { LayerStore } from './layers.ts'
import { BLOCK, encodeHeader, padding, type TarEntry } from './tar-header.ts'

/** What is saved: an image and the names it goes by. */
export interface SavedImage {
  readonly image: Image
  /** `name:tag` */
  readonly names: readonly string[]
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

/** The OCI manifest of an image whose layers go out as plain archives. */
export function plainManifest(image: Image, images: ImageStore): Buffer {
  return Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      config: { mediaType: 'application/vnd.oci.image.config.v1+json', digest: image.id, size: image.raw.length },
      layers: [...images.layers(image)].reverse().map((layer) => ({ mediaType: 'application/vnd.oci.image.layer.v1.tar', digest: layer.diffId, size: layer.tarBytes })),
    }),
  )
}

/** Writes images as an OCI layout that also carries Docker's manifest.json, so that every tool reads it. */
export async function* saveArchive(saved: readonly SavedImage[], images: ImageStore, layers: LayerStore): AsyncGenerator<Buffer> {
  const written = new Set<string>()
  const manifests: unknown[] = []
  const index: unknown[] = []
  for (const directory of ['blobs', 'blobs/sha256']) yield encodeHeader(entry(directory, 0, 'directory'))
  for (const { image, names } of saved) {
    const chain = [...images.layers(image)].reverse()
    for (const layer of chain) {
      if (written.has(layer.diffId)) continue
      written.add(layer.diffId)
      const size = layer.tarBytes
      yield encodeHeader(entry(blob(layer.diffId), size))
      for await (const chunk of layerTar(layers.source(layer.chainId))) yield chunk
      yield padding(size)
    }
    if (!written.has(image.id)) yield* file(blob(image.id), image.raw)
    written.add(image.id)
    const manifest = plainManifest(image, images)
    const digest = `sha256:${createHash('sha256').update(manifest).digest('hex')}`
    if (!written.has(digest)) yield* file(blob(digest), manifest)
    written.add(digest)
    manifests.push({ Config: blob(image.id), RepoTags: names.length === 0 ? null : names, Layers: chain.map((layer) => blob(layer.diffId)) })
    const described = { mediaType: 'application/vnd.oci.image.manifest.v1+json', digest, size: manifest.length }
    if (names.length === 0) index.push(described)
    for (const name of names) index.push({ ...described, annotations: { 'io.containerd.image.name': name, 'org.opencontainers.image.ref.name': name.slice(name.lastIndexOf(':') + 1) } })
  }
  yield* file('index.json', Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: 'application/vnd.oci.image.index.v1+json', manifests: index })))
  yield* file('manifest.json', Buffer.from(JSON.stringify(manifests)))
  yield* file('oci-layout', Buffer.from('{"imageLayoutVersion":"1.0.0"}'))
  yield Buffer.alloc(BLOCK * 2)
}
