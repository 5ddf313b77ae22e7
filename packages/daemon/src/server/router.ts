import type { Duplex } from 'node:stream'
import { MAX_API_VERSION, MIN_API_VERSION, UNVERSIONED_API_VERSION, versionNumber } from '@gantry/api'
import { EngineError } from '@gantry/std'
import type { ApiRequest } from './request.ts'

/** One route: `/containers/{id}/json`; a name followed by `:` takes slashes too. */
export interface Route {
  readonly method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'DELETE'
  readonly path: string
  readonly handle: (request: ApiRequest) => Promise<void>
}

/** What a request came to. */
export interface Match {
  readonly route: Route
  readonly params: Readonly<Record<string, string>>
  readonly apiVersion: number
}

/** Finds the handler of a method and path. */
export interface Router {
  /** Takes connections that speak HTTP/2 from their first byte on: BuildKit's clients. */
  readonly http2: ((socket: Duplex) => void) | undefined
  match(method: string, path: string): Match | undefined
}

interface Compiled {
  readonly route: Route
  readonly pattern: RegExp
  readonly names: readonly string[]
}

function compile(route: Route): Compiled {
  const names: string[] = []
  const pattern = route.path.replace(/\{(\w+)(:?)\}/g, (_, name: string, greedy: string) => {
    names.push(name)
    return greedy === '' ? '([^/]+)' : '(.+)'
  })
  return { route, names, pattern: new RegExp(`^${pattern}/?$`) }
}

/** The version in a path; outside the range is an error in the words that clients look for. */
export function splitVersion(path: string): { readonly rest: string; readonly apiVersion: number } {
  const match = /^\/v(\d+\.\d+)(\/.*)$/.exec(path)
  if (match === null) return { rest: path, apiVersion: versionNumber(UNVERSIONED_API_VERSION) }
  const [, version = '', rest = ''] = match
  const number = versionNumber(version)
  if (number > versionNumber(MAX_API_VERSION)) throw new EngineError('invalid', `client version ${version} is too new. Maximum supported API version is ${MAX_API_VERSION}`)
  if (number < versionNumber(MIN_API_VERSION)) throw new EngineError('invalid', `client version ${version} is too old. Minimum supported API version is ${MIN_API_VERSION}, please upgrade your client to a newer version`)
  return { rest, apiVersion: number }
}

/** Makes a router; routes are tried by their first word, then in order. */
export function createRouter(routes: readonly Route[], http2?: (socket: Duplex) => void): Router {
  const groups = new Map<string, Compiled[]>()
  for (const route of routes) {
    const key = `${route.method} ${route.path.split('/')[1] ?? ''}`
    groups.set(key, [...(groups.get(key) ?? []), compile(route)])
  }
  return {
    http2,
    match(method, path) {
      const { rest, apiVersion } = splitVersion(path)
      for (const { route, pattern, names } of groups.get(`${method} ${rest.split('/')[1] ?? ''}`) ?? []) {
        const found = pattern.exec(rest)
        if (found === null) continue
        const params: Record<string, string> = {}
        names.forEach((name, index) => {
          params[name] = decode(found[index + 1] ?? '')
        })
        return { route, params, apiVersion }
      }
      return undefined
    },
  }
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch (cause) {
    throw new EngineError('invalid', `path is not properly encoded: ${text}`, { cause })
  }
}
