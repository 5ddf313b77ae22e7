import type { Image } from '@gantry/graph'
import { canonicalName, parseReference, type Reference } from '@gantry/registry'
import type { OutputAnswer, OutputRequest } from './context.ts'

/** Names that the client wants the image to have. */
export const namesOf = (attributes: OutputRequest['Attrs']): readonly string[] => (attributes['name'] ?? '').split(',').map((name) => name.trim()).filter((name) => name !== '')

/** With its registry and tag. */
export const fullName = (reference: Reference): string => `${canonicalName(reference)}:${reference.tag ?? 'latest'}`

/** What the client is told of an image. */
export function described(image: Image, names: readonly string[]): OutputAnswer {
  return { 'containerimage.config.digest': image.id, 'containerimage.digest': image.id, ...(names.length > 0 && { 'image.name': names.map((name) => fullName(parseReference(name))).join(',') }) }
}
