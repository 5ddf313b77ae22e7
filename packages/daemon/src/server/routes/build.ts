import type { StepResources } from '@gantry/builder'
import type { Credentials } from '@gantry/registry'
import { asInteger, asList, asObject, asString, EngineError, messageOf } from '@gantry/std'
import { credentialsOf } from '../../images/registries.ts'
import type { BuildRequest } from '../../jobs/build.ts'
import type { DaemonEngine } from '../../jobs/jobs.ts'
import type { Tell } from '../../images/progress.ts'
import { parseFilters } from '../filters.ts'
import { withProgress } from '../progress.ts'
import { type ApiRequest, bodyOf, flag, numberOf } from '../request.ts'
import { sendEmpty, sendJson } from '../respond.ts'
import type { Route } from '../router.ts'

const PRUNE_FILTERS: ReadonlySet<string> = new Set(['until', 'id', 'parent', 'type', 'description', 'inuse', 'shared', 'private'])

/** A parameter that is JSON. */
function jsonOf<T>(query: URLSearchParams, name: string, fallback: T, read: (value: unknown) => T): T {
  const text = query.get(name) ?? ''
  if (text === '') return fallback
  try {
    return read(JSON.parse(text))
  } catch (cause) {
    throw new EngineError('invalid', `error reading ${name}: ${messageOf(cause)}`, { cause })
  }
}

const stringMap = (value: unknown, field: string): Readonly<Record<string, string>> => Object.fromEntries(Object.entries(asObject(value, field)).map(([name, text]) => [name, asString(text, `${field}.${name}`)]))

/** `X-Registry-Config`: credentials by the registry's name. */
function registryConfig(request: ApiRequest): ReadonlyMap<string, Credentials> {
  const header = String(request.message.headers['x-registry-config'] ?? '')
  if (header === '') return new Map()
  try {
    const all = asObject(JSON.parse(Buffer.from(header, 'base64url').toString('utf8')), 'X-Registry-Config')
    return new Map(Object.entries(all).map(([name, value]) => [name, credentialsOf(asObject(value, name))]))
  } catch (cause) {
    throw new EngineError('invalid', `invalid X-Registry-Config header: ${messageOf(cause)}`, { cause })
  }
}

function resourcesOf(query: URLSearchParams): StepResources {
  return {
    memory: numberOf(query, 'memory', 0), memorySwap: numberOf(query, 'memswap', 0), cpuShares: numberOf(query, 'cpushares', 0), cpuPeriod: numberOf(query, 'cpuperiod', 0), cpuQuota: numberOf(query, 'cpuquota', 0),
    cpusetCpus: query.get('cpusetcpus') ?? '', cpusetMems: query.get('cpusetmems') ?? '', shmSize: numberOf(query, 'shmsize', 0), cgroupParent: query.get('cgroupparent') ?? '',
    ulimits: jsonOf(query, 'ulimits', [], (value) => asList(value, 'ulimits').map((one, index) => {
      const o = asObject(one, `ulimits[${index}]`)
      return { Name: asString(o['Name'], 'Name'), Soft: asInteger(o['Soft'], 'Soft'), Hard: asInteger(o['Hard'], 'Hard') }
    })),
    securityOpt: query.getAll('securityopt').flatMap((text) => (text.startsWith('[') ? (JSON.parse(text) as readonly string[]) : [text])),
  }
}

function buildRequest(request: ApiRequest, tell: Tell): BuildRequest {
  const { query } = request
  if (flag(query, 'squash')) throw new EngineError('unsupported', 'squash: squashing layers of a build is not supported')
  if (query.get('version') === '2') throw new EngineError('unsupported', 'version=2: BuildKit is not supported by this version of Gantry')
  const outputs = jsonOf(query, 'outputs', [], (value) => asList(value, 'outputs'))
  if (outputs.length > 0) throw new EngineError('unsupported', 'outputs: only images are made here')
  const isolation = query.get('isolation') ?? ''
  if (!['', 'default'].includes(isolation)) throw new EngineError('invalid', `Unsupported isolation: ${JSON.stringify(isolation)}`)
  const given = jsonOf<Readonly<Record<string, unknown>>>(query, 'buildargs', {}, (value) => asObject(value, 'buildargs'))
  return {
    dockerfile: query.get('dockerfile') ?? '', remote: query.get('remote') ?? '', tags: query.getAll('t').filter((tag) => tag !== ''), quiet: flag(query, 'q'), noCache: flag(query, 'nocache'), pull: flag(query, 'pull'), target: query.get('target') ?? '',
    buildArgs: new Map(Object.entries(given).filter(([, value]) => value !== null).map(([name, value]) => [name, asString(value, `buildargs.${name}`)])), labels: jsonOf(query, 'labels', {}, (value) => stringMap(value, 'labels')),
    platform: query.get('platform') ?? '', cacheFrom: jsonOf(query, 'cachefrom', [], (value) => asList(value, 'cachefrom').map((one) => asString(one, 'cachefrom'))), network: query.get('networkmode') ?? '', hosts: (query.get('extrahosts') ?? '').startsWith('[') ? jsonOf(query, 'extrahosts', [], (value) => asList(value, 'extrahosts').map((one) => asString(one, 'extrahosts'))) : query.getAll('extrahosts').filter((one) => one !== ''),
    resources: resourcesOf(query), credentials: registryConfig(request), buildId: query.get('buildid') ?? '', steps: flag(query, 'steps'), check: flag(query, 'check'), tell,
  }
}

/** Routes of the builder. */
export function buildRoutes(engine: DaemonEngine): readonly Route[] {
  return [
    {
      method: 'POST',
      path: '/build',
      handle: (request) => withProgress(request, (tell) => engine.run('build.image', buildRequest(request, tell), { stdio: { input: bodyOf(request) }, signal: request.signal })),
    },
    {
      method: 'POST',
      path: '/build/cancel',
      async handle({ query, response }) {
        const buildId = query.get('id') ?? ''
        if (buildId === '') throw new EngineError('invalid', 'build ID not provided')
        await engine.run('build.cancel', { buildId })
        sendEmpty(response, 204)
      },
    },
    {
      method: 'POST',
      path: '/build/prune',
      async handle({ query, response }) {
        const keepBytes = Math.max(numberOf(query, 'keep-storage', 0), numberOf(query, 'reserved-space', 0))
        const { ids, bytes } = await engine.run('build.prune', { all: flag(query, 'all'), keepBytes, filters: parseFilters(query.get('filters') ?? '', PRUNE_FILTERS) })
        sendJson(response, 200, { CachesDeleted: ids.length === 0 ? null : ids, SpaceReclaimed: bytes })
      },
    },
  ]
}
