import type { BuildResult } from '@gantry/builder'
import { sendBytes } from '@gantry/buildkit'
import type { Image } from '@gantry/graph'
import { canonicalName, familiarString, parseReference, type Reference } from '@gantry/registry'
import { EngineError } from '@gantry/std'
import { tagImage } from '../../images/images.ts'
import { pushImage } from '../../images/push.ts'
import type { ExportAnswer, ExportRequest } from './builds.ts'
import type { ExchangeContext } from './cache-exchange.ts'
import { credentialsOfClient } from './client-credentials.ts'
import { pullStatus } from './report.ts'
import type { OpenVertex } from './status-log.ts'

const namesOf = (attributes: ExportRequest['Attrs']): readonly string[] => (attributes['name'] ?? '').split(',').map((name) => name.trim()).filter((name) => name !== '')
const isTrue = (text: string | undefined): boolean => text !== undefined && /^(1|t|true)$/i.test(text)

const fullName = (reference: Reference): string => `${canonicalName(reference)}:${reference.tag ?? 'latest'}`

function described(image: Image, names: readonly string[]): ExportAnswer {
  return { 'containerimage.config.digest': image.id, 'containerimage.digest': image.id, ...(names.length > 0 && { 'image.name': names.map((name) => fullName(parseReference(name))).join(',') }) }
}

/** As an image of ours, with its names; pushed where that is asked for. */
export async function toImage(context: ExchangeContext, result: BuildResult, { Attrs }: ExportRequest, vertex: OpenVertex): Promise<ExportAnswer> {
  const { ports, signal } = context
  vertex.status('exporting layers', { done: true })
  const names = namesOf(Attrs)
  if (isTrue(Attrs['push-by-digest'])) throw new EngineError('unsupported', 'push-by-digest: images are pushed by their names')
  const image = result.image()
  vertex.status(`writing image ${image.id}`, { done: true })
  for (const name of names) {
    tagImage(ports.images, image, familiarString(parseReference(name)))
    vertex.status(`naming to ${fullName(parseReference(name))}`, { done: true })
  }
  if (isTrue(Attrs['push'])) {
    if (names.length === 0) throw new EngineError('invalid', 'push: expected a name to push to')
    for (const name of names) {
      const named = parseReference(name)
      const reference = named.tag === undefined ? { ...named, tag: 'latest' } : named
      await pushImage(ports.images.push, { image, reference, credentials: await credentialsOfClient(context.session, reference), tell: pullStatus(vertex), signal })
      vertex.status(`pushing ${name}`, { done: true })
    }
  }
  return described(image, names)
}

/** As an archive: an OCI layout that `docker load` reads, too. Nothing of it stays but what was there before. */
export async function toArchive({ ports: { graph }, session, signal }: ExchangeContext, exporter: string, result: BuildResult, { Type, Attrs }: ExportRequest, vertex: OpenVertex): Promise<ExportAnswer> {
  if (Attrs['tar'] === 'false') throw new EngineError('unsupported', `${Type}: tar=false: layouts go out as archives`)
  const names = namesOf(Attrs)
  const before = new Set(graph.images.list().map((image) => image.id))
  const image = result.image()
  try {
    vertex.status('exporting layers', { done: true })
    vertex.status('sending tarball')
    await sendBytes(session, exporter, graph.save([{ image, names: names.map((name) => familiarString(parseReference(name))) }]), signal)
    vertex.status('sending tarball', { done: true })
  } finally {
    if (!before.has(image.id) && graph.tags.references(image.id).length === 0) graph.images.remove(image.id)
  }
  return described(image, names)
}
