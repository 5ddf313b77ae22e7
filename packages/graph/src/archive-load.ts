import { closeSync, mkdirSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs'
import { type Descriptor, digestOf, EngineError, isDigest, randomHex } from '@gantry/std'
import { layerWriter, type LayerWriter } from './apply/layer-writer.ts'
import { decompressed } from './compression.ts'
import { type Image, type ImageStore, parseImageConfig } from './images.ts'
import type { LayerStore } from './layers.ts'
import { BLOCK, checkSum, fieldNumber } from './tar-header.ts'
import { isEmptyBlock } from './tar-headers.ts'
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

/** A member of an archive, spooled to a file of its own. */
export interface SpooledMember {
  readonly path: string
  /** Name of the file in the spool's folder. */
  readonly file: string
  readonly bytes: number
  /** Where the content is an archive, not compressed: what a layer of it comes to. Its index lies beside it. */
  readonly layer: { readonly diffId: string; readonly tarBytes: number; readonly bytes: number } | undefined
}

/** What an archive holds. Names lead to spool files, never to paths. */
export interface SpooledArchive {
  readonly members: readonly SpooledMember[]
  /** Path to path. */
  readonly links: readonly (readonly [string, string])[]
}

/** Reads an archive into an empty folder. */
export type SpoolArchive = (source: AsyncIterable<Uint8Array>, directory: string) => Promise<SpooledArchive>

/** A member's content on its way to its file; a layer is indexed as it goes by. */
function memberSink(path: string, index: string): { push(chunk: Buffer): void; close(): SpooledMember['layer']; abort(): void } {
  let fd: number | undefined
  let layer: LayerWriter | undefined
  return {
    push(chunk) {
      if (layer === undefined && fd === undefined) {
        if (chunk.length >= BLOCK && looksLikeTar(chunk)) layer = layerWriter({ kind: 'tar', path, index })
        else fd = openSync(path, 'wx', 0o600)
      }
      if (layer !== undefined) layer.push(chunk)
      else if (fd !== undefined) for (let at = 0; at < chunk.length; ) at += writeSync(fd, chunk, at)
    },
    close() {
      if (layer === undefined && fd === undefined) fd = openSync(path, 'wx', 0o600)
      if (fd !== undefined) closeSync(fd)
      const written = layer?.close()
      return written === undefined ? undefined : { diffId: written.diffId, tarBytes: written.tarBytes, bytes: written.bytes }
    },
    abort() {
      layer?.abort()
      if (fd !== undefined) closeSync(fd)
    },
  }
}

/** The sum of a first header says it, or that it is an archive of nothing. */
function looksLikeTar(chunk: Buffer): boolean {
  const block = chunk.subarray(0, BLOCK)
  return isEmptyBlock(block) || (block.toString('latin1', 257, 262) === 'ustar' && fieldNumber(block, 148, 8) === checkSum(block))
}

/** Reads it in this process. */
export const spoolHere: SpoolArchive = async (source, directory) => {
  const members: SpooledMember[] = []
  const links: (readonly [string, string])[] = []
  for await (const { entry, data } of readTar(await decompressed(source))) {
    const path = cleanPath(entry.path)
    if (path === undefined) continue
    if (members.length + links.length > MEMBER_LIMIT) throw new EngineError('invalid', `archive of more than ${MEMBER_LIMIT} members`)
    if (entry.type === 'link' || entry.type === 'hardlink') {
      const base = entry.type === 'link' && !entry.link.startsWith('/') ? path.slice(0, path.lastIndexOf('/') + 1) : ''
      links.push([path, cleanPath(base + entry.link) ?? ''])
    }
    if (entry.type !== 'file') continue
    const file = String(members.length)
    const sink = memberSink(`${directory}/${file}`, `${directory}/${file}.index`)
    try {
      for await (const chunk of data()) sink.push(chunk)
    } catch (error) {
      sink.abort()
      throw error
    }
    members.push({ path, file, bytes: entry.size, layer: sink.close() })
  }
  return { members, links }
}

/** The members by their names. */
interface Spool {
  find(path: string): (SpooledMember & { readonly full: string }) | undefined
  json(path: string): unknown
}

function openSpool({ members, links }: SpooledArchive, directory: string): Spool {
  const files = new Map(members.map((member) => [member.path, member]))
  const aliases = new Map(links)
  const find: Spool['find'] = (path) => {
    const clean = cleanPath(path) ?? ''
    const member = files.get(clean) ?? files.get(aliases.get(clean) ?? '')
    return member === undefined ? undefined : { ...member, full: `${directory}/${member.file}` }
  }
  return {
    find,
    json(path) {
      const member = find(path)
      if (member === undefined) return undefined
      if (member.bytes > JSON_LIMIT) throw new EngineError('invalid', `${path}: more than ${JSON_LIMIT} bytes`)
      try {
        return JSON.parse(readFileSync(member.full, 'utf8'))
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
  const configFile = files.find(wanted.config)
  if (configFile === undefined) throw new EngineError('invalid', `archive lacks ${wanted.config}`)
  if (configFile.bytes > JSON_LIMIT) throw new EngineError('invalid', `${wanted.config}: more than ${JSON_LIMIT} bytes`)
  const raw = readFileSync(configFile.full)
  const named = /^(?:blobs\/sha256\/)?([0-9a-f]{64})(?:\.json)?$/.exec(wanted.config)?.[1]
  if (named !== undefined && digestOf(raw) !== `sha256:${named}`) throw new EngineError('invalid', `${wanted.config}: content does not match its digest`)
  const config = parseImageConfig(raw)
  const diffIds = config.rootfs.diff_ids
  if (diffIds.length !== wanted.layers.length) throw new EngineError('invalid', `invalid manifest, layers length mismatch: expected ${diffIds.length}, got ${wanted.layers.length}`)
  const registered: string[] = []
  try {
    for (const [index, diffId] of diffIds.entries()) {
      const file = files.find(wanted.layers[index] ?? '')
      if (file === undefined) throw new EngineError('invalid', `archive lacks ${wanted.layers[index]}`)
      const layer = await layers.registerSpooled(file, registered.at(-1), diffId)
      registered.push(layer.chainId)
    }
  } catch (error) {
    for (const chainId of registered.reverse()) layers.release(chainId)
    throw error
  }
  // Each is held by the one above it from here on.
  for (const chainId of registered.slice(0, -1)) layers.release(chainId)
  return images.create(raw)
}

/** Reads an archive and keeps its images. Nothing is kept of one that is broken. */
export async function loadArchive(source: AsyncIterable<Uint8Array>, root: string, images: ImageStore, layers: LayerStore, spool: SpoolArchive = spoolHere): Promise<readonly LoadedImage[]> {
  const directory = `${root}/staging/${randomHex(8)}`
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  try {
    const files = openSpool(await spool(source, directory), directory)
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
