import { EngineError } from '@gantry/std'
import { ownerOf } from '../copy/owner.ts'
import type { Owner } from '../copy/place.ts'
import type { Instruction } from '../dockerfile/instructions.ts'
import { keyOf } from '../key.ts'
import type { StepReport } from '../report.ts'
import type { Solver, StepOutcome } from '../solver.ts'
import { asImage, type Expander, type StageState } from '../state.ts'
import { runStep } from './execute.ts'
import { copyStep } from './files.ts'
import { directoryLayer, ROOT_OWNER } from './layer.ts'

/** The user of the steps; root where there is none of the name. */
function userOf(solver: Solver, state: StageState): Owner {
  const { User: user = '' } = state.config
  if (user === '') return ROOT_OWNER
  try {
    return ownerOf(() => solver.ports.graph.look(undefined, asImage(state.chainId)), user)
  } catch (error) {
    // Whoever runs a step will hear of it.
    if (error instanceof EngineError && error.kind === 'invalid') return ROOT_OWNER
    throw error
  }
}

/** The directory is made where it is not there, the user's own: a layer with just that. */
export async function makeWorkdir(solver: Solver, state: StageState, path: string): Promise<StepOutcome> {
  const { ports } = solver
  const createdBy = `WORKDIR ${path}`
  const found = state.chainId === undefined ? undefined : ports.graph.look(undefined, asImage(state.chainId)).find(path)
  if (found !== undefined && found.kind !== 'directory') throw new EngineError('invalid', `Cannot mkdir: ${path} is not a directory`)
  if (path === '/' || found !== undefined) return { layer: undefined, cached: true, createdBy, createdAt: 0 }
  const owner = userOf(solver, state)
  const done = await solver.cached(keyOf('workdir', state.chainId ?? '', path, owner, solver.epoch ?? null), { kind: 'regular', description: createdBy }, () => directoryLayer(solver, state, path, owner))
  return { ...done, createdBy }
}

/** Carries an instruction out that always makes a layer. */
export function layerStep(solver: Solver, index: number, state: StageState, instruction: Instruction & { readonly kind: 'RUN' | 'COPY' | 'ADD' }, expand: Expander, report: StepReport): Promise<StepOutcome> {
  return instruction.kind === 'RUN' ? runStep(solver, index, state, instruction, expand, report) : copyStep(solver, index, state, instruction, expand)
}
