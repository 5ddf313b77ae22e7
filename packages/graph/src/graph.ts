import { mkdirSync, readdirSync, rmSync, statSync } from 'node:fs'
import { createDiscarder, type Database, type Discarder, EngineError, type ImageRunConfig, logger } from '@gantry/std'
import type { Trees } from '@gantry/linux'
import { fileChunks } from './apply/file-chunks.ts'
import { type LoadedImage, loadArchive, type SpoolArchive } from './archive-load.ts'
import { plainForm, type SavedImage, saveArchive, type SaveForm } from './archive-save.ts'
import { type Change, comparedChanges, overlayChanges, treeBytes } from './changes.ts'
import { decompressed } from './compression.ts'
import { type ContentStore, openContent } from './content.ts'
import type { Composition, GraphDriver, LayerPlace } from './driver.ts'
import { makeDriver } from './drivers/table.ts'
import { type GraphDb, openGraphDb } from './graphdb.ts'
import { type Image, type ImageStore, openImages } from './images.ts'
import { type LayeredFs, layeredFs } from './layered-fs.ts'
import { type Layer, type LayerStore, openLayers, type WriteLayer } from './layers.ts'
import { openQuotas } from './quotas.ts'
import { treeToTar } from './tar-stream.ts'
import { openTags, type TagStore } from './tags.ts'

const log = logger('graph')

/** Images, layers, names, and the file systems of containers. */
export interface Graph extends AsyncDisposable {
  readonly driver: GraphDriver
  readonly images: ImageStore
  readonly layers: LayerStore
  readonly tags: TagStore
  readonly content: ContentStore
  readonly names: GraphDb
  /** Layers of an image, topmost first, as the driver knows them. */
  places(image: Image | undefined): readonly LayerPlace[]
  /** Looks into an image, or into a container's files. */
  look(containerId: string | undefined, image: Image | undefined): LayeredFs
  /** Makes what a container writes into; `bytes` bounds it where the file system can. */
  createContainer(id: string, image: Image, bytes: number | undefined): Promise<void>
  removeContainer(id: string): void
  /** Bounds the bytes of an empty directory beside the graph, where its file system can. */
  limitDirectory(id: string, path: string, bytes: number): Promise<void>
  /** The limit goes with a directory that has another id now. */
  moveLimit(from: string, to: string): void
  releaseLimit(id: string): void
  changes(containerId: string, image: Image | undefined): Promise<readonly Change[]>
  /** The container's changes as a layer's tar stream, without paths that are left out. */
  readChanges<T>(containerId: string, image: Image | undefined, use: (tar: AsyncIterable<Buffer>) => Promise<T>, leaveOut?: (path: string) => boolean): Promise<T>
  /** Bytes of files that the container has written or changed. */
  changedBytes(containerId: string, image: Image | undefined): Promise<number>
  /** Layers as an image for as long as it is held; see `ImageStore.lend`. */
  lendImage(chainId: string | undefined, config?: ImageRunConfig): Image & Disposable
  /** What has to be computed before the image can be mounted; undefined when it is there. */
  composition(image: Image): Composition | undefined
  /** Bytes of the files in a directory. */
  bytesIn(path: string): Promise<number>
  load(source: AsyncIterable<Uint8Array>): Promise<readonly LoadedImage[]>
  /** Layers as plain archives, where no other form is given. */
  save(images: readonly SavedImage[], form?: SaveForm): AsyncGenerator<Buffer>
  /** A plain or compressed tar stream as a layer of its own. A small one is written in this process. */
  importLayer(source: AsyncIterable<Uint8Array>, parent: string | undefined, options?: { readonly small: boolean }): Promise<Layer>
  /** A layer from an archive on disk; nothing refers to it yet. */
  registerFile(path: string, parent: string | undefined, diffId: string): Promise<void>
  discard(path: string): void
  /** All or nothing of what work does to images, layers and tags; on the disk when it returns. */
  transaction<T>(work: () => T): T
  /** Where downloads lie that are not complete. */
  readonly staging: string
  /** Removes what no record names. */
  sweep(containerIds: ReadonlySet<string>): void
}

/** What the graph stands on. */
export interface GraphOptions {
  readonly root: string
  readonly db: Database
  readonly trees: Trees
  readonly driver: string
  /** Writes layers; in this process where nothing is given. */
  readonly write?: WriteLayer
  /** Reads archives of images into a folder; in this process where nothing is given. */
  readonly spool?: SpoolArchive
}

/** Days that a download waits for somebody to go on with it. */
const PART_LIFE_MS = 24 * 3600 * 1000

/** Downloads that broke off (`*.part`) are kept for a while; the rest belonged to work that is over. */
function sweepStaging(staging: string): void {
  mkdirSync(staging, { recursive: true, mode: 0o700 })
  for (const name of readdirSync(staging)) {
    const path = `${staging}/${name}`
    if (!name.endsWith('.part') || statSync(path).mtimeMs < Date.now() - PART_LIFE_MS) rmSync(path, { recursive: true, force: true })
  }
}

