import type { BuildResult } from '@gantry/builder'
import type { ClientSession } from '@gantry/buildkit'
import type { BuildHandlerPorts } from '../ports.ts'
import type { CacheRequest } from './cache-exchange.ts'
import type { StatusLog } from './status-log.ts'

/** What the front end works with: one client, one build. */
export interface FrontendContext {
  readonly ports: BuildHandlerPorts
  readonly session: ClientSession
  readonly log: StatusLog
  readonly entitlements: readonly string[]
  readonly signal: AbortSignal
  /** Where other builds have left what their steps came to. */
  readonly cacheImports: readonly CacheRequest[]
  /** What the steps came to goes into the image. */
  readonly inlineCache: boolean
  /** What other builds came to, by the names that this one gives them. */
  readonly inputs: ReadonlyMap<string, BuildResult>
}
