import { isDigest, keyedLock, logger, messageOf } from '@gantry/std'
import { createRegistryClient, type RegistryClient, type RegistryEndpoint, RegistryError } from '../client.ts'
import type { Credentials } from '../auth.ts'
import { parseManifest } from '../manifest.ts'
import { keepBlob } from './keep.ts'
import type { RegistryServerOptions } from './server.ts'
import type { RegistryStore } from './store.ts'

const log = logger('registry.proxy')
/** A tag is asked for again after so long. */
const TAG_FRESH_MS = 5000

/** A pull-through cache: what is missing comes from another registry and stays. What is there is served also when the other is not. */
export function createProxy(store: RegistryStore, endpoint: RegistryEndpoint, credentials: Credentials): Required<Pick<RegistryServerOptions, 'fill'>> & Disposable {
  const client: RegistryClient = createRegistryClient(endpoint, credentials)
  const lock = keyedLock()
  const asked = new Map<string, number>()

  const fillManifest = async (name: string, reference: string): Promise<void> => {
    const here = store.manifest(name, reference)
    if (here !== undefined && isDigest(reference)) return
    const key = `${name}:${reference}`
    if (here !== undefined && (asked.get(key) ?? 0) > Date.now() - TAG_FRESH_MS) return
    if (here !== undefined) {
      const there = await client.statManifest(name, reference)
      asked.set(key, Date.now())
      if (there === undefined || there.digest === here.digest) return
    }
    const raw = await client.manifest(name, reference)
    const { mediaType } = parseManifest(raw.bytes, raw.mediaType)
    store.putManifest(name, { digest: raw.digest, mediaType, bytes: raw.bytes }, isDigest(reference) ? undefined : reference)
    asked.set(key, Date.now())
    log.info('kept a manifest', { name, reference, digest: raw.digest })
  }
  const fillBlob = async (name: string, digest: string): Promise<void> => {
    if (!isDigest(digest) || store.blob(name, digest) !== undefined) return
    const { stream } = await client.blob(name, digest, 0)
    await keepBlob(store, name, digest, stream, endpoint.base)
    log.info('kept a blob', { name, digest, bytes: stream.headers['content-length'] })
  }
  return {
    fill: ({ name, reference, kind }) =>
      lock.run(`${kind} ${name} ${reference}`, async () => {
        try {
          if (kind === 'manifest') await fillManifest(name, reference)
          else if (kind === 'blob') await fillBlob(name, reference)
        } catch (error) {
          // What is here is served; what is not is answered with "unknown", unless the other side could not be asked at all.
          const there = kind === 'manifest' ? store.manifest(name, reference) : kind === 'blob' && isDigest(reference) ? store.blob(name, reference) : undefined
          if (there === undefined && !(error instanceof RegistryError && error.status === 404)) throw error
          log.warn('the registry behind did not answer', { base: endpoint.base, reason: messageOf(error) })
        }
      }),
    [Symbol.dispose]: () => client[Symbol.dispose](),
  }
}