/** Opens the graph; an unknown driver is an error that names those that are there. */
export function openGraph({ root, db, trees, driver: driverName, write, spool }: GraphOptions): Graph {
  mkdirSync(root, { recursive: true, mode: 0o710 })
  const staging = `${root}/staging`
  sweepStaging(staging)
  const trash = createDiscarder({ directory: `${root}/trash`, remove: (heap, name) => trees.remove(heap, name), onError: (name, cause) => log.warn('cannot remove', { name, cause }) })
  const driver = makeDriver(driverName, root, trash, trees)
  const layers = openLayers(db, root, driver, trees, write)
  const images = openImages(db, layers)
  const places = (image: Image | undefined): readonly LayerPlace[] => (image === undefined ? [] : images.layers(image).map((layer) => layer.place))
  const treeOf = (id: string | undefined, image: Image | undefined): string => {
    const path = driver.tree?.(id, places(image))
    if (path === undefined) throw new EngineError('internal', `${driver.name} keeps no whole trees`)
    return path
  }
  const changes = (containerId: string, image: Image | undefined): Promise<readonly Change[]> => {
    const upper = driver.changes(containerId)
    const [, ...below] = driver.views(containerId, places(image))
    return upper === undefined ? comparedChanges(trees, image === undefined ? undefined : treeOf(undefined, image), treeOf(containerId, image)) : overlayChanges(trees, upper, below)
  }
  const quotas = openQuotas(db, root)
  return {
    driver,
    images,
    createContainer: (id, image, bytes) => driver.createContainer(id, places(image), bytes === undefined ? undefined : { bytes, project: quotas.take(id) }),
    limitDirectory: (id, path, bytes) => trees.limit(path, { kind: 'project', project: quotas.take(id), bytes }),
    moveLimit: (from, to) => quotas.move(from, to),
    releaseLimit: (id) => quotas.release(id),
    removeContainer(id) {
      driver.remove(id)
      quotas.release(id)
    },
    layers,
    tags: openTags(db),
    content: openContent(db),
    transaction: (work) => db.transaction(work, { durable: true }),
    staging,
    names: openGraphDb(db),
    places,
    look: (containerId, image) => layeredFs(driver.views(containerId, places(image))),
    changes,
    async readChanges(containerId, image, use, leaveOut = () => false) {
      const upper = driver.changes(containerId)
      if (upper !== undefined) {
        return trees.read({ kind: 'directory', path: upper }, '/', { data: true, oneFilesystem: false }, (reader) => use(treeToTar(reader, { whiteouts: true, rename: (path) => (path === '.' || leaveOut(path) ? undefined : path) })))
      }
      const all = await changes(containerId, image)
      const changed = new Set(all.filter((change) => change.kind !== 2).map((change) => change.path.slice(1)))
      const removed = all.filter((change) => change.kind === 2).map((change) => Buffer.from(change.path.slice(1), 'utf8').toString('latin1'))
      return trees.read({ kind: 'directory', path: treeOf(containerId, image) }, '/', { data: true, oneFilesystem: false }, (reader) =>
        use(treeToTar(reader, { whiteouts: false, removed, rename: (path) => (changed.has(Buffer.from(path, 'latin1').toString('utf8')) && !leaveOut(path) ? path : undefined) })),
      )
    },
    async changedBytes(containerId, image) {
      const upper = driver.changes(containerId)
      if (upper !== undefined) return treeBytes(trees, upper)
      return (await treeBytes(trees, treeOf(containerId, image))) - (image === undefined ? 0 : await treeBytes(trees, treeOf(undefined, image)))
    },
    lendImage: (chainId, config = {}) => images.lend(config, chainId),
    composition: (image) => driver.composition?.(places(image)),
    bytesIn: (path) => treeBytes(trees, path),
    load: (source) => loadArchive(source, root, images, layers, spool),
    save: (saved, form = plainForm(layers)) => saveArchive(saved, images, form),
    importLayer: async (source, parent, options) => layers.register(options?.small === true ? await decompressed(source) : source, parent, undefined, options),
    async registerFile(path, parent, diffId) {
      const layer = await layers.register(fileChunks(path), parent, diffId)
      layers.loosen(layer.chainId)
    },
    discard: (path) => trash.discard(path),
    sweep(containerIds) {
      const known = layers.sweep()
      quotas.sweep(containerIds)
      for (const id of driver.list()) {
        if (known.has(id) || containerIds.has(id)) continue
        log.warn('removing files that no record names', { id })
        driver.remove(id)
      }
    },
    [Symbol.asyncDispose]: () => trash.empty(),
  }
}
