import type { Image } from '@gantry/graph'
import type { BuildContext } from './context/store.ts'
import type { RemoteCache } from './remote-cache.ts'
import type { StepResources } from './ports.ts'
import type { BuildPlatform } from './state.ts'

/** A context that has a name: another name of an image (`docker-image://…`), files, what another build came to. */
export type NamedContext = string | (() => Promise<BuildContext>) | Pick<Image, 'config' | 'chainId'>
export type NamedContexts = ReadonlyMap<string, NamedContext>

/** The context of a name; `latest` may be said or not. */
export function contextNamed(contexts: NamedContexts, name: string): NamedContext | undefined {
  return contexts.get(name) ?? contexts.get(name.replace(/:latest$/, ''))
}

/** True where the arguments ask that what the cache knows goes into the image. */
export const wantsInlineCache = (buildArgs: ReadonlyMap<string, string>): boolean => /^(1|true)$/.test(buildArgs.get('BUILDKIT_INLINE_CACHE') ?? '')

/** Who may use a socket. */
export interface SocketAccess {
  readonly mode: number
  readonly uid: number
  readonly gid: number
}

/** What a caller asks of a build. */
export interface BuildOptions {
  /** Files that are copied from where nothing else is named: at least those at `paths` (undefined: all). Asked for when a step needs them; undefined: there are none. */
  context(paths: readonly string[] | undefined): Promise<BuildContext | undefined>
  /** Further contexts: files, or other names of images (`docker-image://…`). */
  readonly contexts: NamedContexts
  /** The Dockerfile, and how it is called in errors. */
  readonly dockerfile: { readonly name: string; readonly bytes: Buffer }
  /** Stage; empty: the last. */
  readonly target: string
  readonly buildArgs: ReadonlyMap<string, string>
  readonly labels: Readonly<Record<string, string>>
  readonly platform: BuildPlatform
  /** What bases are asked for; empty: whatever is there. */
  readonly askedPlatform: string
  readonly noCache: boolean
  /** Stages that are built anew, by their names. */
  readonly noCacheStages: ReadonlySet<string>
  /** What steps came to elsewhere; undefined: nobody has told. */
  readonly remoteCache: RemoteCache | undefined
  /** What the cache knows of the image's own steps goes into its configuration. */
  readonly inlineCache: boolean
  /** Bases are asked for anew. */
  readonly pull: boolean
  /** Network of `RUN`s that do not say: `default`, `none`, `host`, the name of a network. */
  readonly network: string
  /** `NAME:ADDRESS` */
  readonly hosts: readonly string[]
  readonly resources: StepResources
  /** Rights beyond those of any build: `network.host`, `security.insecure`. */
  readonly entitlements: ReadonlySet<string>
  /** Value of a secret; undefined where there is none. */
  secret(id: string): Promise<Buffer | undefined>
  /** Socket of an agent for keys, for whoever may use it; undefined where there is none. */
  ssh(id: string, access: SocketAccess): Promise<string | undefined>
  readonly signal: AbortSignal
}
