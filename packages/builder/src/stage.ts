import { EngineError, type ImageHistory, messageOf } from '@gantry/std'
import type { Instruction } from './dockerfile/instructions.ts'
import { contextNamed } from './options.ts'
import { readTrigger } from './dockerfile/parse.ts'
import { DockerfileError } from './dockerfile/source.ts'
import type { StepReport } from './report.ts'
import { type Applied, COMMENT, emptyStep, type Solver, stamp, type StepOutcome } from './solver.ts'
import { fromsOf, stageOfFrom } from './stages.ts'
import { emptyState, expanderOf, lookupOf, type StageState, stateOf } from './state.ts'
import { declareArgs } from './steps/arg.ts'
import { applyMetadata, workdirOf } from './steps/metadata.ts'
import { layerStep, makeWorkdir } from './steps/layers.ts'

/** Text of an instruction on one line, as people see it. */
function nameOf(instruction: { readonly line: Instruction['line'] }): string {
  const { line } = instruction
  return `${line.keyword} ${line.text.replace(/\s+/g, ' ')}`.trim()
}

/** Steps of a stage that may change files, the base before them, as `2/3`; undefined: it changes none. */
function shownSteps(instructions: readonly Instruction[]): readonly (string | undefined)[] {
  const changing = [true, ...instructions.map(({ kind }) => kind === 'RUN' || kind === 'COPY' || kind === 'ADD' || kind === 'WORKDIR')]
  const total = changing.filter(Boolean).length
  let nth = 0
  return changing.map((one) => (one ? `${++nth}/${total}` : undefined))
}

/** Where a stage's steps stand among all, and images that stages share. */
export interface Numbers {
  readonly total: number
  readonly first: number
  /** Number of a stage's last step. */
  lastOf(index: number): number
  imageState(name: string, platform: string): Promise<StageState>
}

async function baseOf(solver: Solver, index: number, numbers: Numbers): Promise<StageState> {
  const planned = solver.plan.stages.get(index)
  const base = planned?.base
  const platform = planned?.platform ?? ''
  if (base === undefined || base.kind === 'scratch') return emptyState(solver.options.platform)
  // Its arguments come along.
  if (base.kind === 'stage') return { ...(await solver.stage(base.index)), commandSet: false }
  const context = contextNamed(solver.options.contexts, base.name)
  if (typeof context === 'object') {
    if (context.chainId !== undefined) solver.hold(context.chainId)
    return stateOf(context)
  }
  if (typeof context === 'function') throw new EngineError('unsupported', `the context ${base.name} is no image: a stage cannot stand on it`)
  return numbers.imageState(typeof context === 'string' ? context.replace(/^docker-image:\/\//, '') : base.name, platform === '' ? solver.options.askedPlatform : platform)
}

/** Builds a stage, one instruction after the other. */
export async function buildStage(all: Solver, index: number, numbers: Numbers): Promise<StageState> {
  const planned = all.plan.stages.get(index)
  if (planned === undefined) throw new EngineError('internal', `stage ${index} is not planned`)
  const { stage } = planned
  const solver = all.options.noCacheStages.has(stage.name) ? all.anew() : all
  const called = stage.name === '' ? `stage-${index}` : stage.name
  const many = solver.plan.stages.size > 1
  const count = 1 + stage.instructions.length
  const prefix = many ? `${called} ` : ''
  const shown = shownSteps(stage.instructions).map((place) => (place === undefined ? undefined : `${prefix}${place}`))
  const step = (number: number, name: string, others: readonly number[]): StepReport =>
    solver.report.begin({ number: numbers.first + number, total: numbers.total, stage: `${prefix}${number + 1}/${count}`, shown: shown[number], name, needs: [...(number === 0 ? [] : [numbers.first + number - 1]), ...others.map(numbers.lastOf)] })
  const first = step(0, nameOf(stage), planned.base.kind === 'stage' ? [planned.base.index] : [])
  let state: StageState
  try {
    state = await baseOf(solver, index, numbers)
  } catch (error) {
    throw placed(solver, stage, error, first)
  }
  first.done({ cached: false, id: state.chainId ?? 'sha256:scratch' })
  const triggers = (state.config.OnBuild ?? []).map((text) => readTrigger(text, '\\'))
  if (triggers.length > 0) state = { ...state, config: { ...state.config, OnBuild: null } }
  // What the base asks for (`ONBUILD`) comes first.
  for (const [at, { instruction, source }] of [...triggers, ...stage.instructions.map((one) => ({ instruction: one, source: solver.source }))].entries()) {
    solver.options.signal.throwIfAborted()
    const others = fromsOf(instruction).flatMap((from) => stageOfFrom(solver.file.stages, from, index) ?? [])
    const report = step(Math.max(1, at + 1 - triggers.length), nameOf(instruction), others)
    // What a base asks for is in nobody's list.
    const here = source === solver.source ? solver : { ...solver, source, context: () => solver.options.context(undefined) }
    try {
      const next = await applyInstruction(here, index, state, instruction, report)
      report.done({ cached: next.cached, id: next.id })
      state = next.state
    } catch (error) {
      throw placed(here, instruction, error, report)
    }
  }
  return state
}

/** An error with the place of the instruction that it belongs to. */
function placed(solver: Solver, where: { readonly line: Instruction['line'] }, error: unknown, report: StepReport): unknown {
  report.failed(messageOf(error).split('\n', 1)[0] ?? '')
  if (error instanceof DockerfileError || !(error instanceof EngineError) || solver.options.signal.aborted) return error
  const place = where.line.place(-1)
  return place.line > solver.source.lines.length ? error : Object.assign(new DockerfileError(solver.source, place, error.message, { parsing: false, cause: error, summary: (error as { readonly summary?: string }).summary ?? error.message }), { kind: error.kind, exitCode: (error as { readonly exitCode?: unknown }).exitCode })
}

function above(solver: Solver, state: StageState, outcome: StepOutcome): Applied {
  const { layer, createdBy } = outcome
  if (layer === undefined) return { state: { ...state, history: [...state.history, emptyStep(solver, createdBy)] }, cached: outcome.cached, id: state.chainId ?? '' }
  const step: ImageHistory = { created: stamp(solver, outcome.createdAt), created_by: createdBy, comment: COMMENT }
  return { state: { ...state, chainId: layer.chainId, diffIds: [...state.diffIds, layer.diffId], history: [...state.history, step] }, cached: outcome.cached, id: layer.chainId }
}

async function applyInstruction(solver: Solver, index: number, state: StageState, instruction: Instruction, report: StepReport): Promise<Applied> {
  const expand = expanderOf(solver.source, solver.file.escape, instruction, lookupOf(state))
  switch (instruction.kind) {
    case 'ARG':
      return declareArgs(solver, state, instruction)
    case 'RUN':
    case 'COPY':
    case 'ADD':
      return above(solver, state, await layerStep(solver, index, state, instruction, expand, report))
    case 'WORKDIR': {
      const path = workdirOf(state.config, expand.word(instruction.text))
      const next = { ...state, config: { ...state.config, WorkingDir: path } }
      return above(solver, next, await makeWorkdir(solver, state, path))
    }
    default: {
      const change = applyMetadata(state.config, instruction, expand, state.commandSet)
      const next = { ...state, config: change.config, commandSet: state.commandSet || instruction.kind === 'CMD', ...(change.author !== undefined && { author: change.author }) }
      return { state: { ...next, history: [...next.history, emptyStep(solver, change.createdBy)] }, cached: true, id: state.chainId ?? '' }
    }
  }
}
