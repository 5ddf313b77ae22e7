import type { Image } from '@gantry/graph'
import { EngineError } from '@gantry/std'
import { checkDockerfile, checkFailure, checkIsFatal, warningText } from './dockerfile/check.ts'
import type { Dockerfile } from './dockerfile/instructions.ts'
import { parseDockerfile } from './dockerfile/parse.ts'
import { type Source, sourceOf } from './dockerfile/source.ts'
import { imageOf } from './image.ts'
import type { BuildOptions } from './options.ts'
import type { BuildPorts } from './ports.ts'
import type { BuildReport } from './report.ts'
import { solve } from './solve.ts'
import { type BuildPlan, planBuild } from './stages.ts'
import { PROXY_ARGS } from './steps/run.ts'

/** Front ends that this builder stands for; another one would have to be pulled and run. */
const FRONTENDS = /^(?:[\w.-]+\/)*docker\/dockerfile(?:-upstream)?(?::[\w.-]+)?(?:@sha256:[0-9a-f]{64})?$/
const ALWAYS_THERE = new Set([...PROXY_ARGS, 'SOURCE_DATE_EPOCH'])

/** Reads a Dockerfile and finds out what has to be built. */
export function openBuild(options: BuildOptions, host: BuildPorts['host']): { readonly source: Source; readonly file: Dockerfile; readonly plan: BuildPlan } {
  const source = sourceOf(options.dockerfile.name, options.dockerfile.bytes)
  const file = parseDockerfile(source)
  if (file.syntax !== '' && !FRONTENDS.test(file.syntax)) throw new EngineError('unsupported', `# syntax=${file.syntax}: other front ends than docker/dockerfile are not supported`)
  return { source, file, plan: planBuild(source, file, { ...options, host, contexts: new Set(options.contexts.keys()) }) }
}

/** Looks a Dockerfile through without building it: what people read, and how much was found. */
export function check(options: BuildOptions, host: BuildPorts['host'], ignores: (path: string) => boolean): { readonly text: string; readonly count: number } {
  const { source, file } = openBuild(options, host)
  const warnings = checkDockerfile(source, file, { buildArgs: new Set(options.buildArgs.keys()), ignores })
  return { text: warningText(source, warnings), count: warnings.length }
}

/** Builds an image. Nothing of a build that fails stays but what its steps came to. */
export async function build(ports: BuildPorts, options: BuildOptions, report: BuildReport): Promise<Image> {
  const { source, file, plan } = openBuild(options, ports.host)
  const warnings = checkDockerfile(source, file, { buildArgs: new Set(options.buildArgs.keys()), ignores: () => false })
  if (warnings.length > 0 && checkIsFatal(file)) throw checkFailure(source, warnings)
  const unused = [...options.buildArgs.keys()].filter((name) => !plan.declared.has(name) && !ALWAYS_THERE.has(name))
  const state = await solve(ports, options, source, file, plan, report)
  if (unused.length > 0) report.warn(`[Warning] One or more build-args ${JSON.stringify(unused)} were not consumed`)
  options.signal.throwIfAborted()
  return imageOf(ports, options, state)
}
