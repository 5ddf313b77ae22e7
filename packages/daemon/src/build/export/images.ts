import type { BuildResult } from '@gantry/builder'
import { familiarString, parseReference } from '@gantry/registry'
import { EngineError } from '@gantry/std'
import { tagImage } from '../../images/images.ts'
import { pushImage } from '../../images/push.ts'
import type { ExportContext, OutputAnswer, OutputRequest } from './context.ts'
import { flagOf, outputForm } from './form.ts'
import { described, fullName, namesOf } from './names.ts'
import { type OpenVertex, pullStatus } from './vertex.ts'

/** As an image of ours, with its names; pushed where that is asked for. */
export async function toImage(context: ExportContext, result: BuildResult, { Attrs }: OutputRequest, vertex: OpenVertex): Promise<OutputAnswer> {
  const { ports, signal } = context
  vertex.status('exporting layers', { done: true })
  const names = namesOf(Attrs)
  const form = outputForm(Attrs)
  const push = flagOf(Attrs, 'push') === true
  const image = result.image()
  vertex.status(`writing image ${image.id}`, { done: true })
  for (const name of names) {
    tagImage(ports.images, image, familiarString(parseReference(name)))
    vertex.status(`naming to ${fullName(parseReference(name))}`, { done: true })
  }
  if (!push && (form.packing ?? form.family) !== undefined) vertex.log(2, Buffer.from('layers are kept unpacked here: compression and media types are those of a later push\n'))
  if (push) {
    if (names.length === 0) throw new EngineError('invalid', 'push: expected a name to push to')
    for (const name of names) {
      const named = parseReference(name)
      const reference = named.tag === undefined ? { ...named, tag: 'latest' } : named
      await pushImage(ports.images.push, { image, reference, credentials: await context.credentials(reference), tell: pullStatus(vertex), signal, form })
      vertex.status(`pushing ${name}`, { done: true })
    }
  }
  return described(image, names)
}
