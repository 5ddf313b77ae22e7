import assert from 'node:assert/strict'
import { it } from 'node:test'
import type { Image } from '@gantry/graph'
import { digestOf } from '@gantry/std'
import { collectImages } from './gc.ts'
import type { ImagePorts } from './images.ts'

const HOUR = 3600 * 1000
const NOW = 100 * HOUR

/** Images of one layer of 10 bytes each, by name: hours since they were used. */
function ports(hours: Readonly<Record<string, number>>, inUse: readonly string[], parents: Readonly<Record<string, string>> = {}): { readonly ports: ImagePorts; readonly left: () => readonly string[] } {
  const images = new Map(Object.keys(hours).map((name) => [digestOf(name), { id: digestOf(name), name } as unknown as Image & { readonly name: string }]))
  const graph = {
    layers: { list: () => [...images.keys()].map(() => ({ tarBytes: 10 })) },
    images: {
      list: () => [...images.values()], get: (id: string) => images.get(id), usedAt: (image: { readonly name: string }) => NOW - (hours[image.name] ?? 0) * HOUR,
      children: (id: string) => Object.entries(parents).filter(([child, parent]) => digestOf(parent) === id && images.has(digestOf(child))).map(([child]) => digestOf(child)),
      remove: (id: string) => (images.delete(id), []), find: (prefix: string) => [`sha256:${prefix}`],
    },
    tags: { references: () => [], get: () => undefined },
    content: { drop: () => undefined },
  }
  return {
    ports: { graph, containers: () => inUse.map((name) => ({ document: { imageId: digestOf(name), mounts: [] } })), emit: () => undefined } as unknown as ImagePorts,
    left: () => [...images.values()].map((image) => image.name),
  }
}

it('collectImages() removes the longest unused until the rest fits, and leaves what is used or fresh', () => {
  const all = ports({ old: 50, older: 60, used: 90, fresh: 0, newer: 5 }, ['used'])
  assert.deepEqual(collectImages(all.ports, 30, NOW), [digestOf('older'), digestOf('old')])
  assert.deepEqual(all.left(), ['used', 'fresh', 'newer'])
  assert.deepEqual(collectImages(all.ports, 0, NOW), [digestOf('newer')])
  assert.deepEqual(all.left(), ['used', 'fresh'])
})
it('collectImages() takes nothing while there is room, and no image that others were made from', () => {
  const all = ports({ base: 80, made: 70 }, ['made'], { made: 'base' })
  assert.deepEqual(collectImages(all.ports, 20, NOW), [])
  assert.deepEqual(collectImages(all.ports, 0, NOW), [])
  assert.deepEqual(all.left(), ['base', 'made'])
})
