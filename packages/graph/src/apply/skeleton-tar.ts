import { closeSync, openSync, readSync, realpathSync } from 'node:fs'
import { EngineError } from '@gantry/std'
import { fileChunks } from './file-chunks.ts'
import { readSkeleton } from './skeleton.ts'

/** Where a layer's archive is read from. */
export type LayerSource = { readonly kind: 'skeleton'; readonly skeleton: string; readonly directory: string } | { readonly kind: 'tar'; readonly path: string; readonly bytes: number }

const CHUNK = 1 << 20

/** The archive of a layer: its skeleton, and the content of its files from the directory. A path that leads out of the layer is refused. */
async function* skeletonTar(skeleton: string, directory: string): AsyncGenerator<Buffer> {
  const top = Buffer.from(`${realpathSync(directory)}/`)
  let block = Buffer.allocUnsafe(CHUNK)
  let used = 0
  const full = (): Buffer => {
    const whole = block.subarray(0, used)
    block = Buffer.allocUnsafe(CHUNK)
    used = 0
    return whole
  }
  for (const part of readSkeleton(skeleton)) {
    if (part.kind === 'raw') {
      for (let at = 0; at < part.bytes.length; ) {
        const count = part.bytes.copy(block, used, at)
        used += count
        at += count
        if (used === CHUNK) yield full()
      }
      continue
    }
    const name = part.path.toString()
    const real = realpathSync(Buffer.concat([top, part.path]), 'buffer')
    if (!real.subarray(0, top.length).equals(top)) throw new EngineError('internal', `layer file ${name} lies outside its layer`)
    const fd = openSync(real, 'r')
    try {
      for (let left = part.size; left > 0; ) {
        const count = readSync(fd, block, used, Math.min(left, CHUNK - used), null)
        if (count === 0) throw new EngineError('internal', `layer file ${name} has changed: ${left} bytes are missing`)
        used += count
        left -= count
        if (used === CHUNK) yield full()
      }
    } finally {
      closeSync(fd)
    }
  }
  if (used > 0) yield full()
}

/** The archive of a layer, byte for byte as it came. */
export function layerTar(source: LayerSource): AsyncIterable<Buffer> {
  return source.kind === 'skeleton' ? skeletonTar(source.skeleton, source.directory) : fileChunks(source.path, source.bytes)
}
