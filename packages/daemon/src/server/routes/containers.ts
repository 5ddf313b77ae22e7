import { streamType } from '@gantry/api'
import { asBoolean, asInteger, asList, asObject, asString, asStrings, EngineError, isEngineError, type JsonObject, parseTimestamp, writePaced, writeWhole } from '@gantry/std'
import { decodeCreate } from '../../containers/request/decode-create.ts'
import { decodeUpdate } from '../../containers/request/decode-update.ts'
import { LIST_FILTERS } from '../../containers/list.ts'
import type { WaitCondition } from '../../jobs/containers.ts'
import type { DaemonEngine, DaemonJobs } from '../../jobs/jobs.ts'
import { parseFilters } from '../filters.ts'
import { type ApiRequest, bodyOf, flag, jsonBody, numberOf, param } from '../request.ts'
import { sendEmpty, sendJson } from '../respond.ts'
import type { Route } from '../router.ts'
import { withoutFrames } from '../web-socket.ts'

const CONDITIONS: ReadonlySet<string> = new Set(['not-running', 'next-exit', 'removed'])
const PRUNE_FILTERS: ReadonlySet<string> = new Set(['until', 'label', 'label!'])
const key = (request: ApiRequest): { readonly key: string } => ({ key: param(request, 'id') })

async function create(engine: DaemonEngine, request: ApiRequest): Promise<void> {
  const result = await engine.run('container.create', {
    ...decodeCreate(await jsonBody(request)),
    name: request.query.get('name') ?? '',
    platform: request.query.get('platform') ?? '',
  })
  sendJson(request.response, 201, { Id: result.id, Warnings: result.warnings })
}

async function update(engine: DaemonEngine, request: ApiRequest): Promise<void> {
  const { warnings } = await engine.run('container.update', { ...key(request), request: decodeUpdate(await jsonBody(request)) })
  sendJson(request.response, 200, { Warnings: warnings.length === 0 ? null : warnings })
}

function stopOptions(request: ApiRequest): { readonly key: string; readonly timeoutSeconds?: number; readonly signal?: string } {
  const signal = request.query.get('signal')
  return { ...key(request), ...(request.query.get('t') !== null && request.query.get('t') !== '' && { timeoutSeconds: numberOf(request.query, 't', 10) }), ...(signal !== null && signal !== '' && { signal }) }
}

async function start(engine: DaemonEngine, request: ApiRequest): Promise<void> {
  const { changed } = await engine.run('container.start', { ...key(request), checkpoint: request.query.get('checkpoint') ?? '', checkpointDirectory: request.query.get('checkpoint-dir') ?? '' })
  sendEmpty(request.response, changed ? 204 : 304)
}

async function wait(engine: DaemonEngine, request: ApiRequest): Promise<void> {
  const condition = request.query.get('condition') ?? ''
  const wanted = condition === '' ? 'not-running' : condition
  if (!CONDITIONS.has(wanted)) throw new EngineError('invalid', `invalid condition: "${condition}"`)
  const onWaiting = (): void => {
    // The head goes out before anything happens: the client starts the container once it has it.
    request.response.writeHead(200, { 'Content-Type': 'application/json' })
    request.response.flushHeaders()
  }
  try {
    const { code, error } = await engine.run('container.wait', { ...key(request), condition: wanted as WaitCondition, onWaiting }, { signal: request.signal })
    request.response.end(`${JSON.stringify({ StatusCode: code, ...(error !== '' && { Error: { Message: error } }) })}\n`)
  } catch (error) {
    if (!request.response.headersSent) throw error
    request.response.destroy()
  }
}

function attachInput(request: ApiRequest): DaemonJobs['container.attach']['input'] {
  const { query } = request
  const choice = { stdin: flag(query, 'stdin'), stdout: flag(query, 'stdout'), stderr: flag(query, 'stderr') }
  return { ...key(request), choice, stream: flag(query, 'stream'), logs: flag(query, 'logs'), detachKeys: query.get('detachKeys') ?? '', apiVersion: request.apiVersion }
}

const attach = (engine: DaemonEngine, request: ApiRequest): Promise<unknown> => engine.run('container.attach', attachInput(request), { stdio: { hijack: request.hijack } })

