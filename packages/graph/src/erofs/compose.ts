import { readLayerIndex } from './layer-index.ts'
import { mergeLayers } from './merge.ts'
import { writeErofs } from './writer.ts'

/** The metadata of an image from the indexes of its layers, topmost first. Devices are in the opposite order. */
export function composeErofs(indexes: readonly string[]): Buffer {
  const layers = [...indexes].reverse().map(readLayerIndex)
  return writeErofs(mergeLayers(layers), layers)
}
