import { renameSync, writeFileSync } from 'node:fs'
import { randomHex } from '@gantry/std'
import type { Composition } from '../driver.ts'
import { readLayerIndex } from './layer-index.ts'
import { mergeLayers } from './merge.ts'
import { writeErofs } from './writer.ts'

/** The metadata of an image from the indexes of its layers, topmost first. Devices are in the opposite order. */
function composeErofs(indexes: readonly string[]): Buffer {
  const layers = [...indexes].reverse().map(readLayerIndex)
  return writeErofs(mergeLayers(layers), layers)
}

/** Computes it and puts it into its place by a rename: two that do so at once come to the same. */
export function putComposition({ indexes, to }: Composition): void {
  const temporary = `${to}.${randomHex(4)}`
  writeFileSync(temporary, composeErofs(indexes), { mode: 0o600 })
  renameSync(temporary, to)
}
