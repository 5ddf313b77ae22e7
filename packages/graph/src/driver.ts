/** A root file system as a recipe; only the helper, inside a mount namespace, carries it out. */
export interface RootRecipe {
  readonly type: 'overlay' | 'bind'
  readonly source: string
  readonly data: string
  readonly directory: string
}

/** Where a layer's files are, and how the driver finds it. */
export interface LayerPlace {
  readonly cacheId: string
  /** Short name for mount options, which the kernel limits to a page. */
  readonly link: string
}

/** Where layers live on disk. */
export interface GraphDriver {
  readonly name: 'overlay2' | 'vfs'
  /** What `info` shows of it. */
  status(): readonly (readonly [string, string])[]
  /** A layer is a whole tree with its parent's files in it, so that layers have to be made in their order. */
  readonly stacked: boolean
  /** Prepares a layer above its parent. Gives the directory that is filled: empty, or where layers are stacked a copy of the parent. */
  create(place: LayerPlace, parents: readonly LayerPlace[]): Promise<{ readonly path: string; readonly stacked: boolean }>
  /** Prepares the read-write layer of a container; topmost parent first. */
  createContainer(id: string, parents: readonly LayerPlace[]): Promise<void>
  /** How the container's root is mounted. */
  recipe(id: string, parents: readonly LayerPlace[], options: { readonly volatile: boolean }): RootRecipe
  /** Lets the root be mounted once more after it was mounted as volatile, which the kernel refuses by itself. */
  mountAgain(id: string): void
  /** A read-only root of these layers, for looking into an image. */
  imageRecipe(parents: readonly LayerPlace[]): RootRecipe
  /** Directories whose union is the root, topmost first; the container's own first. */
  directories(id: string | undefined, parents: readonly LayerPlace[]): readonly string[]
  /** The directory with just the container's changes; undefined where the driver has to compare. */
  changes(id: string): string | undefined
  /** Directory of a layer's own files, for reading them back. */
  layerDirectory(place: LayerPlace): string
  /** Out of sight at once; the files go later. */
  remove(id: string): void
  exists(id: string): boolean
  /** Ids of everything that the driver keeps. */
  list(): readonly string[]
  /** `GraphDriver.Data` of inspect. */
  describe(id: string, parents: readonly LayerPlace[]): Readonly<Record<string, string>>
}