/** The same over a web socket: binary messages, and output without frames. */
async function attachSocket(engine: DaemonEngine, request: ApiRequest): Promise<void> {
  const { Config } = (await engine.run('container.inspect', { ...key(request), size: false, apiVersion: request.apiVersion })) as { readonly Config: { readonly Tty: boolean } }
  const client = await request.webSocket()
  await engine.run('container.attach', attachInput(request), { stdio: { hijack: () => (Config.Tty ? client : withoutFrames(client)) } })
}

async function logs(engine: DaemonEngine, request: ApiRequest): Promise<void> {
  const { query, response } = request
  const time = (name: string): bigint | undefined => {
    const value = query.get(name)
    return value === null || value === '' || value === '0' ? undefined : parseTimestamp(value)
  }
  const tail = query.get('tail') ?? ''
  const onReady = (tty: boolean): void => {
    response.writeHead(200, { 'Content-Type': streamType(tty, request.apiVersion) })
    response.flushHeaders()
  }
  await engine.run(
    'container.logs',
    {
      ...key(request),
      query: { tail: /^\d+$/.test(tail) ? Number(tail) : undefined, since: time('since'), until: time('until'), follow: flag(query, 'follow') },
      stdout: flag(query, 'stdout'), stderr: flag(query, 'stderr'), timestamps: flag(query, 'timestamps'), details: flag(query, 'details'), onReady,
    },
    { stdio: { write: (chunk) => writeWhole(response, chunk) }, signal: request.signal },
  )
  response.end()
}

/** Streams bytes once the first are there, so that an error before them is a real status. */
function lazyBody(request: ApiRequest, type: string): (chunk: Uint8Array) => Promise<void> {
  return (chunk) => {
    if (!request.response.headersSent) request.response.writeHead(200, { 'Content-Type': type })
    return writePaced(request.response, chunk)
  }
}

const statHeader = (stat: unknown): Readonly<Record<string, string>> => ({ 'X-Docker-Container-Path-Stat': Buffer.from(JSON.stringify(stat)).toString('base64') })

function pathOf(request: ApiRequest): string {
  const path = request.query.get('path') ?? ''
  if (path === '') throw new EngineError('invalid', 'Missing query parameter: path')
  return path
}

function archiveRoutes(engine: DaemonEngine): readonly Route[] {
  return [
    {
      method: 'HEAD', path: '/containers/{id:}/archive',
      handle: async (request) => {
        const stat = await engine.run('container.stat', { ...key(request), path: pathOf(request) })
        request.response.writeHead(200, { ...statHeader(stat), 'Content-Length': 0 }).end()
      },
    },
    {
      method: 'GET', path: '/containers/{id:}/archive',
      handle: async (request) => {
        const onStat = (stat: unknown): void => {
          request.response.writeHead(200, { 'Content-Type': 'application/x-tar', ...statHeader(stat) })
        }
        await engine.run('container.read-archive', { ...key(request), path: pathOf(request), onStat }, { stdio: { write: (chunk) => writePaced(request.response, chunk) }, signal: request.signal })
        request.response.end()
      },
    },
    {
      method: 'PUT', path: '/containers/{id:}/archive',
      handle: async (request) => {
        await engine.run('container.write-archive', { ...key(request), path: pathOf(request), strict: flag(request.query, 'noOverwriteDirNonDir'), copyOwner: flag(request.query, 'copyUIDGID') }, { stdio: { input: bodyOf(request) }, signal: request.signal })
        sendEmpty(request.response, 200)
      },
    },
    {
      method: 'GET', path: '/containers/{id:}/export',
      handle: async (request) => {
        await engine.run('container.export', key(request), { stdio: { write: lazyBody(request, 'application/octet-stream') }, signal: request.signal })
        request.response.end()
      },
    },
    {
      method: 'GET', path: '/containers/{id:}/changes',
      handle: async (request) => {
        const changes = await engine.run('container.changes', key(request))
        sendJson(request.response, 200, changes.length === 0 ? null : changes.map((change) => ({ Path: change.path, Kind: change.kind })))
      },
    },
  ]
}

