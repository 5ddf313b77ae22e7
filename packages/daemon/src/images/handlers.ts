import { type Graph, type Image, layerTar, plainManifest } from '@gantry/graph'
import { EngineError, parseTimestamp } from '@gantry/std'
import { canonicalName, familiarName, familiarString, parsePlatform, parseReference, platformFits, type Reference } from '@gantry/registry'
import type { Handlers } from '../engine/job.ts'
import type { ImageJobs } from '../jobs/images.ts'
import { imageHistory, type ImagePorts, inspectImage, listImages, removeImage, resolveImage, savedNames, tagImage } from './images.ts'
import { lookAt, login, search } from './look.ts'
import { importImage } from './make.ts'
import { counted } from './progress.ts'
import { openUrl } from './remote-archive.ts'
import { pullImage, type PullPorts } from './pull.ts'
import { pushImage, type PushPorts } from './push.ts'
import { imagesOf } from '../containers/container.ts'

const target = (repository: string, tag: string): string => (tag === '' ? repository : `${repository}:${tag}`)

/** What image jobs need of the house. */
export interface ImageHandlerPorts extends ImagePorts {
  readonly pull: PullPorts
  readonly push: PushPorts
}

/** A repository and what stands beside it in the request: a tag, or a digest where a tag would be. */
function namedReference(name: string, tag: string): Reference {
  return parseReference(tag === '' ? name : tag.includes(':') ? `${name.split('@')[0]}@${tag}` : `${name}:${tag}`)
}

/** Jobs that talk to registries. */
function registryHandlers(ports: ImageHandlerPorts): Pick<Handlers<ImageJobs>, 'image.pull' | 'image.push' | 'image.search' | 'image.distribution' | 'registry.login'> {
  const { graph } = ports
  const { registries } = ports.pull
  return {
    'image.pull': async ({ input, signal }) => {
      const reference = namedReference(input.name, input.tag)
      const platform = input.platform === '' ? undefined : parsePlatform(input.platform)
      await pullImage(ports.pull, { reference, platform, credentials: input.credentials, tell: input.tell, signal, allTags: reference.tag === undefined && reference.digest === undefined })
      return undefined
    },
    'image.push': async ({ input, signal }) => {
      const reference = namedReference(input.name, input.tag)
      if (reference.digest !== undefined) throw new EngineError('invalid', 'cannot push a digest reference')
      const repository = familiarName(reference)
      const tags = graph.tags.list().filter(({ reference: one }) => (reference.tag === undefined ? one.startsWith(`${repository}:`) && !one.slice(repository.length + 1).includes('/') : one === familiarString(reference)))
      if (tags.length === 0) {
        // The answer has begun with the name by then, so that the error comes in it.
        input.tell({ status: `The push refers to repository [${canonicalName(reference)}]` })
        throw new EngineError('not-found', `An image does not exist locally with the tag: ${repository}`)
      }
      for (const { reference: name } of tags) {
        const image = resolveImage(graph, name)
        if (input.platform !== '' && !platformFits(parsePlatform(input.platform), image.config)) throw new EngineError('not-found', `image with reference ${name} was found but does not match the specified platform: wanted ${input.platform}, actual: ${image.config.os ?? 'linux'}/${image.config.architecture ?? ''}`)
        await pushImage(ports.push, { image, reference: parseReference(name), credentials: input.credentials, tell: input.tell, signal })
      }
      return undefined
    },
    'image.search': ({ input, signal }) => search(registries, input, signal),
    'image.distribution': ({ input, signal }) => lookAt(registries, parseReference(input.name), input.credentials, signal),
    'registry.login': ({ input, signal }) => login(registries, input.address, input.credentials, signal),
  }
}

/** An image that has to be of a platform, where one is named. */
function imageFor(graph: Graph, name: string, platform: string): Image {
  const image = resolveImage(graph, name)
  if (platform !== '' && !platformFits(parsePlatform(platform), image.config)) throw new EngineError('not-found', `image with reference ${name} was found but its platform (${image.config.os}/${image.config.architecture}) does not match the specified platform (${platform})`)
  return image
}

