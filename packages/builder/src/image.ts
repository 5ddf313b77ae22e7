import type { Image } from '@gantry/graph'
import type { ImageConfig, ImageRunConfig } from '@gantry/std'
import { keyOf } from './key.ts'
import type { BuildOptions } from './options.ts'
import type { BuildPorts } from './ports.ts'
import type { CacheUse } from './remote-cache.ts'
import type { StageState } from './state.ts'

function runConfig(options: BuildOptions, { config }: StageState): ImageRunConfig {
  const labels = { ...config.Labels, ...options.labels }
  return { ...config, ...(Object.keys(labels).length > 0 && { Labels: labels }) }
}

/** Field of an image's configuration: a list of `CacheUse`, for whoever builds the same elsewhere. */
export const INLINE_CACHE = 'gantry.buildcache.v1'

/** The configuration of what a stage has come to. */
export function documentOf(options: BuildOptions, state: StageState, inline: readonly CacheUse[]): Buffer {
  const { platform, history, author, diffIds } = state
  const epoch = options.buildArgs.get('SOURCE_DATE_EPOCH')
  const created = epoch === undefined ? new Date().toISOString() : new Date(Number(epoch) * 1000).toISOString()
  const document: ImageConfig = {
    architecture: platform.architecture, os: platform.os, ...(platform.variant !== '' && { variant: platform.variant }), ...(author !== '' && { author }), created,
    config: runConfig(options, state), rootfs: { type: 'layers', diff_ids: diffIds }, history,
  }
  return Buffer.from(JSON.stringify({ ...document, ...(inline.length > 0 && { [INLINE_CACHE]: inline }) }))
}

/** An image made of what a stage has come to. The same steps give the same image again. */
export function imageOf(ports: BuildPorts, options: BuildOptions, state: StageState, inline: readonly CacheUse[]): Image {
  const { graph, cache } = ports
  const { platform, history, author, chainId } = state
  const epoch = options.buildArgs.get('SOURCE_DATE_EPOCH')
  const key = keyOf('image', chainId ?? '', runConfig(options, state), platform, author, epoch ?? null, history.map((step) => [step.created_by ?? '', step.empty_layer === true]), inline.map((use) => use.key))
  const known = options.noCache ? undefined : cache.result(key)
  const same = known === undefined ? undefined : graph.images.get(known)
  if (same !== undefined) return same
  return graph.transaction(() => {
    if (chainId !== undefined) graph.layers.retain(chainId)
    const image = graph.images.create(documentOf(options, state, inline))
    cache.keepResult(key, image.id)
    return image
  })
}
