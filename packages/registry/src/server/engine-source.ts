import { request, type IncomingMessage } from 'node:http'
import { PassThrough, type Readable } from 'node:stream'
import { collect, digestOf, EngineError, isDigest } from '@gantry/std'
import { MANIFEST_LIMIT } from '../manifest.ts'
import { parseReference } from '../reference.ts'
import { manifestChildren } from './manifests.ts'
import type { ReadableContent } from './server.ts'
import type { StoredManifest } from './store.ts'

const LIST_LIMIT = 64 << 20
/** What the engine has is asked for again after so long. */
const FRESH_MS = 2000

/** What is there of a repository: its tags, and manifests by digest. */
interface Repository {
  readonly tags: ReadonlyMap<string, StoredManifest>
  readonly manifests: ReadonlyMap<string, StoredManifest>
  readonly blobs: ReadonlySet<string>
}

/** Sends a request to the engine's unix socket and gives the answer's head; undefined for "not found". */
function ask(socketPath: string, path: string): Promise<IncomingMessage | undefined> {
  return new Promise((resolve, reject) => {
    const sent = request({ socketPath, path }, (message) => {
      if (message.statusCode === 200) return resolve(message)
      message.resume()
      if (message.statusCode === 404) return resolve(undefined)
      reject(new EngineError('unavailable', `the engine at ${socketPath} answered ${message.statusCode} to ${path}`))
    })
    sent.once('error', (cause) => reject(new EngineError('unavailable', `the engine at ${socketPath} does not answer: ${cause.message}`, { cause })))
    sent.end()
  })
}

/**
 * The images of an engine, as repositories: by their path, without the registry that they came from. Nothing is copied: layers are read
 * out of the engine's own store, uncompressed (`GET /gantry/images/NAME/manifest`, `GET /gantry/blobs/DIGEST`).
 */
export function engineContent(socketPath: string): ReadableContent {
  const read = async (path: string, limit: number): Promise<Buffer | undefined> => {
    const message = await ask(socketPath, path)
    return message === undefined ? undefined : collect(message, limit)
  }
  let names: { readonly at: number; readonly byPath: ReadonlyMap<string, ReadonlyMap<string, string>> } | undefined
  const known = new Map<string, { readonly at: number; readonly repository: Repository }>()

  /** Paths, their tags, and the names that the engine knows them by. */
  const list = async (): Promise<ReadonlyMap<string, ReadonlyMap<string, string>>> => {
    if (names !== undefined && names.at > Date.now() - FRESH_MS) return names.byPath
    const images = JSON.parse(String((await read('/images/json', LIST_LIMIT)) ?? '[]')) as readonly { readonly RepoTags: readonly string[] | null }[]
    const byPath = new Map<string, Map<string, string>>()
    for (const name of images.flatMap((image) => image.RepoTags ?? [])) {
      const { path, tag = 'latest' } = parseReference(name)
      const tags = byPath.get(path) ?? new Map<string, string>()
      byPath.set(path, tags)
      if (!tags.has(tag)) tags.set(tag, name)
    }
    names = { at: Date.now(), byPath }
    return byPath
  }
  /** One-word names are below `library/` in the default registry, and on their own everywhere else. */
  const tagsOf = async (path: string): Promise<ReadonlyMap<string, string> | undefined> => {
    const all = await list()
    return all.get(path) ?? all.get(`library/${path}`)
  }
  const repository = async (path: string): Promise<Repository | undefined> => {
    const fresh = known.get(path)
    if (fresh !== undefined && fresh.at > Date.now() - FRESH_MS) return fresh.repository
    known.delete(path)
    const [tags, manifests, blobs] = [new Map<string, StoredManifest>(), new Map<string, StoredManifest>(), new Set<string>()]
    for (const [tag, name] of (await tagsOf(path)) ?? []) {
      const bytes = await read(`/gantry/images/${encodeURIComponent(name)}/manifest`, MANIFEST_LIMIT)
      if (bytes === undefined) continue
      const { mediaType } = JSON.parse(String(bytes)) as { readonly mediaType: string }
      const manifest = { digest: digestOf(bytes), mediaType, bytes }
      tags.set(tag, manifest)
      manifests.set(manifest.digest, manifest)
      for (const child of manifestChildren(manifest)) blobs.add(child)
    }
    if (tags.size === 0) return undefined
    const found = { tags, manifests, blobs }
    known.set(path, { at: Date.now(), repository: found })
    return found
  }
  return {
    async manifest(name, reference) {
      const found = await repository(name)
      return isDigest(reference) ? found?.manifests.get(reference) : found?.tags.get(reference)
    },
    async blob(name, digest) {
      const found = await repository(name)
      if (found === undefined) return undefined
      const manifest = found.manifests.get(digest)
      if (manifest === undefined && !found.blobs.has(digest)) return undefined
      if (manifest !== undefined) return { size: manifest.bytes.length, read: (start = 0, end = manifest.bytes.length - 1) => new PassThrough().end(manifest.bytes.subarray(start, end + 1)) }
      const head = await ask(socketPath, `/gantry/blobs/${digest}?length=0`)
      if (head === undefined) return undefined
      head.resume()
      const size = Number(head.headers['x-gantry-size'])
      return { size, read: (start = 0, end = size - 1) => streamed(ask(socketPath, `/gantry/blobs/${digest}?start=${start}&length=${end - start + 1}`), digest) }
    },
    tags: async (name) => [...((await tagsOf(name))?.keys() ?? [])],
    repositories: async () => [...(await list()).keys()],
    has: async (name) => (await tagsOf(name)) !== undefined,
  }
}

/** A stream of an answer that is on its way. */
function streamed(answer: Promise<IncomingMessage | undefined>, digest: string): Readable {
  const through = new PassThrough({ highWaterMark: 1 << 20 })
  answer.then(
    (message) => {
      if (message === undefined) return void through.destroy(new EngineError('not-found', `the engine has ${digest} no more`))
      message.once('error', (error) => through.destroy(error))
      through.once('close', () => message.destroy())
      message.pipe(through)
    },
    (error: Error) => through.destroy(error),
  )
  return through
}
