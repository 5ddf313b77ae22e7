import type { Bundle } from '@gantry/runtime'
import type { Container } from './container.ts'
import { attributesOf } from './logs.ts'
import { logSettings } from './request/validate.ts'

/** How the runtime writes a container's log; undefined: not at all. */
export function logPlan(container: Container, path: () => string): Bundle['log'] {
  const { type, maxBytes, maxFiles } = logSettings(container.document.hostConfig.LogConfig)
  if (type === 'none') return undefined
  const attributes = attributesOf(container)
  return { path: path(), maxBytes, maxFiles, format: type === 'local' ? 'journal' : 'json', attributes: Object.keys(attributes).length === 0 ? '' : JSON.stringify(attributes) }
}
