import type { BuildContext } from './context/store.ts'
import type { StepResources } from './ports.ts'
import type { BuildPlatform } from './state.ts'

/** What a caller asks of a build. */
export interface BuildOptions {
  /** Files that are copied from where nothing else is named; undefined: there are none. */
  readonly context: BuildContext | undefined
  /** Further contexts: files, or other names of images (`docker-image://…`). */
  readonly contexts: ReadonlyMap<string, BuildContext | string>
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
  /** Socket of an agent for keys; undefined where there is none. */
  ssh(id: string): Promise<string | undefined>
  readonly signal: AbortSignal
}
