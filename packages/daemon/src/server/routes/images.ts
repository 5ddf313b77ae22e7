import { EngineError, type ImageRunConfig, writePaced } from '@gantry/std'
import { parseReference } from '@gantry/registry'
import { IMAGE_FILTERS } from '../../images/images.ts'
import type { DaemonEngine } from '../../jobs/jobs.ts'
import { parseFilters } from '../filters.ts'
import { type ApiRequest, flag, jsonBody, param } from '../request.ts'
import { sendEmpty, sendJson } from '../respond.ts'
import type { Route } from '../router.ts'

const PRUNE_FILTERS: ReadonlySet<string> = new Set(['dangling', 'label', 'label!', 'until'])

async function createImage(engine: DaemonEngine, request: ApiRequest): Promise<void> {
  const { query, response } = request
  const [from, source] = [query.get('fromImage') ?? '', query.get('fromSrc') ?? '']
  if (from !== '') {
    parseReference(query.get('tag') ? `${from}:${query.get('tag')}` : from)
    throw new EngineError('unsupported', `pull of ${from} is not supported by this version of Gantry: load an archive (docker load) or import a root file system`)
  }
  if (source !== '-') throw new EngineError(source === '' ? 'invalid' : 'unsupported', source === '' ? 'fromImage or fromSrc is needed' : `import from ${source} is not supported: send the archive with fromSrc=-`)
  const { id } = await engine.run(
    'image.import',
    { repository: query.get('repo') ?? '', tag: query.get('tag') ?? '', message: query.get('message') ?? '', changes: query.getAll('changes') },
    { stdio: { input: request.message }, signal: request.signal },
  )
  response.writeHead(200, { 'Content-Type': 'application/json' })
  response.end(`${JSON.stringify({ status: id })}\r\n`)
}

async function load(engine: DaemonEngine, request: ApiRequest): Promise<void> {
  const { lines } = await engine.run('image.load', {}, { stdio: { input: request.message }, signal: request.signal })
  request.response.writeHead(200, { 'Content-Type': 'application/json' })
  request.response.end(lines.map((line) => `${JSON.stringify({ stream: line })}\r\n`).join(''))
}

async function save(engine: DaemonEngine, request: ApiRequest, names: readonly string[]): Promise<void> {
  const { response } = request
  const onReady = (): void => void response.writeHead(200, { 'Content-Type': 'application/x-tar' })
  await engine.run('image.save', { names, onReady }, { stdio: { write: (chunk) => writePaced(response, chunk) }, signal: request.signal })
  response.end()
}

async function commit(engine: DaemonEngine, request: ApiRequest): Promise<void> {
  const { query } = request
  const body = await jsonBody(request)
  const result = await engine.run('container.commit', {
    key: query.get('container') ?? '', repository: query.get('repo') ?? '', tag: query.get('tag') ?? '', author: query.get('author') ?? '', comment: query.get('comment') ?? '', pause: flag(query, 'pause', true), changes: query.getAll('changes'), config: commitConfig(body),
  })
  sendJson(request.response, 201, { Id: result.id })
}

/** The Config in a commit request: only what is set counts. */
function commitConfig(body: Readonly<Record<string, unknown>>): ImageRunConfig {
  return Object.fromEntries(Object.entries(body).filter(([name, value]) => ['User', 'ExposedPorts', 'Env', 'Entrypoint', 'Cmd', 'Volumes', 'WorkingDir', 'Labels', 'StopSignal'].includes(name) && value !== null && value !== '' && Object.keys(value as object).length > 0)) as ImageRunConfig
}

/** All image routes. */
export function imageRoutes(engine: DaemonEngine): readonly Route[] {
  const name = (request: ApiRequest): string => param(request, 'name')
  return [
    { method: 'GET', path: '/images/json', handle: async ({ query, response }) => sendJson(response, 200, await engine.run('image.list', { all: flag(query, 'all'), filters: parseFilters(query.get('filters') ?? '', IMAGE_FILTERS) })) },
    { method: 'GET', path: '/images/get', handle: (request) => save(engine, request, request.query.getAll('names').flatMap((list) => list.split(','))) },
    { method: 'POST', path: '/images/create', handle: (request) => createImage(engine, request) },
    { method: 'POST', path: '/images/load', handle: (request) => load(engine, request) },
    {
      method: 'POST', path: '/images/prune',
      handle: async ({ query, response }) => {
        const { deleted, bytes } = await engine.run('image.prune', { filters: parseFilters(query.get('filters') ?? '', PRUNE_FILTERS) })
        sendJson(response, 200, { ImagesDeleted: deleted.length === 0 ? null : deleted, SpaceReclaimed: bytes })
      },
    },
    { method: 'GET', path: '/images/{name:}/json', handle: async (request) => sendJson(request.response, 200, await engine.run('image.inspect', { name: name(request), apiVersion: request.apiVersion })) },
    { method: 'GET', path: '/images/{name:}/history', handle: async (request) => sendJson(request.response, 200, await engine.run('image.history', { name: name(request) })) },
    { method: 'GET', path: '/images/{name:}/get', handle: (request) => save(engine, request, [name(request)]) },
    {
      method: 'POST', path: '/images/{name:}/tag',
      handle: async (request) => {
        await engine.run('image.tag', { name: name(request), repository: request.query.get('repo') ?? '', tag: request.query.get('tag') ?? '' })
        sendEmpty(request.response, 201)
      },
    },
    { method: 'DELETE', path: '/images/{name:}', handle: async (request) => sendJson(request.response, 200, await engine.run('image.remove', { name: name(request), force: flag(request.query, 'force') })) },
    { method: 'POST', path: '/commit', handle: (request) => commit(engine, request) },
  ]
}
