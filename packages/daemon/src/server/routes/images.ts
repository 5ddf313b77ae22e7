import { asObject, asString, EngineError, type ImageRunConfig, messageOf, writePaced } from '@gantry/std'
import type { Credentials } from '@gantry/registry'
import { IMAGE_FILTERS } from '../../images/images.ts'
import { credentialsOf, parseAuthHeader } from '../../images/registries.ts'
import type { DaemonEngine } from '../../jobs/jobs.ts'
import { parseFilters } from '../filters.ts'
import { withProgress } from '../progress.ts'
import { type ApiRequest, flag, jsonBody, numberOf, param } from '../request.ts'
import { sendEmpty, sendJson } from '../respond.ts'
import type { Route } from '../router.ts'

const SEARCH_FILTERS: ReadonlySet<string> = new Set(['stars', 'is-official', 'is-automated'])
const PRUNE_FILTERS: ReadonlySet<string> = new Set(['dangling', 'label', 'label!', 'until'])

/** `X-Registry-Auth` of a request. */
function authOf(request: ApiRequest): Credentials {
  return parseAuthHeader(String(request.message.headers['x-registry-auth'] ?? ''))
}

async function push(engine: DaemonEngine, request: ApiRequest): Promise<void> {
  const { query } = request
  const credentials = authOf(request)
  await withProgress(request, (tell) => engine.run('image.push', { name: param(request, 'name'), tag: query.get('tag') ?? '', platform: platformOf(request), credentials, tell }, { signal: request.signal }))
}

async function login(engine: DaemonEngine, request: ApiRequest): Promise<void> {
  const body = await jsonBody(request)
  const { status } = await engine.run('registry.login', { address: asString(body['serveraddress'], 'serveraddress'), credentials: credentialsOf(body) }, { signal: request.signal })
  sendJson(request.response, 200, { Status: status, IdentityToken: '' })
}

async function createImage(engine: DaemonEngine, request: ApiRequest): Promise<void> {
  const { query } = request
  const [from, source] = [query.get('fromImage') ?? '', query.get('fromSrc') ?? '']
  if (from !== '') {
    const credentials = authOf(request)
    return withProgress(request, (tell) => engine.run('image.pull', { name: from, tag: query.get('tag') ?? '', platform: query.get('platform') ?? '', credentials, tell }, { signal: request.signal }))
  }
  if (source === '') throw new EngineError('invalid', 'fromImage or fromSrc is needed')
  const wanted = { url: source === '-' ? '' : source, repository: query.get('repo') ?? '', tag: query.get('tag') ?? '', message: query.get('message') ?? '', changes: query.getAll('changes'), platform: query.get('platform') ?? '', total: lengthOf(request) }
  await withProgress(request, async (tell) => {
    const { id } = await engine.run('image.import', { ...wanted, tell }, { stdio: { input: request.message }, signal: request.signal })
    tell({ status: id })
  })
}

/** `{"os":"linux","architecture":"amd64"}` as `linux/amd64`; empty where there is none. */
function platformText(text: string, field: string): string {
  if (text === '') return ''
  try {
    const wanted = asObject(JSON.parse(text), field)
    return [wanted['os'], wanted['architecture'], wanted['variant']].filter((part) => typeof part === 'string' && part !== '').join('/')
  } catch (cause) {
    throw new EngineError('invalid', `failed to parse ${field}: ${messageOf(cause)}`, { cause })
  }
}

function platformOf(request: ApiRequest): string {
  const all = request.query.getAll('platform')
  if (all.length > 1) throw new EngineError('invalid', 'platform: expected one platform')
  return platformText(all[0] ?? '', 'platform')
}

/** Bytes of a request's body; 0 where the client does not say. */
const lengthOf = (request: ApiRequest): number => Number(request.message.headers['content-length'] ?? 0)

async function load(engine: DaemonEngine, request: ApiRequest): Promise<void> {
  const quiet = flag(request.query, 'quiet')
  await withProgress(request, async (tell) => {
    const { lines } = await engine.run('image.load', { platform: platformOf(request), total: lengthOf(request), tell: quiet ? () => undefined : tell }, { stdio: { input: request.message }, signal: request.signal })
    for (const stream of lines) tell({ stream })
  })
}