function execRoutes(engine: DaemonEngine): readonly Route[] {
  const resizeTo = (request: ApiRequest): { readonly rows: number; readonly columns: number } => ({ rows: numberOf(request.query, 'h', 0), columns: numberOf(request.query, 'w', 0) })
  return [
    {
      method: 'POST', path: '/containers/{id:}/exec',
      handle: async (request) => {
        const body = await jsonBody(request)
        const bool = (name: string): boolean => asBoolean(body[name], name)
        const text = (name: string): string => asString(body[name], name)
        const result = await engine.run('exec.create', {
          ...key(request),
          request: { command: asStrings(body['Cmd'], 'Cmd'), tty: bool('Tty'), openStdin: bool('AttachStdin'), attachStdout: bool('AttachStdout'), attachStderr: bool('AttachStderr'), env: asStrings(body['Env'], 'Env'), user: text('User'), workingDir: text('WorkingDir'), privileged: bool('Privileged'), detachKeys: text('DetachKeys') },
        })
        sendJson(request.response, 201, { Id: result.id })
      },
    },
    {
      method: 'POST', path: '/exec/{id}/start',
      handle: async (request) => {
        const body = await jsonBody(request)
        const detach = asBoolean(body['Detach'], 'Detach')
        const [rows = 0, columns = 0] = asList(body['ConsoleSize'], 'ConsoleSize').map((item) => asInteger(item, 'ConsoleSize'))
        await engine.run('exec.start', { id: param(request, 'id'), detach, tty: asBoolean(body['Tty'], 'Tty'), size: [rows, columns], apiVersion: request.apiVersion }, { stdio: detach ? {} : { hijack: request.hijack } })
        if (detach) sendEmpty(request.response, 200)
      },
    },
    { method: 'GET', path: '/exec/{id}/json', handle: async (request) => sendJson(request.response, 200, await engine.run('exec.inspect', { id: param(request, 'id') })) },
    {
      method: 'POST', path: '/exec/{id}/resize',
      handle: async (request) => {
        await engine.run('exec.resize', { id: param(request, 'id'), ...resizeTo(request) })
        sendEmpty(request.response, 200)
      },
    },
    {
      method: 'POST', path: '/containers/{id:}/resize',
      handle: async (request) => {
        await engine.run('container.resize', { ...key(request), ...resizeTo(request) })
        sendEmpty(request.response, 200)
      },
    },
  ]
}

function lifeRoutes(engine: DaemonEngine): readonly Route[] {
  const plain = (path: string, run: (request: ApiRequest) => Promise<unknown>): Route => ({
    method: 'POST', path: `/containers/{id:}/${path}`,
    handle: async (request) => {
      await run(request)
      sendEmpty(request.response, 204)
    },
  })
  return [
    { method: 'POST', path: '/containers/{id:}/start', handle: (request) => start(engine, request) },
    {
      method: 'POST', path: '/containers/{id:}/stop',
      handle: async (request) => sendEmpty(request.response, (await engine.run('container.stop', stopOptions(request))).changed ? 204 : 304),
    },
    plain('restart', (request) => engine.run('container.restart', stopOptions(request))),
    plain('kill', (request) => engine.run('container.kill', { ...key(request), signal: request.query.get('signal') ?? '' })),
    plain('pause', (request) => engine.run('container.pause', key(request))),
    plain('unpause', (request) => engine.run('container.unpause', key(request))),
    plain('rename', (request) => engine.run('container.rename', { ...key(request), name: request.query.get('name') ?? '' })),
    { method: 'POST', path: '/containers/{id:}/wait', handle: (request) => wait(engine, request) },
    {
      method: 'DELETE', path: '/containers/{id:}',
      handle: async (request) => {
        if (flag(request.query, 'link')) await engine.run('container.unlink', key(request))
        else await engine.run('container.remove', { ...key(request), volumes: flag(request.query, 'v'), force: flag(request.query, 'force') })
        sendEmpty(request.response, 204)
      },
    },
  ]
}

