import { logger, messageOf } from '@gantry/std'
import { type ImagePorts, removeImage } from './images.ts'
import { imagesOf } from '../containers/container.ts'

const log = logger('daemon.images.gc')
const EVERY_MS = 3600 * 1000
/** What was used so lately is left alone: a pull may be followed by a run. */
const FRESH_MS = 10 * 60 * 1000

/**
 * Removes images that no container has, the longest unused first, while layers take more than `keepBytes`. Gives the ids that went.
 * `now`: milliseconds since 1970.
 */
export function collectImages(ports: ImagePorts, keepBytes: number, now: number = Date.now()): readonly string[] {
  const { graph } = ports
  const taken = (): number => graph.layers.list().reduce((sum, layer) => sum + layer.tarBytes, 0)
  if (taken() <= keepBytes) return []
  const used = new Set(ports.containers().flatMap(imagesOf))
  const candidates = graph.images
    .list()
    .filter((image) => !used.has(image.id) && graph.images.usedAt(image) < now - FRESH_MS)
    .sort((a, b) => graph.images.usedAt(a) - graph.images.usedAt(b))
  const gone: string[] = []
  for (const image of candidates) {
    if (taken() <= keepBytes) break
    // One that others were made from goes when they have gone.
    if (graph.images.children(image.id).length > 0) continue
    removeImage(ports, image.id, { force: true })
    gone.push(image.id)
  }
  if (gone.length > 0) log.info('removed images that were not used', { images: gone.length, keepBytes })
  return gone
}

/** Does so at once and every hour; off where `keepBytes` is 0. Gives what ends it. */
export function watchImages(ports: ImagePorts, keepBytes: number): () => void {
  if (keepBytes === 0) return () => undefined
  const turn = (): void => {
    try {
      collectImages(ports, keepBytes)
    } catch (cause) {
      log.warn('cannot remove unused images', { reason: messageOf(cause), cause })
    }
  }
  turn()
  const timer = setInterval(turn, EVERY_MS)
  timer.unref()
  return () => clearInterval(timer)
}
