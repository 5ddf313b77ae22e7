import type { Image } from '@gantry/graph'
import type { ImageConfig, ImageRunConfig } from '@gantry/std'
import { keyOf } from './key.ts'
import type { BuildOptions } from './options.ts'
import type { BuildPorts } from './ports.ts'
import type { StageState } from './state.ts'

/** An image made of what a stage has come to. The same steps give the same image again. */
export function imageOf(ports: BuildPorts, options: BuildOptions, state: StageState): Image {
  const { graph, cache } = ports
  const { platform, config, history, author, diffIds, chainId } = state
  const labels = { ...config.Labels, ...options.labels }
  const run: ImageRunConfig = { ...config, ...(Object.keys(labels).length > 0 && { Labels: labels }) }
  const epoch = options.buildArgs.get('SOURCE_DATE_EPOCH')
  const key = keyOf('image', chainId ?? '', run, platform, author, epoch ?? null, history.map((step) => [step.created_by ?? '', step.empty_layer === true]))
  const known = options.noCache ? undefined : cache.result(key)
  const same = known === undefined ? undefined : graph.images.get(known)
  if (same !== undefined) return same
  const created = epoch === undefined ? new Date().toISOString() : new Date(Number(epoch) * 1000).toISOString()
  const document: ImageConfig = {
    architecture: platform.architecture, os: platform.os, ...(platform.variant !== '' && { variant: platform.variant }), ...(author !== '' && { author }), created,
    config: run, rootfs: { type: 'layers', diff_ids: diffIds }, history,
  }
  return graph.transaction(() => {
    if (chainId !== undefined) graph.layers.retain(chainId)
    const image = graph.images.create(Buffer.from(JSON.stringify(document)))
    cache.keepResult(key, image.id)
    return image
  })
}
