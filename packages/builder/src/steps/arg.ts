import type { Instruction } from '../dockerfile/instructions.ts'
import { type Applied, emptyStep, type Solver } from '../solver.ts'
import { expanderOf, lookupOf, type StageState } from '../state.ts'
import { PROXY_ARGS } from './run.ts'

/** Declares arguments: what the caller gives, else the default, else the value before the first stage. */
export function declareArgs(solver: Solver, state: StageState, instruction: Instruction & { readonly kind: 'ARG' }): Applied {
  const { options, plan, file } = solver
  const args = new Map(state.args)
  const said: string[] = []
  for (const { name, value } of instruction.pairs) {
    const expand = expanderOf(solver.source, file.escape, instruction, lookupOf({ ...state, args }))
    const given = options.buildArgs.get(name) ?? (value === undefined ? (plan.globals.get(name) ?? plan.predefined.get(name)) : expand.word(value))
    if (given !== undefined) args.set(name, given)
    said.push(given === undefined ? name : `${name}=${given}`)
  }
  const shown = said.filter((one) => !PROXY_ARGS.includes(one.split('=', 1)[0] ?? ''))
  return { state: { ...state, args, history: [...state.history, emptyStep(solver, `ARG ${shown.join(' ')}`)] }, cached: true, id: state.chainId ?? '' }
}
