import type { BuildContext, BuildResult } from '@gantry/builder'
import type { OutputRequest } from '../export/context.ts'
import type { ClientContext } from './client-context.ts'

/** What the front end works with: one client, one build. */
export interface FrontendContext extends ClientContext {
  readonly entitlements: readonly string[]
  /** Where other builds have left what their steps came to. */
  readonly cacheImports: readonly OutputRequest[]
  /** What the steps came to goes into the image. */
  readonly inlineCache: boolean
  /** What other builds came to, by the names that this one gives them. */
  readonly inputs: ReadonlyMap<string, BuildResult>
  /** An archive that came beside the build, by its name (`gantry-upload://NAME`). */
  uploaded(name: string, signal: AbortSignal): Promise<BuildContext>
}
