import { type Credentials, DEFAULT_DOMAIN, familiarName, INDEX_OF_DEFAULT, parseManifest, parseReference, type Reference, REGISTRY_OF_DEFAULT } from '@gantry/registry'
import { asInteger, asList, asObject, asString, EngineError } from '@gantry/std'
import type { Filters } from '../server/filters.ts'
import type { Registries } from './registries.ts'
import { askPlaces, fetchConfig, pullFailure } from './resolve.ts'

const PLATFORM_LIMIT = 64
const SEARCH_LIMIT = 100

/** `GET /distribution/{name}/json`: what a name stands for in its registry, and for which platforms. */
export async function lookAt(registries: Registries, reference: Reference, credentials: Credentials, signal: AbortSignal | undefined): Promise<unknown> {
  return askPlaces(registries, reference.domain, credentials, { mirrors: true }, async (client) => {
    using _ = client
    const raw = await client.manifest(reference.path, reference.digest ?? reference.tag ?? 'latest', signal)
    const parsed = parseManifest(raw.bytes, raw.mediaType)
    const Descriptor = { mediaType: parsed.mediaType, digest: raw.digest, size: raw.bytes.length }
    if (parsed.kind === 'index') return { Descriptor, Platforms: parsed.manifests.flatMap((one) => (one.platform === undefined ? [] : [one.platform])).slice(0, PLATFORM_LIMIT) }
    const config = asObject(JSON.parse((await fetchConfig(client, reference.path, parsed.config, signal)).toString('utf8')), 'config')
    return { Descriptor, Platforms: [{ architecture: asString(config['architecture'], 'architecture'), os: asString(config['os'], 'os'), ...(config['variant'] !== undefined && { variant: asString(config['variant'], 'variant') }) }] }
  }).catch((error: unknown) => {
    throw pullFailure(error, reference)
  })
}

/** `POST /auth`: lets a registry say whether it knows these credentials. */
export async function login(registries: Registries, address: string, credentials: Credentials, signal: AbortSignal | undefined): Promise<{ readonly status: string }> {
  const host = address.replace(/^https?:\/\//, '').replace(/\/.*$/, '')
  const domain = host === '' || host === REGISTRY_OF_DEFAULT || host.endsWith(`.${DEFAULT_DOMAIN}`) ? DEFAULT_DOMAIN : parseReference(`${host}/x`).domain
  if (credentials.username === '' && credentials.identityToken === '' && credentials.registryToken === '') throw new EngineError('invalid', 'username and password, or a token, are needed to log in')
  await askPlaces(registries, domain, credentials, { mirrors: false }, async (client) => {
    using _ = client
    await client.ping(signal)
  })
  return { status: 'Login Succeeded' }
}

/** One line of a search. */
interface SearchResult {
  readonly name: string
  readonly description: string
  readonly star_count: number
  readonly is_official: boolean
  readonly is_automated: boolean
}

function readResults(document: unknown): readonly SearchResult[] {
  return asList(asObject(document, 'search')['results'], 'results').map((item) => {
    const fields = asObject(item, 'results')
    return { name: asString(fields['name'], 'name'), description: asString(fields['description'], 'description'), star_count: asInteger(fields['star_count'], 'star_count'), is_official: fields['is_official'] === true, is_automated: fields['is_automated'] === true }
  })
}

/** `GET /images/search`: by the old search interface where the registry has it, else by its catalog. */
export async function search(registries: Registries, input: { readonly term: string; readonly limit: number; readonly filters: Filters; readonly credentials: Credentials }, signal: AbortSignal | undefined): Promise<readonly SearchResult[]> {
  if (input.limit < 0 || input.limit > SEARCH_LIMIT) throw new EngineError('invalid', `limit ${input.limit} is outside the range of [1, ${SEARCH_LIMIT}]`)
  const limit = input.limit === 0 ? 25 : input.limit
  const slash = input.term.indexOf('/')
  const first = slash < 0 ? '' : input.term.slice(0, slash)
  const remote = /[.:]/.test(first) || first === 'localhost'
  const [domain, term] = remote ? [first, input.term.slice(slash + 1)] : [INDEX_OF_DEFAULT, input.term]
  const stars = Number(input.filters.values('stars')[0] ?? 0)
  const official = input.filters.flag('is-official')
  const found = await askPlaces(registries, domain, input.credentials, { mirrors: false }, async (client) => {
    using _ = client
    const document = await client.document(`v1/search?q=${encodeURIComponent(term)}&n=${limit}`, signal)
    if (document !== undefined) return readResults(document)
    const names = await client.catalog(signal)
    return names.filter((name) => name.includes(term)).map((name): SearchResult => ({ name: remote ? `${domain}/${name}` : familiarName(parseReference(name)), description: '', star_count: 0, is_official: false, is_automated: false }))
  })
  return found.filter((one) => one.star_count >= stars && (official === undefined || official === one.is_official)).slice(0, limit)
}

