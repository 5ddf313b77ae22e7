import type { Duplex } from 'node:stream'
import type { StepResources } from '@gantry/builder'
import type { Credentials } from '@gantry/registry'
import { asInteger, asList, asObject, asString, asStringMap, asStrings, collect, EngineError, messageOf, writePaced } from '@gantry/std'
import { credentialsOf } from '../../images/registries.ts'
import type { BuildRequest, OutputRequest } from '../../jobs/build.ts'
import type { DaemonEngine } from '../../jobs/jobs.ts'
import type { Tell } from '../../images/progress.ts'
import { parseFilters } from '../filters.ts'
import { withProgress } from '../progress.ts'
import { type ApiRequest, bodyOf, flag, jsonBody, numberOf, param } from '../request.ts'
import { sendEmpty, sendJson } from '../respond.ts'
import type { Route } from '../router.ts'

/** Rows of a million files. */
const LIST_LIMIT = 128 << 20
const PRUNE_FILTERS: ReadonlySet<string> = new Set(['until', 'id', 'type'])

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


/** A parameter that is a JSON list of texts, or given once for each. */
function textsOf(query: URLSearchParams, name: string): readonly string[] {
  return (query.get(name) ?? '').startsWith('[') ? jsonOf<readonly string[]>(query, name, [], (value) => asStrings(value, name)) : query.getAll(name).filter((one) => one !== '')
}

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
    securityOpt: textsOf(query, 'securityopt'),
  }
}

/** An output or a cache: `{Type, Attrs}`. */
function outputOf(value: unknown, what: string): OutputRequest {
  const o = asObject(value, what)
  return { Type: asString(o['Type'], `${what}.Type`), Attrs: asStringMap(o['Attrs'] ?? {}, `${what}.Attrs`) }
}

function outputsOf(query: URLSearchParams, name: string): readonly OutputRequest[] {
  return jsonOf<readonly OutputRequest[]>(query, name, [], (value) => asList(value, name).map((one, index) => outputOf(one, `${name}[${index}]`)))
}

/** The session of a build with `version=2`. */
function sessionOf(query: URLSearchParams): string {
  const session = query.get('session') ?? ''
  if (session === '') throw new EngineError('invalid', 'version=2: expected the id of a session')
  return session
}

/** A request that brings the archive of another (`buildid=upload-request:ID`); its id. */
function uploadOf(query: URLSearchParams): string | undefined {
  const id = query.get('buildid') ?? ''
  return query.get('version') === '2' && id.startsWith('upload-request:') ? id.slice('upload-request:'.length) : undefined
}

function buildRequest(request: ApiRequest, tell: Tell): BuildRequest {
  const { query } = request
  if (flag(query, 'squash')) throw new EngineError('unsupported', 'squash: squashing layers of a build is not supported')
  const isolation = query.get('isolation') ?? ''
  if (!['', 'default'].includes(isolation)) throw new EngineError('invalid', `Unsupported isolation: ${JSON.stringify(isolation)}`)
  const given = jsonOf<Readonly<Record<string, unknown>>>(query, 'buildargs', {}, (value) => asObject(value, 'buildargs'))
  return {
    dockerfile: query.get('dockerfile') ?? '', remote: query.get('remote') ?? '', offer: query.get('offer') ?? '', secrets: query.get('secrets') ?? '', agents: query.get('agents') ?? '', noCacheStages: new Set(query.getAll('nocachefilter').map((name) => name.toLowerCase())), contexts: new Map(Object.entries(jsonOf(query, 'contexts', {}, (value) => asStringMap(value, 'contexts')))), tags: query.getAll('t').filter((tag) => tag !== ''), quiet: flag(query, 'q'), noCache: flag(query, 'nocache'), pull: flag(query, 'pull'), target: query.get('target') ?? '',
    buildArgs: new Map(Object.entries(given).filter(([, value]) => value !== null).map(([name, value]) => [name, asString(value, `buildargs.${name}`)])), labels: jsonOf(query, 'labels', {}, (value) => asStringMap(value, 'labels')),
    platform: query.get('platform') ?? '', cacheFrom: jsonOf<BuildRequest['cacheFrom']>(query, 'cachefrom', [], (value) => asList(value, 'cachefrom').map((one, index) => (typeof one === 'string' ? one : outputOf(one, `cachefrom[${index}]`)))),
    outputs: outputsOf(query, 'outputs'), cacheTo: outputsOf(query, 'cacheto'), entitlements: query.getAll('allow'), question: query.get('call') ?? '', network: query.get('networkmode') ?? '', hosts: textsOf(query, 'extrahosts'),
    resources: resourcesOf(query), credentials: registryConfig(request), buildId: query.get('buildid') ?? '', session: query.get('version') === '2' ? sessionOf(query) : '', steps: flag(query, 'steps'), check: flag(query, 'check'), tell,
  }
}

