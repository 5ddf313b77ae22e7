import { type Credentials, ANONYMOUS, choosePlatform, createRegistryClient, familiarName, familiarString, type Index, type Manifest, parseManifest, type Platform, type RawManifest, type Reference, type RegistryClient, RegistryError } from '@gantry/registry'
import { collect, type Descriptor, digestOf, EngineError, isEngineError, logger, messageOf } from '@gantry/std'
import type { Registries, RegistryPlace } from './registries.ts'

const log = logger('daemon.images.resolve')

/** An image that was found in a registry: what its name stands for, and the manifest for one platform. */
export interface ResolvedImage {
  /** What the name stands for: an index or a manifest. */
  readonly top: RawManifest
  readonly raw: RawManifest
  readonly manifest: Manifest
}

/** Docker's words for what a registry does not give. Clients match on them. */
export function pullFailure(error: unknown, reference: Reference): unknown {
  if (!(error instanceof RegistryError)) return error
  const { codes, status } = error
  if (codes.includes('DENIED') || codes.includes('UNAUTHORIZED') || status === 401 || status === 403) {
    return new EngineError('not-found', `pull access denied for ${familiarName(reference)}, repository does not exist or may require 'docker login': ${error.message}`, { cause: error })
  }
  if (codes.includes('NAME_UNKNOWN')) return new EngineError('not-found', `repository ${familiarName(reference)} not found: ${error.message}`, { cause: error })
  if (status === 404) return new EngineError('not-found', `manifest for ${familiarString(reference)} not found: manifest unknown: ${error.message}`, { cause: error })
  return error
}

/** Asks the places of a registry one after another; the first that has an answer is used. A mirror that fails is passed over, and so is TLS where a registry may go without. */
export async function askPlaces<T>(registries: Registries, domain: string, credentials: Credentials, options: { readonly mirrors: boolean }, ask: (client: RegistryClient, place: RegistryPlace, credentials: Credentials) => Promise<T>): Promise<T> {
  const places = registries.places(domain).filter((place) => options.mirrors || !place.mirror)
  let failure: unknown
  for (const place of places) {
    // A password is for the registry that it was given for.
    const shown = place.mirror ? ANONYMOUS : credentials
    const client = createRegistryClient(place.endpoint, shown)
    try {
      return await ask(client, place, shown)
    } catch (error) {
      client[Symbol.dispose]()
      const unreachable = isEngineError(error) && error.kind === 'unavailable' && !(error instanceof RegistryError)
      // The last way to a registry is the one that it should be reached by; a mirror's failure is nobody's answer.
      failure = error
      if (!unreachable && !place.mirror) throw error
      log.debug('asking the next place', { base: place.endpoint.base, reason: messageOf(error) })
    }
  }
  throw failure ?? new EngineError('unavailable', `no place is known for ${domain}`)
}

const DEPTH_LIMIT = 4

/** Goes down from what a name stands for to the manifest of one platform. */
export async function resolveImageManifest(client: RegistryClient, name: string, top: RawManifest, platform: Platform, signal: AbortSignal | undefined): Promise<ResolvedImage> {
  let raw = top
  for (let depth = 0; depth < DEPTH_LIMIT; depth++) {
    const parsed: Manifest | Index = parseManifest(raw.bytes, raw.mediaType)
    if (parsed.kind === 'manifest') return { top, raw: { ...raw, mediaType: parsed.mediaType }, manifest: parsed }
    const chosen = choosePlatform(parsed.manifests, platform)
    raw = await client.manifest(name, chosen.digest, signal)
  }
  throw new EngineError('invalid', `${name}: indexes nest deeper than ${DEPTH_LIMIT}`)
}

const CONFIG_LIMIT = 8 << 20

/** An image's configuration, checked against its digest. */
export async function fetchConfig(client: RegistryClient, name: string, descriptor: Descriptor, signal: AbortSignal | undefined): Promise<Buffer> {
  if (descriptor.size > CONFIG_LIMIT) throw new EngineError('invalid', `image configuration of ${descriptor.size} bytes, more than ${CONFIG_LIMIT}`)
  const { stream } = await client.blob(name, descriptor.digest, 0, signal)
  const raw = await collect(stream, CONFIG_LIMIT)
  const seen = digestOf(raw)
  if (seen !== descriptor.digest) throw new EngineError('invalid', `image config verification failed for digest ${descriptor.digest}: what the registry gave has ${seen}`)
  return raw
}
