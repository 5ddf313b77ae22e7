import { versionNumber } from '@gantry/api'
import { EngineError } from '@gantry/std'
import { familiarString, parseReference } from '@gantry/registry'
import type { Handlers } from '../engine/job.ts'
import type { ImageJobs } from '../jobs/images.ts'
import { imageHistory, type ImagePorts, inspectImage, listImages, removeImage, resolveImage, savedNames, tagImage } from './images.ts'
import { importImage } from './make.ts'

const target = (repository: string, tag: string): string => (tag === '' ? repository : `${repository}:${tag}`)

/** All image jobs. */
export function imageHandlers(ports: ImagePorts): Handlers<ImageJobs> {
  const { graph } = ports
  return {
    'image.list': async ({ input }) => listImages(ports, input),
    'image.inspect': async ({ input }) => inspectImage(ports, resolveImage(graph, input.name), input.apiVersion < versionNumber('1.44')),
    'image.history': async ({ input }) => imageHistory(ports, resolveImage(graph, input.name)),
    'image.tag': async ({ input }) => {
      tagImage(ports, resolveImage(graph, input.name), target(input.repository, input.tag))
      return undefined
    },
    'image.remove': async ({ input }) => removeImage(ports, input.name, input),
    'image.import': async ({ input, stdio }) => {
      if (stdio.input === undefined) throw new EngineError('invalid', 'import needs an archive')
      if (input.repository !== '') parseReference(target(input.repository, input.tag))
      const image = await importImage(graph, stdio.input, input)
      if (input.repository !== '') tagImage(ports, image, target(input.repository, input.tag))
      ports.emit('import', image.id, { name: image.id })
      return { id: image.id }
    },
    'image.load': async ({ stdio }) => {
      if (stdio.input === undefined) throw new EngineError('invalid', 'load needs an archive')
      const lines: string[] = []
      for (const { image, names } of await graph.load(stdio.input)) {
        for (const name of names) {
          const familiar = familiarString(parseReference(name))
          graph.tags.set(familiar, image.id)
          lines.push(`Loaded image: ${familiar}\n`)
        }
        if (names.length === 0) lines.push(`Loaded image ID: ${image.id}\n`)
        ports.emit('load', image.id, { name: image.id })
      }
      return { lines }
    },
    'image.save': async ({ input, stdio }) => {
      const saved = input.names.flatMap((name) => savedNames(graph, name))
      if (saved.length === 0) throw new EngineError('invalid', 'no image was named')
      input.onReady()
      for await (const chunk of graph.save(saved)) await stdio.write?.(chunk)
      for (const { image } of saved) ports.emit('save', image.id, { name: image.id })
      return undefined
    },
    'image.prune': async ({ input }) => {
      const dangling = input.filters.flag('dangling') ?? true
      const used = new Set(ports.containers().map((container) => container.document.imageId))
      const before = new Map(graph.layers.list().map((layer) => [layer.chainId, layer.bytes]))
      const deleted = graph.images
        .list()
        .filter((image) => !used.has(image.id) && (!dangling || graph.tags.references(image.id).length === 0) && graph.images.children(image.id).length === 0 && input.filters.labels('label', image.config.config?.Labels ?? {}))
        .flatMap((image) => removeImage(ports, image.id, { force: true }))
      const bytes = deleted.reduce((sum, one) => sum + ('Deleted' in one ? (before.get(one.Deleted) ?? 0) : 0), 0)
      return { deleted, bytes }
    },
  }
}
