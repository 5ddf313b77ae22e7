import type { Graph, Image } from '@gantry/graph'
import type { ImageRunConfig } from '@gantry/std'
import type { BuildCache } from './cache.ts'
import type { BuildContext, ContextStore } from './context/store.ts'
import type { BuildPlatform } from './state.ts'

/** A directory or a file of somewhere else that a step sees while it runs. */
export type StepMount =
  /** Files of layers, which the step may write to as it likes; nothing of it stays. */
  | { readonly kind: 'layers'; readonly chainId: string | undefined; readonly path: string; readonly target: string; readonly readOnly: boolean }
  /** A directory that outlives the step. */
  | { readonly kind: 'directory'; readonly source: string; readonly target: string; readonly readOnly: boolean }
  | { readonly kind: 'tmpfs'; readonly target: string; readonly bytes: number | undefined }
  /** A file that is there while the step runs and is in no layer. */
  | { readonly kind: 'file'; readonly content: Buffer; readonly target: string; readonly mode: number; readonly uid: number; readonly gid: number }
  | { readonly kind: 'socket'; readonly source: string; readonly target: string }

/** Limits of a step, as the classic API has them (POST /build); 0 and empty: none. */
export interface StepResources {
  readonly memory: number
  readonly memorySwap: number
  readonly cpuShares: number
  readonly cpuPeriod: number
  readonly cpuQuota: number
  readonly cpusetCpus: string
  readonly cpusetMems: string
  readonly shmSize: number
  readonly cgroupParent: string
  readonly ulimits: readonly { readonly Name: string; readonly Soft: number; readonly Hard: number }[]
  readonly securityOpt: readonly string[]
}

/** A directory that builds keep things in (`RUN --mount=type=cache`). */
export interface CacheMountRequest {
  readonly id: string
  readonly sharing: 'shared' | 'private' | 'locked'
  readonly mode: number
  readonly uid: number
  readonly gid: number
  /** What it begins with. */
  readonly seed: BindSource | undefined
}

/** Files that a mount shows: layers, and a path in them. `key`: what stands for what they hold. */
export interface BindSource {
  readonly chainId: string | undefined
  readonly path: string
  readonly key: string
}

/** What a `RUN` runs, and in what. */
export interface StepRun {
  readonly chainId: string | undefined
  /** As the image stands: its user, its directory. */
  readonly config: ImageRunConfig
  readonly argv: readonly string[]
  readonly env: readonly string[]
  /** `default`, `none`, `host`, or the name of a network. */
  readonly network: string
  readonly insecure: boolean
  readonly mounts: readonly StepMount[]
  /** `NAME:ADDRESS` */
  readonly hosts: readonly string[]
  readonly resources: StepResources
  output(stream: 'stdout' | 'stderr', chunk: Buffer): void
  readonly signal: AbortSignal
}

/** What became of it: its exit code, and its changes as a layer above (the caller has a reference) where it ended well. */
export type StepResult = { readonly code: number; readonly layer?: { readonly chainId: string; readonly diffId: string; readonly bytes: number }; readonly error?: string }

/** What a build needs of the rest of the house. */
export interface BuildPorts {
  readonly graph: Graph
  readonly contexts: ContextStore
  readonly cache: BuildCache
  /** The platform of this machine. */
  readonly host: BuildPlatform
  /** True where programs of a platform run on this machine, by themselves or emulated. */
  runs(platform: BuildPlatform): boolean
  /** An image by its name, pulled where it is not there or `pull` is set. */
  image(name: string, platform: string, options: { readonly pull: boolean; readonly signal: AbortSignal }): Promise<Image>
  run(step: StepRun): Promise<StepResult>
  /** Files of layers as a tar stream: `path` and what is below it; members are named after its last part. Without hard links each name has its content. */
  readFiles<T>(chainId: string | undefined, path: string, options: { readonly hardlinks: boolean }, use: (tar: AsyncIterable<Buffer>) => Promise<T>): Promise<T>
  cacheDirectory(request: CacheMountRequest, signal: AbortSignal): Promise<{ readonly path: string; readonly release: () => void }>
  /** True for sources that git fetches. */
  isGit(source: string): boolean
  /** The files of a repository (`URL[#REF[:DIRECTORY]]`). */
  gitContext(source: string, options: { readonly keepGitDirectory: boolean; readonly signal: AbortSignal }): Promise<BuildContext>
  /** A file from an URL. */
  download(url: string, signal: AbortSignal): Promise<{ readonly body: AsyncIterable<Uint8Array>; readonly bytes: number; readonly lastModified: number | undefined; readonly name: string }>
}