async function save(engine: DaemonEngine, request: ApiRequest, names: readonly string[]): Promise<void> {
  const { response } = request
  const onReady = (): void => void response.writeHead(200, { 'Content-Type': 'application/x-tar' })
  await engine.run('image.save', { names, platform: platformOf(request), onReady }, { stdio: { write: (chunk) => writePaced(response, chunk) }, signal: request.signal })
  response.end()
}

/** Ours: what a registry in front of this engine reads. */
async function sendManifest(engine: DaemonEngine, request: ApiRequest): Promise<void> {
  const manifest = await engine.run('image.manifest', { name: param(request, 'name') })
  request.response.writeHead(200, { 'Content-Type': 'application/vnd.oci.image.manifest.v1+json', 'Content-Length': manifest.length })
  request.response.end(manifest)
}

/** Ours: `length` bytes from `start` on of a layer's archive or a configuration; the size of the whole is in `X-Gantry-Size`. */
async function sendBlob(engine: DaemonEngine, request: ApiRequest): Promise<void> {
  const { response, query } = request
  const [start, length] = [numberOf(query, 'start', 0), numberOf(query, 'length', Number.MAX_SAFE_INTEGER)]
  const onSize = (bytes: number): void => void response.writeHead(200, { 'Content-Type': 'application/octet-stream', 'Content-Length': Math.max(0, Math.min(length, bytes - start)), 'X-Gantry-Size': bytes })
  await engine.run('image.blob', { digest: param(request, 'digest'), start, length, onSize }, { stdio: { write: (chunk) => writePaced(response, chunk) }, signal: request.signal })
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
    { method: 'GET', path: '/images/{name:}/json', handle: async (request) => sendJson(request.response, 200, await engine.run('image.inspect', { name: name(request), apiVersion: request.apiVersion, platform: platformOf(request) })) },
    { method: 'GET', path: '/images/{name:}/history', handle: async (request) => sendJson(request.response, 200, await engine.run('image.history', { name: name(request), platform: platformOf(request) })) },
    { method: 'GET', path: '/images/{name:}/get', handle: (request) => save(engine, request, [name(request)]) },
    {
      method: 'POST', path: '/images/{name:}/tag',
      handle: async (request) => {
        await engine.run('image.tag', { name: name(request), repository: request.query.get('repo') ?? '', tag: request.query.get('tag') ?? '' })
        sendEmpty(request.response, 201)
      },
    },
    { method: 'DELETE', path: '/images/{name:}', handle: async (request) => sendJson(request.response, 200, await engine.run('image.remove', { name: name(request), force: flag(request.query, 'force'), keepParents: flag(request.query, 'noprune'), platforms: request.query.getAll('platforms').map((text) => platformText(text, 'platforms')) })) },
    { method: 'POST', path: '/images/{name:}/push', handle: (request) => push(engine, request) },
    {
      method: 'GET', path: '/images/search',
      handle: async (request) => {
        const { query } = request
        const filters = parseFilters(query.get('filters') ?? '', SEARCH_FILTERS)
        sendJson(request.response, 200, await engine.run('image.search', { term: query.get('term') ?? '', limit: numberOf(query, 'limit', 0), filters, credentials: authOf(request) }, { signal: request.signal }))
      },
    },
    { method: 'GET', path: '/distribution/{name:}/json', handle: async (request) => sendJson(request.response, 200, await engine.run('image.distribution', { name: name(request), credentials: authOf(request) }, { signal: request.signal })) },
    { method: 'GET', path: '/gantry/images/{name:}/manifest', handle: (request) => sendManifest(engine, request) },
    { method: 'GET', path: '/gantry/blobs/{digest}', handle: (request) => sendBlob(engine, request) },
    { method: 'POST', path: '/auth', handle: (request) => login(engine, request) },
    { method: 'POST', path: '/commit', handle: (request) => commit(engine, request) },
  ]
}
