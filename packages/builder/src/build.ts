import type { Image } from '@gantry/graph'
import { refuseWarnings } from './check.ts'
import { documentOf, imageOf } from './image.ts'
import { openBuild } from './open.ts'
import type { BuildOptions } from './options.ts'
import type { BuildPorts } from './ports.ts'
import type { BuildReport } from './report.ts'
import type { CacheUse } from './remote-cache.ts'
import { solve } from './solve.ts'
import { PROXY_ARGS } from './steps/run.ts'

const ALWAYS_THERE = new Set([...PROXY_ARGS, 'SOURCE_DATE_EPOCH'])

/** What a build came to. Its layers stay until it is let go. */
export interface BuildResult extends Disposable {
  /** The topmost layer; undefined: there is none. */
  readonly chainId: string | undefined
  /** What its steps came to, of all stages. */
  readonly uses: readonly CacheUse[]
  /** Those whose layers are in it. */
  readonly ownUses: readonly CacheUse[]
  /** The configuration that its image has (OCI image configuration). */
  document(): Buffer
  /** Its image, in the graph from then on. */
  image(): Image
}

/** Carries a build out. Nothing of a build that fails stays but what its steps came to. */
export async function solveBuild(ports: BuildPorts, options: BuildOptions, report: BuildReport): Promise<BuildResult> {
  const { source, file, plan } = openBuild(options, ports.host)
  refuseWarnings(source, file, options)
  const unused = [...options.buildArgs.keys()].filter((name) => !plan.declared.has(name) && !ALWAYS_THERE.has(name) && !name.startsWith('BUILDKIT_'))
  const uses = new Map<string, CacheUse>()
  const held: string[] = []
  const hold = (chainId: string): void => {
    ports.graph.layers.retain(chainId)
    held.push(chainId)
  }
  const release = (): void => {
    for (const chainId of held.splice(0)) ports.graph.layers.release(chainId)
  }
  try {
    const state = await solve(ports, options, source, file, plan, report, hold, uses)
    if (unused.length > 0) report.warn(`[Warning] One or more build-args ${JSON.stringify(unused)} were not consumed`)
    options.signal.throwIfAborted()
    const chain = new Set(state.chainId === undefined ? [] : ports.graph.layers.chain(state.chainId).map((layer) => layer.chainId))
    const ownUses = [...uses.values()].filter((use) => chain.has(use.chainId))
    const inline = options.inlineCache ? ownUses : []
    return { chainId: state.chainId, uses: [...uses.values()], ownUses, document: () => documentOf(options, state, inline), image: () => imageOf(ports, options, state, inline), [Symbol.dispose]: release }
  } catch (error) {
    release()
    throw error
  }
}

/** Builds an image. */
export async function build(ports: BuildPorts, options: BuildOptions, report: BuildReport): Promise<Image> {
  using result = await solveBuild(ports, options, report)
  return result.image()
}
