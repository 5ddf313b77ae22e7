import type { Image } from '@gantry/graph'
import { refuseWarnings } from './check.ts'
import { imageOf } from './image.ts'
import { openBuild } from './open.ts'
import type { BuildOptions } from './options.ts'
import type { BuildPorts } from './ports.ts'
import type { BuildReport } from './report.ts'
import { solve } from './solve.ts'
import { PROXY_ARGS } from './steps/run.ts'

const ALWAYS_THERE = new Set([...PROXY_ARGS, 'SOURCE_DATE_EPOCH'])

/** Builds an image. Nothing of a build that fails stays but what its steps came to. */
export async function build(ports: BuildPorts, options: BuildOptions, report: BuildReport): Promise<Image> {
  const { source, file, plan } = openBuild(options, ports.host)
  refuseWarnings(source, file, options)
  const unused = [...options.buildArgs.keys()].filter((name) => !plan.declared.has(name) && !ALWAYS_THERE.has(name))
  const held: string[] = []
  const hold = (chainId: string): void => {
    ports.graph.layers.retain(chainId)
    held.push(chainId)
  }
  try {
    const state = await solve(ports, options, source, file, plan, report, hold)
    if (unused.length > 0) report.warn(`[Warning] One or more build-args ${JSON.stringify(unused)} were not consumed`)
    options.signal.throwIfAborted()
    return imageOf(ports, options, state)
  } finally {
    for (const chainId of held) ports.graph.layers.release(chainId)
  }
}
