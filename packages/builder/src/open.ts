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

/** Reads a Dockerfile. The argument `BUILDKIT_DOCKERFILE_CHECK` stands before what the file says of checks. */
export function readDockerfile({ name, bytes }: BuildOptions['dockerfile'], buildArgs: ReadonlyMap<string, string>): { readonly source: Source; readonly file: Dockerfile } {
  const source = sourceOf(name, bytes)
  const file = parseDockerfile(source)
  return { source, file: { ...file, check: buildArgs.get('BUILDKIT_DOCKERFILE_CHECK') ?? file.check } }
}

/** Reads a Dockerfile and finds out what has to be built. */
export function openBuild(options: BuildOptions, host: BuildPorts['host']): { readonly source: Source; readonly file: Dockerfile; readonly plan: BuildPlan } {
  const { source, file } = readDockerfile(options.dockerfile, options.buildArgs)
  if (file.syntax !== '' && !isOwnFrontend(file.syntax)) throw new EngineError('unsupported', `# syntax=${file.syntax}: other front ends than docker/dockerfile are not supported`)
  return { source, file, plan: planBuild(source, file, { ...options, host, contexts: new Set(options.contexts.keys()) }) }
}
