import { createServer as createHttpServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { createServer as createHttpsServer } from 'node:https'
import { hasCode, logger, messageOf } from '@gantry/std'
import { type ErrorCode, Refusal, type RegistryRequest, sendDocument, sendHead } from './answer.ts'
import { deleteBlob, getBlob, onUpload, startUpload } from './blobs.ts'
import { deleteManifest, getManifest, listReferrers, listRepositories, listTags, putManifest } from './manifests.ts'
import type { RegistryStore, StoredBlob, StoredManifest } from './store.ts'

const log = logger('registry.server')

/** What is read of a registry. */
export interface ReadableContent {
  /** By tag or digest. */
  manifest(repository: string, reference: string): Promise<StoredManifest | undefined>
  blob(repository: string, digest: string): Promise<StoredBlob | undefined>
  tags(repository: string): Promise<readonly string[]>
  repositories(): Promise<readonly string[]>
  has(repository: string): Promise<boolean>
}

/** How a registry is served. */
export interface RegistryServerOptions {
  readonly store: RegistryStore
  /** Read where the store has nothing. */
  readonly behind?: ReadableContent
  /** PEM texts; none: plain HTTP. */
  readonly tls?: { readonly cert: string; readonly key: string }
  /** True for a user whose password fits; none: everybody may do everything. */
  readonly passwords?: (user: string, password: string) => Promise<boolean>
  readonly readOnly?: boolean
  /** Fetches what is missing from elsewhere before a GET or HEAD is served. */
  readonly fill?: (request: Pick<RegistryRequest, 'name' | 'reference'> & { readonly kind: 'manifest' | 'blob' | 'tags' }) => Promise<void>
}

const NAME = '[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*)*'
const NAME_LIMIT = 255
type Handler = (options: RegistryServerOptions, request: RegistryRequest) => void | Promise<void>

interface Route {
  readonly path: RegExp
  readonly methods: Readonly<Record<string, Handler>>
}

/** The store, and what is behind it. */
function readable({ store, behind }: RegistryServerOptions): ReadableContent {
  return {
    manifest: async (name, reference) => store.manifest(name, reference) ?? behind?.manifest(name, reference),
    blob: async (name, digest) => store.blob(name, digest) ?? behind?.blob(name, digest),
    tags: async (name) => [...new Set([...store.tags(name), ...((await behind?.tags(name)) ?? [])])].sort(),
    repositories: async () => [...new Set([...store.repositories(), ...((await behind?.repositories()) ?? [])])].sort(),
    has: async (name) => store.has(name) || ((await behind?.has(name)) ?? false),
  }
}

const reading = (kind: 'manifest' | 'blob' | 'tags' | undefined, then: (content: ReadableContent, request: RegistryRequest) => Promise<void>): Handler => async (options, request) => {
  if (kind !== undefined) await options.fill?.({ name: request.name, reference: request.reference, kind })
  await then(readable(options), request)
}
const plain = (then: (store: RegistryStore, request: RegistryRequest) => void | Promise<void>): Handler => ({ store }, request) => then(store, request)

/** The end points of the specification ("Endpoints"). */
const ROUTES: readonly Route[] = [
  { path: /^\/v2\/?$/, methods: { GET: (_, request) => sendDocument(request, 200, {}), HEAD: (_, request) => sendHead(request, 200) } },
  { path: /^\/v2\/_catalog$/, methods: { GET: reading(undefined, listRepositories) } },
  { path: new RegExp(`^/v2/(?<name>${NAME})/blobs/uploads/?$`), methods: { POST: plain(startUpload) } },
  { path: new RegExp(`^/v2/(?<name>${NAME})/blobs/uploads/(?<reference>[^/]+)$`), methods: { PATCH: plain(onUpload), PUT: plain(onUpload), GET: plain(onUpload), DELETE: plain(onUpload) } },
  { path: new RegExp(`^/v2/(?<name>${NAME})/blobs/(?<reference>[^/]+)$`), methods: { GET: reading('blob', getBlob), HEAD: reading('blob', getBlob), DELETE: plain(deleteBlob) } },
  { path: new RegExp(`^/v2/(?<name>${NAME})/manifests/(?<reference>[^/]+)$`), methods: { GET: reading('manifest', getManifest), HEAD: reading('manifest', getManifest), PUT: putManifest, DELETE: plain(deleteManifest) } },
  { path: new RegExp(`^/v2/(?<name>${NAME})/tags/list$`), methods: { GET: reading('tags', listTags) } },
  { path: new RegExp(`^/v2/(?<name>${NAME})/referrers/(?<reference>[^/]+)$`), methods: { GET: plain(listReferrers) } },
]

/** Lets in who may come: reading and writing alike. */
async function checkPassword(options: RegistryServerOptions, message: IncomingMessage): Promise<void> {
  if (options.passwords === undefined) return
  const match = /^basic\s+([A-Za-z0-9+/=]+)$/i.exec(message.headers.authorization ?? '')
  const [user = '', ...rest] = Buffer.from(match?.[1] ?? '', 'base64').toString('utf8').split(':')
  if (match !== null && (await options.passwords(user, rest.join(':')))) return
  throw new Refusal(401, 'UNAUTHORIZED', 'authentication required', { 'WWW-Authenticate': 'Basic realm="gantry registry"' })
}

const WRITES: ReadonlySet<string> = new Set(['POST', 'PUT', 'PATCH', 'DELETE'])

async function serve(options: RegistryServerOptions, message: IncomingMessage, response: ServerResponse): Promise<void> {
  const url = URL.parse(message.url ?? '/', 'http://registry')
  if (url === null) throw new Refusal(404, 'NAME_INVALID', 'the path is no path of a registry')
  const method = message.method ?? 'GET'
  await checkPassword(options, message)
  const path = decodeURIComponent(url.pathname)
  for (const route of ROUTES) {
    const match = route.path.exec(path)
    if (match === null) continue
    const handler = route.methods[method]
    if (handler === undefined || (options.readOnly === true && WRITES.has(method))) throw new Refusal(405, 'UNSUPPORTED', `${method} is not supported here`, { Allow: Object.keys(route.methods).join(', ') })
    const name = match.groups?.['name'] ?? ''
    if (name.length > NAME_LIMIT) throw new Refusal(400, 'NAME_INVALID', `repository name of ${name.length} characters, more than ${NAME_LIMIT}`)
    return handler(options, { message, response, method, url, name, reference: match.groups?.['reference'] ?? '' })
  }
  throw new Refusal(404, 'NAME_INVALID', `${path} is no path of a registry`)
}

function refuse(message: IncomingMessage, response: ServerResponse, error: unknown): void {
  if (response.headersSent || response.destroyed) return void response.destroy()
  const [status, code, headers]: readonly [number, ErrorCode, Readonly<Record<string, string>>] = error instanceof Refusal ? [error.status, error.code, error.headers] : error instanceof URIError ? [400, 'NAME_INVALID', {}] : [500, 'UNSUPPORTED', {}]
  if (status === 500) log.error('a request failed', { method: message.method, url: message.url, cause: error })
  const bytes = Buffer.from(JSON.stringify({ errors: [{ code, message: messageOf(error), detail: null }] }))
  // The body of a refused push is not read to its end: the connection cannot be used again.
  response.writeHead(status, { 'Content-Type': 'application/json', 'Content-Length': String(bytes.length), ...headers, ...(message.complete ? {} : { Connection: 'close' }) })
  response.end(message.method === 'HEAD' ? undefined : bytes)
}

/** Makes the server; it listens when it is told to. */
export function createRegistryServer(options: RegistryServerOptions): Server {
  const listener = (message: IncomingMessage, response: ServerResponse): void => {
    response.setHeader('Docker-Distribution-Api-Version', 'registry/2.0')
    serve(options, message, response).then(
      () => log.debug('served', { method: message.method, url: message.url, status: response.statusCode }),
      (error: unknown) => (hasCode(error, 'ERR_STREAM_PREMATURE_CLOSE', 'ECONNRESET', 'EPIPE') ? response.destroy() : refuse(message, response, error)),
    )
  }
  // An upload takes as long as it takes.
  const limits = { requestTimeout: 0 }
  return options.tls === undefined ? createHttpServer(limits, listener) : createHttpsServer({ ...limits, ...options.tls }, listener)
}
