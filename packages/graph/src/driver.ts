import type { LayerTarget } from './apply/layer-writer.ts'
import type { LayerSource } from './apply/skeleton-tar.ts'
import type { LayerView } from './layered-fs.ts'

/** A root file system as a recipe; only the helper, inside a mount namespace, carries it out. */
export interface RootRecipe {
  /** Mounted first, for the root to stand on; in a mount namespace of whoever mounts it. `target` is below `directory`. */
  readonly lower?: { readonly type: 'erofs'; readonly source: string; readonly data: string; readonly target: string }
  readonly type: 'overlay' | 'bind'
  readonly source: string
  readonly data: string
  readonly directory: string
}

/** Metadata of an image that are made of its layers' indexes, topmost first. */
export interface Composition {
  readonly indexes: readonly string[]
  readonly to: string
}

/** Where a layer's files are, and how the driver finds it. */
export interface LayerPlace {
  readonly cacheId: string
  /** Short name for mount options, which the kernel limits to a page. */
  readonly link: string
}

/** Bytes that a container may write; `project` is a number that no other container has. */
export interface SizeLimit {
  readonly bytes: number
  readonly project: number
}

/** Where layers live on disk. */
export interface GraphDriver {
  readonly name: string
  /** What `info` shows of it. */
  status(): readonly (readonly [string, string])[]
  /** A layer is a whole tree with its parent's files in it, so that layers have to be made in their order. */
  readonly stacked: boolean
  /** A layer is its archive with an index, as `layerWriter` makes them: one that is there already can be taken over. */
  readonly archives: boolean
  /** Prepares a layer above its parent. Gives where its content goes: a place that is empty, or where layers are stacked a copy of the parent. */
  create(place: LayerPlace, parents: readonly LayerPlace[], skeleton: string): Promise<LayerTarget | { readonly kind: 'tree'; readonly path: string }>
  /** What has to be computed before a root of these layers can be mounted; undefined when it is there. Where nobody does it ahead, the driver does. */
  composition?(parents: readonly LayerPlace[]): Composition | undefined
  /** Prepares the read-write layer of a container; topmost parent first. A limit that the file system cannot keep is an error, and nothing is left. */
  createContainer(id: string, parents: readonly LayerPlace[], limit?: SizeLimit): Promise<void>
  /** How the container's root is mounted; `bare`: without what every container finds in place (`/dev`, `/etc/hosts` …). */
  recipe(id: string, parents: readonly LayerPlace[], options: { readonly volatile: boolean; readonly bare?: boolean }): RootRecipe
  /** Lets the root be mounted once more after it was mounted as volatile, which the kernel refuses by itself. */
  mountAgain(id: string): void
  /** A read-only root of these layers, for looking into an image. */
  imageRecipe(parents: readonly LayerPlace[]): RootRecipe
  /** Layers whose union is the root, topmost first; the container's own first. */
  views(id: string | undefined, parents: readonly LayerPlace[]): readonly LayerView[]
  /** The directory with just the container's changes; undefined where the driver has to compare. */
  changes(id: string): string | undefined
  /** Where layers are stacked: the whole tree of a container or, without one, of an image. */
  tree?(id: string | undefined, parents: readonly LayerPlace[]): string
  /** Where a layer's archive is read from. */
  source(place: LayerPlace, skeleton: string, tarBytes: number): LayerSource
  /** Out of sight at once; the files go later. */
  remove(id: string): void
  exists(id: string): boolean
  /** The directory with all that is kept for an id. */
  pathOf(id: string): string
  /** Ids of everything that the driver keeps. */
  list(): readonly string[]
  /** `GraphDriver.Data` of an image; topmost layer first. */
  describeImage(parents: readonly LayerPlace[]): Readonly<Record<string, string>>
  /** `GraphDriver.Data` of a container. */
  describe(id: string, parents: readonly LayerPlace[]): Readonly<Record<string, string>>
}