/** The connection, once the client speaks HTTP/2 on it (`Upgrade: h2c`). */
function upgraded(request: ApiRequest): Duplex {
  const wanted = String(request.message.headers.upgrade ?? '')
  if (wanted.toLowerCase() !== 'h2c') throw new EngineError('invalid', `Upgrade: ${JSON.stringify(wanted)}: expected h2c`)
  return request.hijack('', 'h2c')
}

/** Routes of the builder. */
export function buildRoutes(engine: DaemonEngine): readonly Route[] {
  return [
    {
      method: 'POST',
      path: '/build',
      async handle(request) {
        const upload = uploadOf(request.query)
        if (upload === undefined) return withProgress(request, (tell) => engine.run('build.image', buildRequest(request, tell), { stdio: { input: bodyOf(request) }, signal: request.signal }))
        await engine.run('build.upload', { id: upload }, { stdio: { input: bodyOf(request) }, signal: request.signal })
        sendJson(request.response, 200, {})
      },
    },
    {
      // Ours: a client that lists the context first sends only what is not there.
      method: 'POST',
      path: '/build/context',
      handle: async (request) => sendJson(request.response, 200, await engine.run('build.offer', { from: request.query.get('from') ?? '', list: await collect(bodyOf(request), LIST_LIMIT) })),
    },
    {
      method: 'POST',
      path: '/build/context/{id}',
      handle: async (request) => {
        await engine.run('build.complete', { id: param(request, 'id') }, { stdio: { input: bodyOf(request) } })
        sendEmpty(request.response, 204)
      },
    },
    {
      // Ours: what a build came to, as an archive.
      method: 'GET',
      path: '/build/outputs/{id}',
      async handle(request) {
        const { response } = request
        const write = (chunk: Uint8Array): Promise<void> => {
          if (!response.headersSent) response.writeHead(200, { 'Content-Type': 'application/x-tar' })
          return writePaced(response, chunk)
        }
        await engine.run('build.output', { id: param(request, 'id') }, { stdio: { write }, signal: request.signal })
        response.end()
      },
    },
    {
      // Ours: a connection on which we ask an agent of the client.
      method: 'POST',
      path: '/build/agents/{token}',
      handle: (request) => engine.run('build.agent', { token: param(request, 'token'), id: request.query.get('id') ?? 'default', socket: request.hijack('') }, { signal: request.signal }).then(() => undefined),
    },
    {
      method: 'POST',
      path: '/build/secrets',
      handle: async (request) => {
        const values = Object.entries(asStringMap(await jsonBody(request), 'body')).map(([name, value]) => [name, Buffer.from(value, 'base64')] as const)
        sendJson(request.response, 200, await engine.run('build.secrets', { values: new Map(values) }))
      },
    },
    {
      method: 'POST',
      path: '/grpc',
      handle: (request) => engine.run('build.connect', { socket: upgraded(request), header: undefined }),
    },
    {
      method: 'POST',
      path: '/session',
      handle: (request) => engine.run('build.connect', { socket: upgraded(request), header: (name) => String(request.message.headers[name] ?? '') }),
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
