import type { IncomingMessage } from 'node:http'
import type { Readable } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import { asList, asObject, asString, collect, digestOf, EngineError, type ErrorKind, hasCode, isDigest, isEngineError } from '@gantry/std'
import { ANONYMOUS, createAuthorizer, type Credentials } from './auth.ts'
import { createHttp, type HttpInit, type TlsSettings } from './http.ts'
import { MANIFEST_LIMIT } from './manifest.ts'
import { ACCEPTED_MANIFESTS } from './media-types.ts'

/** Where a registry answers. */
export interface RegistryEndpoint {
  /** `https://host:port`, with a path for mirrors that stand below one. */
  readonly base: string
  readonly tls: TlsSettings
}

/** A manifest as it came. */
export interface RawManifest {
  readonly bytes: Buffer
  readonly mediaType: string
  readonly digest: string
}

/** Content on its way. */
export interface BlobStream {
  readonly stream: IncomingMessage
  /** Where the bytes begin: 0 when the registry does not give parts. */
  readonly offset: number
  /** Bytes of the whole; undefined when the registry does not say. */
  readonly size: number | undefined
}

/** Where an upload goes on. */
export type Upload = { readonly kind: 'mounted' } | { readonly kind: 'started'; readonly location: URL }

/** Speaks with one registry (distribution-spec v1.1). Names are paths: `library/busybox`. */
export interface RegistryClient extends Disposable {
  readonly endpoint: RegistryEndpoint
  /** Finds out that a registry answers there, and that it lets us in. */
  ping(signal?: AbortSignal): Promise<void>
  manifest(name: string, reference: string, signal?: AbortSignal): Promise<RawManifest>
  /** The manifest's digest, size and media type, without its content; undefined when there is none. */
  statManifest(name: string, reference: string, signal?: AbortSignal): Promise<{ readonly digest: string; readonly size: number; readonly mediaType: string } | undefined>
  blob(name: string, digest: string, offset: number, signal?: AbortSignal): Promise<BlobStream>
  hasBlob(name: string, digest: string, signal?: AbortSignal): Promise<boolean>
  /** Starts an upload, or gets the blob from another repository of the registry. */
  startUpload(name: string, mount: { readonly digest: string; readonly from: string } | undefined, signal?: AbortSignal): Promise<Upload>
  /** Sends everything in one go; gives the place to finish. */
  sendUpload(name: string, location: URL, body: Readable, signal?: AbortSignal): Promise<URL>
  finishUpload(name: string, location: URL, digest: string, signal?: AbortSignal): Promise<void>
  putBlob(name: string, content: Buffer, signal?: AbortSignal): Promise<string>
  putManifest(name: string, reference: string, mediaType: string, bytes: Buffer, signal?: AbortSignal): Promise<string>
  tags(name: string, signal?: AbortSignal): Promise<readonly string[]>
  /** Names of the repositories, where the registry tells them. */
  catalog(signal?: AbortSignal): Promise<readonly string[]>
  /** A JSON document outside `/v2/`; undefined when there is none. */
  document(path: string, signal?: AbortSignal): Promise<unknown>
}

const ATTEMPTS = 5
const FIRST_WAIT_MS = 250
const LONGEST_WAIT_MS = 20_000
const BODY_LIMIT = 8 << 20
const PAGE = 1000
const PAGES = 100
const KINDS: Readonly<Record<number, ErrorKind>> = { 400: 'invalid', 401: 'unauthorized', 403: 'forbidden', 404: 'not-found', 405: 'unsupported', 409: 'conflict', 416: 'invalid' }

/** What a registry refused, with its codes (distribution-spec, "Error Codes": `MANIFEST_UNKNOWN`, …). */
export class RegistryError extends EngineError {
  readonly codes: readonly string[]
  readonly status: number
  constructor(kind: ErrorKind, message: string, status: number, codes: readonly string[]) {
    super(kind, message)
    this.name = 'RegistryError'
    this.status = status
    this.codes = codes
  }
}

/** The registry's own words for what went wrong (distribution-spec, "Error Codes"). */
async function failure(response: IncomingMessage, what: string): Promise<RegistryError> {
  const status = response.statusCode ?? 0
  const text = (await collect(response, BODY_LIMIT)).toString('utf8')
  let told = ''
  let codes: readonly string[] = []
  try {
    const items = asList(asObject(JSON.parse(text), 'errors')['errors'], 'errors').map((item) => asObject(item, 'errors'))
    codes = items.map((item) => String(item['code'] ?? ''))
    told = items.map((item) => [String(item['code'] ?? '').toLowerCase().replaceAll('_', ' '), String(item['message'] ?? '')].filter((part) => part !== '').join(': ')).join('; ')
  } catch (error) {
    if (!(error instanceof SyntaxError) && !isEngineError(error)) throw error
  }
  if (status === 429) return new RegistryError('unavailable', `toomanyrequests: ${told === '' ? `${what}: the registry asks us to come back later` : told}`, status, codes)
  return new RegistryError(KINDS[status] ?? 'unavailable', `${what}: ${told === '' ? `unexpected status ${status}` : told}`, status, codes)
}

