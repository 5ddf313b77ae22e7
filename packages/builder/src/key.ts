import { digestOf } from '@gantry/std'

/** A key of what goes into a step: parts keep their borders. */
export function keyOf(kind: string, ...parts: readonly unknown[]): string {
  return digestOf(JSON.stringify([kind, ...parts]))
}