/** All image jobs. */
export function imageHandlers(ports: ImageHandlerPorts): Handlers<ImageJobs> {
  const { graph } = ports
  return {
    ...registryHandlers(ports),
    'image.list': async ({ input }) => listImages(ports, input),
    'image.inspect': async ({ input }) => inspectImage(ports, imageFor(graph, input.name, input.platform), input.apiVersion),
    'image.history': async ({ input }) => imageHistory(ports, imageFor(graph, input.name, input.platform)),
    'image.tag': async ({ input }) => {
      tagImage(ports, resolveImage(graph, input.name), target(input.repository, input.tag))
      return undefined
    },
    'image.remove': async ({ input }) => {
      for (const platform of input.platforms) imageFor(graph, input.name, platform)
      return removeImage(ports, input.name, input)
    },
    'image.import': async ({ input, stdio, signal }) => {
      const { url, tell } = input
      if (input.repository !== '') parseReference(target(input.repository, input.tag))
      const platform = input.platform === '' ? undefined : parsePlatform(input.platform)
      const remote = url === '' ? undefined : await openUrl(url, signal)
      if (remote !== undefined) tell({ status: `Downloading from ${remote.url}` })
      const source = remote?.body ?? stdio.input
      if (source === undefined) throw new EngineError('invalid', 'import needs an archive')
      const message = remote !== undefined && input.message === '' ? `Imported from ${remote.url}` : input.message
      const image = await importImage(graph, counted(source, { id: 'archive', status: 'Importing', total: remote?.bytes ?? input.total }, tell), { changes: input.changes, message, ...(platform && { platform }) })
      if (input.repository !== '') tagImage(ports, image, target(input.repository, input.tag))
      ports.emit('import', image.id, { name: image.id })
      return { id: image.id }
    },
    'image.load': async ({ input, stdio }) => {
      if (stdio.input === undefined) throw new EngineError('invalid', 'load needs an archive')
      const lines: string[] = []
      for (const { image, names } of await graph.load(counted(stdio.input, { id: 'archive', status: 'Loading', total: input.total }, input.tell))) {
        if (input.platform !== '' && !platformFits(parsePlatform(input.platform), image.config)) {
          if (graph.tags.references(image.id).length === 0) graph.images.remove(image.id)
          throw new EngineError('not-found', `the archive has no image for ${input.platform}: it has ${image.config.os}/${image.config.architecture}`)
        }
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
      if (input.platform !== '') for (const name of input.names) imageFor(graph, name, input.platform)
      const saved = input.names.flatMap((name) => savedNames(graph, name))
      if (saved.length === 0) throw new EngineError('invalid', 'no image was named')
      input.onReady()
      for await (const chunk of graph.save(saved)) await stdio.write?.(chunk)
      for (const { image } of saved) ports.emit('save', image.id, { name: image.id })
      return undefined
    },
    'image.manifest': async ({ input }) => plainManifest(resolveImage(graph, input.name), graph.images),
    'image.blob': async ({ input: { digest, start, length, onSize }, stdio }) => {
      const config = graph.images.get(digest)?.raw
      const layer = config === undefined ? graph.layers.list().find((one) => one.diffId === digest) : undefined
      if (config === undefined && layer === undefined) throw new EngineError('not-found', `no such content: ${digest}`)
      onSize(config?.length ?? layer?.tarBytes ?? 0)
      if (length === 0) return undefined
      let at = 0
      for await (const chunk of layer === undefined ? [config ?? Buffer.alloc(0)] : layerTar(graph.layers.source(layer.chainId))) {
        const part = chunk.subarray(Math.max(0, start - at), Math.max(0, start + length - at))
        at += chunk.length
        if (part.length > 0) await stdio.write?.(part)
        if (at >= start + length) break
      }
      return undefined
    },
    'image.prune': async ({ input }) => {
      const dangling = input.filters.flag('dangling') ?? true
      const until = input.filters.values('until').map((text) => Number(parseTimestamp(text) / 1_000_000n)).reduce((least, one) => Math.min(least, one), Number.POSITIVE_INFINITY)
      const lacksLabels = (labels: Readonly<Record<string, string>>): boolean => input.filters.none('label!') || !input.filters.labels('label!', labels)
      const used = new Set(ports.containers().flatMap(imagesOf))
      const before = new Map(graph.layers.list().map((layer) => [layer.chainId, layer.bytes]))
      const deleted = graph.images
        .list()
        .filter((image) => !used.has(image.id) && (!dangling || graph.tags.references(image.id).length === 0) && graph.images.children(image.id).length === 0 && input.filters.labels('label', image.config.config?.Labels ?? {}) && lacksLabels(image.config.config?.Labels ?? {}) && (until === Number.POSITIVE_INFINITY || Date.parse(image.config.created ?? '') < until))
        .flatMap((image) => removeImage(ports, image.id, { force: true, keepParents: true }))
      const bytes = deleted.reduce((sum, one) => sum + ('Deleted' in one ? (before.get(one.Deleted) ?? 0) : 0), 0)
      return { deleted, bytes }
    },
  }
}
