import { closeSync, mkdirSync, openSync, readFileSync, rmSync, statSync, writeSync } from 'node:fs'
import { type Descriptor, digestOf, EngineError, isDigest, randomHex } from '@gantry/std'
import { fileChunks } from './apply/file-chunks.ts'
import { decompressed } from './compression.ts'
import { type Image, type ImageStore, parseImageConfig } from './images.ts'
import type { LayerStore } from './layers.ts'
import { readTar } from './tar-reader.ts'
import { cleanPath } from './whiteout.ts'

/** Images of an archive (`docker save`, skopeo, or an OCI layout) that came into the store. */
export interface LoadedImage {
  readonly image: Image
  /** Names in the archive, not normalised. */
  readonly names: readonly string[]
}

const JSON_LIMIT = 4 << 20
const MEMBER_LIMIT = 100_000

/** What an archive holds, spooled to a folder of its own; names lead to spool files, never to paths. */
interface Spool {
  file(path: string): string | undefined
  json(path: string): unknown
}

async function spool(source: AsyncIterable<Uint8Array>, directory: string): Promise<Spool> {
  const files = new Map<string, string>()
  const links = new Map<string, string>()
  for await (const { entry, data } of readTar(await decompressed(source))) {
    const path = cleanPath(entry.path)
    if (path === undefined || files.size > MEMBER_LIMIT) continue
    if (entry.type === 'link' || entry.type === 'hardlink') {
      const base = entry.type === 'link' && !entry.link.startsWith('/') ? path.slice(0, path.lastIndexOf('/') + 1) : ''
      links.set(path, cleanPath(base + entry.link) ?? '')
    }
    if (entry.type !== 'file') continue
    const spooled = `${directory}/${files.size}`
    const fd = openSync(spooled, 'wx', 0o600)
    try {
      for await (const chunk of data()) writeSync(fd, chunk)
    } finally {
      closeSync(fd)
    }
    files.set(path, spooled)
  }
  const file = (path: string): string | undefined => {
    const clean = cleanPath(path) ?? ''
    return files.get(clean) ?? files.get(links.get(clean) ?? '')
  }
  return {
    file,
    json(path) {
      const spooled = file(path)
      if (spooled === undefined) return undefined
      if (statSync(spooled).size > JSON_LIMIT) throw new EngineError('invalid', `${path}: more than ${JSON_LIMIT} bytes`)
      try {
        return JSON.parse(readFileSync(spooled, 'utf8'))
      } catch (cause) {
        throw new EngineError('invalid', `${path}: not JSON`, { cause })
      }
    },
  }
}

interface Wanted {
  readonly config: string
  readonly layers: readonly string[]
  readonly names: readonly string[]
}

function fromManifest(manifest: unknown): readonly Wanted[] {
  if (!Array.isArray(manifest)) throw new EngineError('invalid', 'manifest.json: expected a list')
  return manifest.map((item: { Config?: unknown; Layers?: unknown; RepoTags?: unknown }, index) => {
    if (typeof item?.Config !== 'string' || !Array.isArray(item.Layers)) throw new EngineError('invalid', `manifest.json[${index}]: expected Config and Layers`)
    return { config: item.Config, layers: item.Layers.map(String), names: Array.isArray(item.RepoTags) ? item.RepoTags.map(String) : [] }
  })
}

const blobPath = (digest: string): string => {
  if (!isDigest(digest)) throw new EngineError('invalid', `not a sha256 digest: ${JSON.stringify(digest)}`)
  return `blobs/sha256/${digest.slice('sha256:'.length)}`
}

function fits(descriptor: Descriptor): boolean {
  const arch = process.arch === 'x64' ? 'amd64' : process.arch
  return descriptor.platform === undefined || (descriptor.platform.architecture === arch && descriptor.platform.os === 'linux')
}

function fromLayout(files: Spool, index: unknown): readonly Wanted[] {
  const wanted: Wanted[] = []
  const visit = (descriptors: readonly Descriptor[], name: string | undefined, depth: number): void => {
    if (depth > 4) throw new EngineError('invalid', 'index.json: indexes nest too deep')
    for (const descriptor of descriptors) {
      const document = files.json(blobPath(descriptor.digest)) as { manifests?: readonly Descriptor[]; config?: Descriptor; layers?: readonly Descriptor[] } | undefined
      const named = descriptor.annotations?.['io.containerd.image.name'] ?? descriptor.annotations?.['org.opencontainers.image.ref.name'] ?? name
      if (document?.manifests !== undefined) visit(document.manifests.filter(fits), named, depth + 1)
      else if (document?.config !== undefined && fits(descriptor)) {
        wanted.push({ config: blobPath(document.config.digest), layers: (document.layers ?? []).map((layer) => blobPath(layer.digest)), names: named?.includes(':') || named?.includes('/') ? [named] : [] })
      }
    }
  }
  visit((index as { manifests?: readonly Descriptor[] }).manifests ?? [], undefined, 0)
  return wanted
}

async function loadOne(files: Spool, wanted: Wanted, images: ImageStore, layers: LayerStore): Promise<Image> {
  const configFile = files.file(wanted.config)
  if (configFile === undefined) throw new EngineError('invalid', `archive lacks ${wanted.config}`)
  if (statSync(configFile).size > JSON_LIMIT) throw new EngineError('invalid', `${wanted.config}: more than ${JSON_LIMIT} bytes`)
  const raw = readFileSync(configFile)
  const named = /^(?:blobs\/sha256\/)?([0-9a-f]{64})(?:\.json)?$/.exec(wanted.config)?.[1]
  if (named !== undefined && digestOf(raw) !== `sha256:${named}`) throw new EngineError('invalid', `${wanted.config}: content does not match its digest`)
  const config = parseImageConfig(raw)
  const diffIds = config.rootfs.diff_ids
  if (diffIds.length !== wanted.layers.length) throw new EngineError('invalid', `invalid manifest, layers length mismatch: expected ${diffIds.length}, got ${wanted.layers.length}`)
  let parent: string | undefined
  for (const [index, diffId] of diffIds.entries()) {
    const file = files.file(wanted.layers[index] ?? '')
    if (file === undefined) throw new EngineError('invalid', `archive lacks ${wanted.layers[index]}`)
    const above = parent
    const layer = await layers.register(fileChunks(file), above, diffId)
    if (above !== undefined) layers.release(above)
    parent = layer.chainId
  }
  return images.create(raw)
}

/** Reads an archive and keeps its images. Nothing is kept of an archive that is broken, but layers that were complete. */
export async function loadArchive(source: AsyncIterable<Uint8Array>, root: string, images: ImageStore, layers: LayerStore): Promise<readonly LoadedImage[]> {
  const directory = `${root}/staging/${randomHex(8)}`
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  try {
    const files = await spool(source, directory)
    const manifest = files.json('manifest.json')
    const index = files.json('index.json')
    if (manifest === undefined && index === undefined) throw new EngineError('invalid', 'invalid archive: it holds neither manifest.json nor index.json')
    const wanted = manifest === undefined ? fromLayout(files, index) : fromManifest(manifest)
    if (wanted.length === 0) throw new EngineError('invalid', 'invalid archive: no image in it fits this machine')
    const loaded: LoadedImage[] = []
    for (const one of wanted) loaded.push({ image: await loadOne(files, one, images, layers), names: one.names })
    return loaded
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}
