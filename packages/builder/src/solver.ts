import type { Layer } from '@gantry/graph'
import type { ImageHistory } from '@gantry/std'
import type { BuildContext } from './context/store.ts'
import type { Dockerfile } from './dockerfile/instructions.ts'
import type { Source } from './dockerfile/source.ts'
import type { BuildOptions } from './options.ts'
import type { BuildPorts } from './ports.ts'
import type { BuildReport } from './report.ts'
import type { BuildPlan } from './stages.ts'
import type { StageState } from './state.ts'

/** What a step came to. */
export interface StepOutcome {
  readonly layer: Pick<Layer, 'chainId' | 'diffId' | 'bytes'> | undefined
  readonly cached: boolean
  readonly createdBy: string
  /** Milliseconds since 1970. */
  readonly createdAt: number
}

/** What steps share: one build. */
export interface Solver {
  readonly ports: BuildPorts
  readonly options: BuildOptions
  readonly source: Source
  readonly file: Dockerfile
  readonly plan: BuildPlan
  readonly report: BuildReport
  /** Seconds since 1970 that no time in the result is later than; undefined: none is asked for. */
  readonly epoch: number | undefined
  readonly now: number
  /** Keeps a layer until the build is over, whatever is pruned meanwhile. */
  hold(chainId: string): void
  /** Files that come with the build; undefined: there are none. */
  context(): Promise<BuildContext | undefined>
  /** The state of another stage, built by now. */
  stage(index: number): Promise<StageState>
  /** What a `--from` names: a stage, an image, a context. */
  from(name: string, own: number): Promise<{ readonly chainId: string | undefined } | { readonly context: BuildContext }>
  /** The same for steps that are carried out whatever was there before. */
  anew(): Solver
  /** A key's layer, made where it is not there. The record keeps it. */
  cached(key: string, info: { readonly kind: string; readonly description: string }, make: () => Promise<Pick<Layer, 'chainId' | 'diffId' | 'bytes'>>): Promise<{ readonly layer: Pick<Layer, 'chainId' | 'diffId' | 'bytes'>; readonly cached: boolean; readonly createdAt: number }>
}

/** Format of the history, as other tools know it. */
export const COMMENT = 'buildkit.dockerfile.v0'

/** A stage after one more step. */
export interface Applied {
  readonly state: StageState
  readonly cached: boolean
  readonly id: string
}

/** A time of the result: never later than what is asked for. */
export const stamp = (solver: Solver, ms: number): string => new Date(solver.epoch === undefined ? ms : Math.min(ms, solver.epoch * 1000)).toISOString()

/** What the history says of a step without a layer. */
export function emptyStep(solver: Solver, createdBy: string): ImageHistory {
  return { created: stamp(solver, Date.now()), created_by: createdBy, comment: COMMENT, empty_layer: true }
}
