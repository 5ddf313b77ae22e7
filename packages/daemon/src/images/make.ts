import type { ContainerConfig } from '@gantry/api'
import { applyChanges } from '@gantry/builder'
import type { Graph, Image } from '@gantry/graph'
import { hostPlatform, type Platform } from '@gantry/registry'
import { EngineError, type ImageConfig, type ImageHistory, type ImageRunConfig } from '@gantry/std'
import type { Container } from '../containers/container.ts'

/** How an image comes about. */
export interface ImageMeta {
  readonly author: string
  readonly comment: string
  readonly createdBy: string
  readonly runConfig: ImageRunConfig
}

function document(base: Partial<ImageConfig> | undefined, diffId: string | undefined, meta: ImageMeta): Buffer {
  const created = new Date().toISOString()
  const step: ImageHistory = { created, ...(meta.author !== '' && { author: meta.author }), ...(meta.createdBy !== '' && { created_by: meta.createdBy }), ...(meta.comment !== '' && { comment: meta.comment }), ...(diffId === undefined && { empty_layer: true }) }
  const host = hostPlatform()
  const config: ImageConfig = {
    architecture: base?.architecture ?? host.architecture,
    os: base?.os ?? host.os,
    ...(base?.variant !== undefined && { variant: base.variant }),
    ...(meta.author !== '' && { author: meta.author }),
    created,
    config: meta.runConfig,
    rootfs: { type: 'layers', diff_ids: [...(base?.rootfs?.diff_ids ?? []), ...(diffId === undefined ? [] : [diffId])] },
    history: [...(base?.history ?? []), step],
  }
  return Buffer.from(JSON.stringify(config))
}

/** A root file system as an image of one layer, for a platform (of this machine where none is named). */
export async function importImage(graph: Graph, source: AsyncIterable<Uint8Array>, options: { readonly message: string; readonly changes: readonly string[]; readonly platform?: Platform; readonly small?: boolean }): Promise<Image> {
  const runConfig = applyChanges({}, options.changes)
  const layer = await graph.importLayer(source, undefined, { small: options.small === true })
  const { platform } = options
  const base = platform && { os: platform.os, architecture: platform.architecture, ...(platform.variant !== '' && { variant: platform.variant }) }
  return graph.images.create(document(base, layer.diffId, { author: '', comment: options.message === '' ? 'Imported from -' : options.message, createdBy: '', runConfig }))
}

function fromContainer(config: ContainerConfig): ImageRunConfig {
  return {
    ...(config.User !== '' && { User: config.User }),
    ...(config.ExposedPorts && { ExposedPorts: config.ExposedPorts }),
    Env: config.Env, Cmd: config.Cmd, Entrypoint: config.Entrypoint, Volumes: config.Volumes, WorkingDir: config.WorkingDir, Labels: config.Labels,
    ...(config.StopSignal && { StopSignal: config.StopSignal }),
    ...(config.Shell && { Shell: config.Shell }),
    ...(config.Healthcheck && { Healthcheck: config.Healthcheck }),
  }
}

/** A container's changes as a new image above its own. */
export async function commitContainer(graph: Graph, container: Container, options: { readonly author: string; readonly comment: string; readonly changes: readonly string[]; readonly config: ImageRunConfig }): Promise<Image> {
  const base = graph.images.get(container.document.imageId)
  if (base === undefined) throw new EngineError('not-found', `No such image: ${container.document.imageId}`)
  const own = fromContainer(container.document.config)
  const runConfig = applyChanges({ ...own, ...options.config }, options.changes)
  const layer = await graph.readChanges(container.id, base, (tar) => graph.importLayer(tar, base.chainId))
  const createdBy = [container.document.path, ...container.document.args].join(' ')
  return graph.images.create(document(base.config, layer.diffId, { author: options.author, comment: options.comment, createdBy, runConfig }), { parent: base.id })
}
