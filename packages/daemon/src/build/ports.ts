import type { BuildCache, ContextStore, StepResult, StepRun } from '@gantry/builder'
import type { Graph } from '@gantry/graph'
import type { Trees } from '@gantry/runtime'
import type { ImagePorts } from '../images/images.ts'
import type { PullPorts } from '../images/pull.ts'
import type { PushPorts } from '../images/push.ts'
import type { CacheMounts } from './cache-mounts.ts'
import type { GcRule } from './gc.ts'

/** What builds stand on. */
export interface BuildHandlerPorts {
  readonly graph: Graph
  readonly trees: Trees
  readonly execRoot: string
  readonly contexts: ContextStore
  readonly cache: BuildCache
  readonly mounts: CacheMounts
  readonly images: ImagePorts & { readonly pull: PullPorts; readonly push: PushPorts }
  run(step: StepRun): Promise<StepResult>
  /** The address that steps know as `host-gateway`. */
  hostGateway(): string
  readonly version: string
  /** Rights beyond those of any build that may be asked for. */
  readonly entitlements: ReadonlySet<string>
  /** What of the cache goes by itself; undefined: nothing. */
  readonly gc: readonly GcRule[] | undefined
}
