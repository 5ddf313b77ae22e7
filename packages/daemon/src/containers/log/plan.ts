import type { Bundle } from '@gantry/runtime'
import type { Container } from '../container.ts'
import { attributesOf } from './stream.ts'
import { logSettings } from './settings.ts'

/** How the runtime writes a container's log; undefined: not at all. */
export function logPlan(container: Container, path: () => string): Bundle['log'] {
  const { kept, maxBytes, maxFiles, lossy } = logSettings(container.document.hostConfig.LogConfig)
  if (kept === undefined) return undefined
  const attributes = attributesOf(container)
  return { path: path(), maxBytes, maxFiles, format: kept, lossy, attributes: Object.keys(attributes).length === 0 ? '' : JSON.stringify(attributes) }
}