/** How long to wait before the next try: what the registry says, or twice as long as before. */
function waitMs(attempt: number, response: IncomingMessage | undefined): number {
  const told = response?.headers['retry-after']
  const seconds = told === undefined ? Number.NaN : /^\d+$/.test(told) ? Number(told) : (Date.parse(told) - Date.now()) / 1000
  return Math.min(LONGEST_WAIT_MS, Number.isNaN(seconds) ? FIRST_WAIT_MS * 2 ** attempt : Math.max(0, seconds * 1000))
}

const isPassing = (status: number): boolean => status === 429 || (status >= 500 && status !== 501)

/** Makes a client. Nothing is sent before the first call. */
export function createRegistryClient(endpoint: RegistryEndpoint, credentials: Credentials = ANONYMOUS): RegistryClient {
  const http = createHttp(endpoint.tls)
  const base = new URL(endpoint.base.endsWith('/') ? endpoint.base : `${endpoint.base}/`)
  const authorizer = createAuthorizer(http, base, credentials)
  const at = (path: string): URL => new URL(`v2/${path}`, base)
  const scopeOf = (name: string, actions: string): string => (name === '' ? '' : `repository:${name}:${actions}`)

  /** One request with whatever proves who we are; the registry is asked once more after it said what it wants. */
  const authorized = async (url: URL, scope: string, init: HttpInit): Promise<IncomingMessage> => {
    const ours = url.origin === base.origin
    const send = (): Promise<IncomingMessage> => {
      const header = ours ? authorizer.header(scope) : undefined
      return http.request(url, { ...init, headers: { ...init.headers, ...(header !== undefined && { Authorization: header }) } })
    }
    const first = await send()
    if (first.statusCode !== 401 || !ours) return first
    return (await authorizer.answer(first, scope, init.signal)) ? send() : first
  }

  /** The same, with patience: what may pass by itself is tried again, but not for ever. Only for requests that may be sent twice. */
  const patient = async (url: URL, scope: string, init: HttpInit): Promise<IncomingMessage> => {
    for (let attempt = 0; ; attempt++) {
      let answer: IncomingMessage | undefined
      try {
        answer = await authorized(url, scope, init)
        if (!isPassing(answer.statusCode ?? 0) || attempt === ATTEMPTS - 1) return answer
        answer.resume()
      } catch (error) {
        const passing = isEngineError(error) && error.kind === 'unavailable' && !hasCode(error.cause, 'ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'EPROTO') && !/wrong version number|EPROTO|certificate/i.test(error.message)
        if (!passing || attempt === ATTEMPTS - 1) throw error
      }
      await delay(waitMs(attempt, answer), undefined, init.signal === undefined ? {} : { signal: init.signal })
    }
  }

  const expect = async (answer: IncomingMessage, statuses: readonly number[], what: string): Promise<IncomingMessage> => {
    if (statuses.includes(answer.statusCode ?? 0)) return answer
    throw await failure(answer, what)
  }
  const location = (answer: IncomingMessage, from: URL, what: string): URL => {
    answer.resume()
    const { location: next } = answer.headers
    if (next === undefined) throw new EngineError('unavailable', `${what}: the registry names no place to go on (Location)`)
    return new URL(next, from)
  }
  const withDigest = (url: URL, digest: string): URL => {
    const next = new URL(url)
    next.searchParams.set('digest', digest)
    return next
  }
  /** A list that comes in pages (distribution-spec, "Listing Tags"): each names the next in `Link`. */
  const listed = async (path: string, field: string, scope: string, signal: AbortSignal | undefined): Promise<readonly string[]> => {
    const items: string[] = []
    let next: URL | undefined = at(`${path}?n=${PAGE}`)
    for (let pages = 0; next !== undefined && pages < PAGES; pages++) {
      const url: URL = next
      const answer = await expect(await patient(url, scope, { signal }), [200], `${path} of ${base.host}`)
      const document = asObject(JSON.parse((await collect(answer, BODY_LIMIT)).toString('utf8')), field)
      items.push(...asList(document[field], field).map((item) => asString(item, field)))
      const link = /<([^>]+)>\s*;\s*rel="?next"?/.exec(String(answer.headers['link'] ?? ''))?.[1]
      next = link === undefined ? undefined : new URL(link, url)
    }
    return items
  }
  const manifestHeaders = { Accept: ACCEPTED_MANIFESTS }

  const startUpload: RegistryClient['startUpload'] = async (name, mount, signal) => {
    const url = at(`${name}/blobs/uploads/`)
    if (mount !== undefined) {
      url.searchParams.set('mount', mount.digest)
      url.searchParams.set('from', mount.from)
    }
    const scope = mount === undefined ? scopeOf(name, 'pull,push') : `${scopeOf(name, 'pull,push')} ${scopeOf(mount.from, 'pull')}`
    const answer = await expect(await patient(url, scope, { method: 'POST', signal }), [201, 202], `upload to ${name}`)
    if (answer.statusCode === 202) return { kind: 'started', location: location(answer, url, `upload to ${name}`) }
    answer.resume()
    return { kind: 'mounted' }
  }
  const finishUpload: RegistryClient['finishUpload'] = async (name, where, digest, signal) => {
    const answer = await expect(await authorized(withDigest(where, digest), scopeOf(name, 'pull,push'), { method: 'PUT', signal }), [201, 204], `upload to ${name}`)
    answer.resume()
  }
  return {
    endpoint,
    async ping(signal) {
      const answer = await expect(await authorized(at(''), '', { signal }), [200], base.host)
      answer.resume()
    },
    async manifest(name, reference, signal) {
      const what = `manifest for ${name}${isDigest(reference) ? '@' : ':'}${reference}`
      const answer = await expect(await patient(at(`${name}/manifests/${reference}`), scopeOf(name, 'pull'), { headers: manifestHeaders, signal }), [200], what)
      const bytes = await collect(answer, MANIFEST_LIMIT)
      const digest = digestOf(bytes)
      if (isDigest(reference) && digest !== reference) throw new EngineError('invalid', `manifest verification failed for digest ${reference}: the registry gave ${digest}`)
      return { bytes, digest, mediaType: String(answer.headers['content-type'] ?? '') }
    },
    async statManifest(name, reference, signal) {
      const answer = await patient(at(`${name}/manifests/${reference}`), scopeOf(name, 'pull'), { method: 'HEAD', headers: manifestHeaders, signal })
      if (answer.statusCode === 404) {
        answer.resume()
        return undefined
      }
      await expect(answer, [200], `manifest for ${name}:${reference}`)
      answer.resume()
      const digest = String(answer.headers['docker-content-digest'] ?? '')
      return isDigest(digest) ? { digest, size: Number(answer.headers['content-length'] ?? 0), mediaType: String(answer.headers['content-type'] ?? '') } : undefined
    },
    async blob(name, digest, offset, signal) {
      const answer = await expect(
        await patient(at(`${name}/blobs/${digest}`), scopeOf(name, 'pull'), { headers: { Accept: '*/*', 'Accept-Encoding': 'identity', ...(offset > 0 && { Range: `bytes=${offset}-` }) }, signal }),
        [200, 206], `blob ${digest}`,
      )
      const range = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(String(answer.headers['content-range'] ?? ''))
      const begins = answer.statusCode === 206 ? Number(range?.[1] ?? -1) : 0
      if (begins !== 0 && begins !== offset) {
        answer.destroy()
        throw new EngineError('unavailable', `blob ${digest}: asked for bytes from ${offset}, got ${String(answer.headers['content-range'])}`)
      }
      const length = answer.headers['content-length']
      return { stream: answer, offset: begins, size: length === undefined ? undefined : begins + Number(length) }
    },
    async hasBlob(name, digest, signal) {
      const answer = await patient(at(`${name}/blobs/${digest}`), scopeOf(name, 'pull,push'), { method: 'HEAD', signal })
      answer.resume()
      return answer.statusCode === 200
    },
    startUpload,
    async sendUpload(name, where, body, signal) {
      const answer = await expect(await authorized(where, scopeOf(name, 'pull,push'), { method: 'PATCH', headers: { 'Content-Type': 'application/octet-stream' }, body, signal }), [202, 204], `upload to ${name}`)
      return location(answer, where, `upload to ${name}`)
    },
    finishUpload,
    async putBlob(name, content, signal) {
      const digest = digestOf(content)
      const upload = await startUpload(name, undefined, signal)
      if (upload.kind === 'mounted') return digest
      const answer = await authorized(withDigest(upload.location, digest), scopeOf(name, 'pull,push'), { method: 'PUT', headers: { 'Content-Type': 'application/octet-stream' }, body: content, signal })
      await expect(answer, [201, 204], `upload to ${name}`)
      answer.resume()
      return digest
    },
    async putManifest(name, reference, mediaType, bytes, signal) {
      const answer = await expect(await patient(at(`${name}/manifests/${reference}`), scopeOf(name, 'pull,push'), { method: 'PUT', headers: { 'Content-Type': mediaType }, body: bytes, signal }), [200, 201, 202, 204], `manifest for ${name}:${reference}`)
      answer.resume()
      return digestOf(bytes)
    },
    tags: (name, signal) => listed(`${name}/tags/list`, 'tags', scopeOf(name, 'pull'), signal),
    catalog: (signal) => listed('_catalog', 'repositories', 'registry:catalog:*', signal),
    async document(path, signal) {
      const answer = await patient(new URL(path, base), '', { signal })
      const isThere = answer.statusCode === 200 && String(answer.headers['content-type'] ?? '').includes('json')
      const bytes = await collect(answer, BODY_LIMIT)
      return isThere ? (JSON.parse(bytes.toString('utf8')) as unknown) : undefined
    },
    [Symbol.dispose]: () => http[Symbol.dispose](),
  }
}
