import { checkDockerfile, checkFailure, checkIsFatal, warningText } from './dockerfile/check.ts'
import type { Dockerfile } from './dockerfile/instructions.ts'
import type { Source } from './dockerfile/source.ts'
import { openBuild } from './open.ts'
import type { BuildOptions } from './options.ts'
import type { BuildPorts } from './ports.ts'

/** Looks a Dockerfile through without building it: what people read, and how much was found. */
export function check(options: BuildOptions, host: BuildPorts['host'], ignores: (path: string) => boolean): { readonly text: string; readonly count: number } {
  const { source, file } = openBuild(options, host)
  const warnings = checkDockerfile(source, file, { buildArgs: new Set(options.buildArgs.keys()), ignores })
  return { text: warningText(source, warnings), count: warnings.length }
}

/** Ends a build whose file asks for that where something is found in it. */
export function refuseWarnings(source: Source, file: Dockerfile, options: BuildOptions): void {
  if (!checkIsFatal(file)) return
  const warnings = checkDockerfile(source, file, { buildArgs: new Set(options.buildArgs.keys()), ignores: () => false })
  if (warnings.length > 0) throw checkFailure(source, warnings)
}
