import { EngineError } from '@gantry/std'
import { param } from '../request.ts'
import type { Route } from '../router.ts'

/** Paths of the Engine API (1.51 and later) that this version does not serve. A client sees why, not that the page is unknown. */
const MISSING: readonly (readonly [method: Route['method'], path: string, what: string])[] = [
  ['GET', '/images/{name:}/attestations', 'attestations'],
  ['PUT', '/volumes/{name}', 'update of a cluster volume'],
  ['GET', '/plugins/privileges', 'plugins that the engine installs'],
  ['POST', '/plugins/pull', 'plugins that the engine installs'],
  ['POST', '/plugins/create', 'plugins that the engine installs'],
]

/** No plugin is installed: none is found. */
function pluginRoutes(): readonly Route[] {
  const handle: Route['handle'] = async (request) => {
    throw new EngineError('not-found', `plugin "${param(request, 'name')}" not found`)
  }
  return [
    { method: 'GET', path: '/plugins/{name:}/json', handle },
    ...['enable', 'disable', 'upgrade', 'push', 'set'].map((verb) => ({ method: 'POST' as const, path: `/plugins/{name:}/${verb}`, handle })),
    { method: 'DELETE', path: '/plugins/{name:}', handle },
  ]
}

/** A route for each, with a status that clients show as it is. */
export function missingRoutes(): readonly Route[] {
  const missing = MISSING.map(([method, path, what]) => ({
    method,
    path,
    handle: async () => {
      throw new EngineError('unsupported', `${what} is not supported by this version of Gantry`)
    },
  }))
  return [...missing, ...pluginRoutes()]
}
