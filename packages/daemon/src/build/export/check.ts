import { EngineError } from '@gantry/std'
import { checkCache } from './cache-exchange.ts'
import type { OutputRequest } from './context.ts'
import { type Attributes, flagOf, outputForm } from './form.ts'

/** What people see while an output is made, by its type. */
export const SHOWN: Readonly<Record<string, string>> = { moby: 'exporting to image', image: 'exporting to image', docker: 'exporting to docker image format', oci: 'exporting to oci image format', local: 'exporting to client directory', tar: 'exporting to client tarball' }

/** Attributes that other builders know, and the one value that is honoured here. */
const ONLY: Readonly<Record<string, boolean>> = { 'rewrite-timestamp': false, 'registry.insecure': false, 'name-canonical': false, 'prefer-nondist-layers': false, 'platform-split': false, 'push-by-digest': false, store: true, tar: true }

function refuse(attributes: Attributes): void {
  const wanted = Object.keys(attributes).find((name) => name.startsWith('annotation') || name === 'dangling-name-prefix' || (ONLY[name] !== undefined && (flagOf(attributes, name) ?? ONLY[name]) !== ONLY[name]))
  if (wanted !== undefined) throw new EngineError('unsupported', `output: ${wanted}=${attributes[wanted]}: not supported by this version of Gantry`)
}

/** Refuses what no output or cache can be, before anything is built. */
export function checkOutputs(outputs: readonly OutputRequest[], caches: readonly OutputRequest[]): void {
  for (const { Type, Attrs } of outputs) {
    if (SHOWN[Type] === undefined) throw new EngineError('unsupported', `output type ${JSON.stringify(Type)}: expected one of image, docker, oci, local, tar`)
    refuse(Attrs)
    outputForm(Attrs)
  }
  for (const cache of caches) checkCache(cache)
}
