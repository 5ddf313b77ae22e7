import { EngineError } from '@gantry/std'
import type { Route } from '../router.ts'

/** Paths of the Engine API (1.51 and later) that this version does not serve. A client sees why, not that the page is unknown. */
const MISSING: readonly (readonly [method: Route['method'], path: string, what: string])[] = [
  ['GET', '/images/{name:}/attestations', 'attestations'],
  ['POST', '/build', 'build'],
  ['POST', '/session', 'build'],
  ['POST', '/grpc', 'build'],
  ['PUT', '/volumes/{name}', 'update of a cluster volume'],
  ...(['GET', 'POST', 'DELETE'] as const).map((method) => [method, '/plugins/{rest:}', 'plugins'] as const),
]

/** A route for each, with a status that clients show as it is. */
export function missingRoutes(): readonly Route[] {
  return MISSING.map(([method, path, what]) => ({
    method,
    path,
    handle: async () => {
      throw new EngineError('unsupported', `${what} is not supported by this version of Gantry`)
    },
  }))
}