/** All container and exec routes. */
export function containerRoutes(engine: DaemonEngine): readonly Route[] {
  return [
    {
      method: 'GET', path: '/containers/json',
      handle: async ({ query, response, apiVersion }) => sendJson(response, 200, await engine.run('container.list', { apiVersion, all: flag(query, 'all'), size: flag(query, 'size'), limit: numberOf(query, 'limit', 0), filters: parseFilters(query.get('filters') ?? '', LIST_FILTERS) })),
    },
    { method: 'POST', path: '/containers/create', handle: (request) => create(engine, request) },
    {
      method: 'POST', path: '/containers/prune',
      handle: async ({ query, response }) => {
        const { removed, bytes } = await engine.run('container.prune', { filters: parseFilters(query.get('filters') ?? '', PRUNE_FILTERS) })
        sendJson(response, 200, { ContainersDeleted: removed.length === 0 ? null : removed, SpaceReclaimed: bytes })
      },
    },
    { method: 'GET', path: '/containers/{id:}/json', handle: async (request) => sendJson(request.response, 200, await engine.run('container.inspect', { ...key(request), apiVersion: request.apiVersion, size: flag(request.query, 'size') })) },
    { method: 'POST', path: '/containers/{id:}/update', handle: (request) => update(engine, request) },
    {
      method: 'GET', path: '/containers/{id:}/stats',
      handle: async (request) => {
        const { query, response } = request
        await engine.run('container.stats', { ...key(request), stream: flag(query, 'stream', true), oneShot: flag(query, 'one-shot') }, { stdio: { write: lazyBody(request, 'application/json') }, signal: request.signal })
        response.end()
      },
    },
    {
      method: 'GET', path: '/containers/{id:}/top',
      handle: async (request) => {
        const { titles, processes } = await engine.run('container.top', { ...key(request), arguments: request.query.get('ps_args') ?? '' })
        sendJson(request.response, 200, { Titles: titles, Processes: processes })
      },
    },
    { method: 'GET', path: '/containers/{id:}/logs', handle: (request) => logs(engine, request) },
    { method: 'GET', path: '/containers/{id:}/attach/ws', handle: (request) => attachSocket(engine, request) },
    { method: 'POST', path: '/containers/{id:}/attach', handle: (request) => attachGuarded(engine, request) },
    { method: 'GET', path: '/containers/{id:}/checkpoints', handle: async (request) => sendJson(request.response, 200, await engine.run('container.checkpoints', { ...key(request), directory: request.query.get('dir') ?? '' })) },
    {
      method: 'POST', path: '/containers/{id:}/checkpoints',
      handle: async (request) => {
        const body = await jsonBody(request)
        await engine.run('container.checkpoint', { ...key(request), name: asString(body['CheckpointID'], 'CheckpointID'), directory: asString(body['CheckpointDir'], 'CheckpointDir'), exit: asBoolean(body['Exit'], 'Exit') })
        sendEmpty(request.response, 201)
      },
    },
    {
      method: 'DELETE', path: '/containers/{id:}/checkpoints/{name}',
      handle: async (request) => {
        await engine.run('container.remove-checkpoint', { ...key(request), name: param(request, 'name'), directory: request.query.get('dir') ?? '' })
        sendEmpty(request.response, 204)
      },
    },
    { method: 'GET', path: '/containers/{id:}/trace', handle: async (request) => sendJson(request.response, 200, await engine.run('container.trace', key(request))) },
    { method: 'GET', path: '/containers/{id:}/explain', handle: async (request) => sendJson(request.response, 200, await engine.run('container.explain', key(request))) },
    {
      // Ours.
      method: 'DELETE', path: '/containers/{id:}/logs',
      handle: async (request) => {
        await engine.run('container.clear-log', key(request))
        sendEmpty(request.response, 204)
      },
    },
    ...lifeRoutes(engine),
    ...archiveRoutes(engine),
    ...execRoutes(engine),
  ]
}

/** An attach that fails once the connection has been taken over can only be closed. */
async function attachGuarded(engine: DaemonEngine, request: ApiRequest): Promise<void> {
  try {
    await attach(engine, request)
  } catch (error) {
    if (request.response.socket !== null || !isEngineError(error)) throw error
    request.message.socket?.destroy()
  }
}
