import { type EventMessage, isSince } from '@gantry/api'
import { asString, asStringMap, EngineError, parseTimestamp, writePaced } from '@gantry/std'
import type { DaemonEngine } from '../../jobs/jobs.ts'
import { USAGE_TYPES } from '../../system/disk-usage.ts'
import { parseFilters } from '../filters.ts'
import { type ApiRequest, flag, jsonBody, param } from '../request.ts'
import { sendEmpty, sendJson } from '../respond.ts'
import { PING_HEADERS } from '../server.ts'
import type { Route } from '../router.ts'

const VOLUME_FILTERS: ReadonlySet<string> = new Set(['dangling', 'driver', 'label', 'name'])
const PRUNE_FILTERS: ReadonlySet<string> = new Set(['label', 'label!', 'all', 'until'])

/** How events are told apart, as the client asks for it: RFC 7464 has a mark before each. */
function eventForm({ message, apiVersion }: ApiRequest): { readonly type: string; readonly before: string } {
  const accepted = (message.headers.accept ?? '').split(',').map((one) => one.split(';')[0]?.trim().toLowerCase() ?? '')
  const known = isSince(apiVersion, '1.53') ? ['application/jsonl', 'application/x-ndjson', 'application/json-seq'] : isSince(apiVersion, '1.52') ? ['application/x-ndjson', 'application/json-seq'] : []
  const type = accepted.find((one) => known.includes(one)) ?? 'application/json'
  return { type, before: type === 'application/json-seq' ? '\u001e' : '' }
}

async function events(engine: DaemonEngine, request: ApiRequest): Promise<void> {
  const { query, response } = request
  const time = (name: string): bigint | undefined => {
    const value = query.get(name)
    return value === null || value === '' ? undefined : parseTimestamp(value)
  }
  const input = { since: time('since'), until: time('until'), filters: parseFilters(query.get('filters') ?? '') }
  const { type, before } = eventForm(request)
  response.writeHead(200, { 'Content-Type': type })
  response.flushHeaders()
  const shown = (event: EventMessage): unknown => {
    if (!isSince(request.apiVersion, '1.52')) return event
    const { status, id, from, ...current } = event
    return current
  }
  await engine.run('system.events', { ...input, onEvent: (event) => void response.write(`${before}${JSON.stringify(shown(event))}\n`) }, { signal: request.signal })
  response.end()
}

function volumeRoutes(engine: DaemonEngine): readonly Route[] {
  return [
    {
      method: 'GET', path: '/system/df',
      handle: async ({ query, response, apiVersion }) => {
        const types = query.getAll('type')
        const unknown = types.find((type) => !USAGE_TYPES.has(type))
        if (unknown !== undefined) throw new EngineError('invalid', `unknown object type: ${unknown}`)
        sendJson(response, 200, await engine.run('system.usage', { types, apiVersion, verbose: flag(query, 'verbose') }))
      },
    },
    { method: 'GET', path: '/volumes', handle: async ({ query, response }) => sendJson(response, 200, { Volumes: await engine.run('volume.list', { filters: parseFilters(query.get('filters') ?? '', VOLUME_FILTERS) }), Warnings: null }) },
    {
      method: 'POST', path: '/volumes/create',
      handle: async (request) => {
        const body = await jsonBody(request)
        sendJson(request.response, 201, await engine.run('volume.create', { name: asString(body['Name'], 'Name'), driver: asString(body['Driver'], 'Driver'), labels: asStringMap(body['Labels'], 'Labels'), options: asStringMap(body['DriverOpts'], 'DriverOpts') }))
      },
    },
    {
      method: 'POST', path: '/volumes/prune',
      handle: async ({ query, response }) => {
        const { removed, bytes } = await engine.run('volume.prune', { filters: parseFilters(query.get('filters') ?? '', PRUNE_FILTERS) })
        sendJson(response, 200, { VolumesDeleted: removed.length === 0 ? null : removed, SpaceReclaimed: bytes })
      },
    },
    {
      method: 'POST', path: '/volumes/{name}/rename',
      handle: async (request) => {
        await engine.run('volume.rename', { name: param(request, 'name'), to: request.query.get('name') ?? '' })
        sendEmpty(request.response, 204)
      },
    },
    {
      method: 'GET', path: '/volumes/{name}/archive',
      handle: async (request) => {
        const { response } = request
        await engine.run('volume.export', { name: param(request, 'name'), onReady: () => void response.writeHead(200, { 'Content-Type': 'application/x-tar' }) }, { stdio: { write: (chunk) => writePaced(response, chunk) }, signal: request.signal })
        response.end()
      },
    },
    {
      method: 'PUT', path: '/volumes/{name}/archive',
      handle: async (request) => {
        await engine.run('volume.import', { name: param(request, 'name') }, { stdio: { input: request.message }, signal: request.signal })
        sendEmpty(request.response, 200)
      },
    },
    { method: 'GET', path: '/volumes/{name}', handle: async (request) => sendJson(request.response, 200, await engine.run('volume.inspect', { name: param(request, 'name') })) },
    {
      method: 'DELETE', path: '/volumes/{name}',
      handle: async (request) => {
        await engine.run('volume.remove', { name: param(request, 'name'), force: flag(request.query, 'force') })
        sendEmpty(request.response, 204)
      },
    },
  ]
}

/** Outside a swarm an engine answers these so. */
function swarmRoutes(): readonly Route[] {
  const handle = async (): Promise<void> => {
    throw new EngineError('unavailable', 'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm and try again.')
  }
  const leave = async (): Promise<void> => {
    throw new EngineError('unavailable', 'This node is not part of a swarm')
  }
  return [{ method: 'POST' as const, path: '/swarm/leave', handle: leave }, ...['swarm', 'nodes', 'services', 'tasks', 'secrets', 'configs'].flatMap((word) => (['GET', 'POST', 'DELETE'] as const).flatMap((method): readonly Route[] => [{ method, path: `/${word}`, handle }, { method, path: `/${word}/{rest:}`, handle }]))]
}

/** Routes of volumes and the daemon itself. */
export function systemRoutes(engine: DaemonEngine): readonly Route[] {
  const ping: Route['handle'] = async ({ message, response }) => {
    response.writeHead(200, { ...PING_HEADERS, 'Content-Length': message.method === 'HEAD' ? 0 : 2 })
    response.end(message.method === 'HEAD' ? undefined : 'OK')
  }
  return [
    { method: 'GET', path: '/_ping', handle: ping },
    { method: 'HEAD', path: '/_ping', handle: ping },
    { method: 'GET', path: '/version', handle: async ({ response }) => sendJson(response, 200, await engine.run('system.version', {})) },
    { method: 'GET', path: '/info', handle: async ({ response }) => sendJson(response, 200, await engine.run('system.info', {})) },
    { method: 'GET', path: '/events', handle: (request) => events(engine, request) },
    { method: 'GET', path: '/jobs', handle: async ({ response }) => sendJson(response, 200, await engine.run('system.jobs', {})) },
    { method: 'GET', path: '/plugins', handle: async ({ response }) => sendJson(response, 200, []) },
    ...volumeRoutes(engine),
    ...swarmRoutes(),
  ]
}
