import type { Composition, LayerSource, LayerTarget, SpooledArchive, WrittenLayer } from '@gantry/graph'
import type { Credentials, LayerCompression, RegistryEndpoint } from '@gantry/registry'

/** Where content comes from or goes to, and who asks. */
export interface RemotePlace {
  readonly endpoint: RegistryEndpoint
  readonly credentials: Credentials
  /** Path in the registry. */
  readonly name: string
}

/** A layer's blob, and where its content goes. */
export interface FetchLayer {
  readonly remote: RemotePlace
  readonly digest: string
  /** Bytes of the blob. */
  readonly size: number
  /** What has come so far is kept here, so that another try goes on from it. */
  readonly part: string
  readonly target: LayerTarget
  /** Digest that the archive has to have. */
  readonly diffId: string
}

/** A layer as it stands on disk. */
export interface WrittenAnswer {
  readonly diffId: string
  readonly tarBytes: number
  readonly bytes: number
  /** Base64; see `WrittenLayer.rest`. */
  readonly rest: string | undefined
}

/** For the way to the other process. */
export function toAnswer(written: WrittenLayer): WrittenAnswer {
  return { ...written, rest: written.rest?.toString('base64') }
}

/** And back. */
export function fromAnswer(answer: WrittenAnswer): WrittenLayer {
  return { ...answer, rest: answer.rest === undefined ? undefined : Buffer.from(answer.rest, 'base64') }
}

/** How layers are packed on their way out. */
export interface Packing {
  readonly compression: LayerCompression
  /** As gzip (0 to 9) and zstd (1 to 22) have them; undefined: whatever is fast. */
  readonly level: number | undefined
}

/** A layer to be packed into a file. */
export interface PackLayer {
  readonly source: LayerSource
  /** Of the archive. */
  readonly bytes: number
  readonly packing: Packing
  readonly path: string
}

/** A layer to be sent. */
export interface PushLayer extends Omit<PackLayer, 'path'> {
  readonly remote: RemotePlace
}

export type { LayerSource } from '@gantry/graph'

/** A directory whose bytes are counted in groups. */
export interface UsageRequest {
  readonly root: string
  /** The group of everything at and below a path, by path; what is in none counts as `rest`. */
  readonly groups: Readonly<Record<string, string>>
  readonly rest: string
}

/** What a layer came to when it was packed. */
export interface PackedBlob {
  readonly digest: string
  readonly size: number
}

/** What the image process can do. */
export interface ImageOps {
  'fetch-layer': { readonly input: FetchLayer; readonly output: WrittenAnswer }
  /** The archive, compressed or not, follows the request. */
  unpack: { readonly input: { readonly target: LayerTarget; readonly diffId: string | undefined }; readonly output: WrittenAnswer }
  /** The archive of images follows; its members go into a folder. */
  spool: { readonly input: { readonly directory: string }; readonly output: SpooledArchive }
  /** Computes what an image's mount needs and puts it into place. */
  compose: { readonly input: Composition; readonly output: null }
  /** Disk usage as du(1) counts it: blocks, each file once whatever its names. */
  usage: { readonly input: UsageRequest; readonly output: Readonly<Record<string, number>> }
  'push-layer': { readonly input: PushLayer; readonly output: PackedBlob }
  'pack-layer': { readonly input: PackLayer; readonly output: PackedBlob }
}

export type ImageOp = keyof ImageOps

/** One step of an op: bytes done, of how many. */
export interface OpProgress {
  readonly step: 'download' | 'resume' | 'verify' | 'extract' | 'push'
  readonly current: number
  readonly total: number
}

/** A line that comes back. Progress lines as they come, then one of the others. */
export type Reply =
  | { readonly kind: 'progress'; readonly progress: OpProgress }
  | { readonly kind: 'result'; readonly output: unknown }
  | { readonly kind: 'error'; readonly error: string; readonly errorKind: string }
