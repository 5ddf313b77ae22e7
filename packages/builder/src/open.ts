import { EngineError } from '@gantry/std'
import type { Dockerfile } from './dockerfile/instructions.ts'
import { parseDockerfile } from './dockerfile/parse.ts'
import { type Source, sourceOf } from './dockerfile/source.ts'
import type { BuildOptions } from './options.ts'
import type { BuildPorts } from './ports.ts'
import { type BuildPlan, planBuild } from './stages.ts'

/** Front ends that this builder stands for; another one would have to be pulled and run. */
const FRONTEND = /^(?:[\w.-]+\/)*docker\/dockerfile(?:-upstream)?(?::[\w.-]+)?(?:@sha256:[0-9a-f]{64})?$/

/** True for the name of a front end that this builder stands for. */
export const isOwnFrontend = (name: string): boolean => FRONTEND.test(name)

/** Reads a Dockerfile and finds out what has to be built. */
export function openBuild(options: BuildOptions, host: BuildPorts['host']): { readonly source: Source; readonly file: Dockerfile; readonly plan: BuildPlan } {
  const source = sourceOf(options.dockerfile.name, options.dockerfile.bytes)
  const file = parseDockerfile(source)
  if (file.syntax !== '' && !isOwnFrontend(file.syntax)) throw new EngineError('unsupported', `# syntax=${file.syntax}: other front ends than docker/dockerfile are not supported`)
  return { source, file, plan: planBuild(source, file, { ...options, host, contexts: new Set(options.contexts.keys()) }) }
}
