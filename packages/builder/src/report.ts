/** A step of a build, as people see it. */
export interface StepInfo {
  /** From 1, over all stages that are built. */
  readonly number: number
  readonly total: number
  /** `2/5`, `build 2/5`. */
  readonly stage: string
  /** The same among the steps that may change files (`build 2/3`); undefined: this one changes none. */
  readonly shown: string | undefined
  /** Numbers of the steps that have to be done before it. */
  readonly needs: readonly number[]
  /** The instruction as it is written, its variables replaced where that is known. */
  readonly name: string
}

/** Hears what becomes of a step. */
export interface StepReport {
  output(stream: 'stdout' | 'stderr', chunk: Buffer): void
  note(text: string): void
  /** `cached`: nothing had to be done. `id`: what stands for the result. */
  done(result: { readonly cached: boolean; readonly id: string }): void
  failed(message: string): void
}

/** Hears of a build. */
export interface BuildReport {
  begin(step: StepInfo): StepReport
  warn(message: string): void
}
