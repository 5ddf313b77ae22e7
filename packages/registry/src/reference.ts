import { EngineError, isDigest } from '@gantry/std'

/** A name of an image: `host/path:tag@digest`. */
export interface Reference {
  /** Registry host; `docker.io` when none was named. */
  readonly domain: string
  /** Full path in the registry; one-word names of the default registry stand below `library/`. */
  readonly path: string
  readonly tag: string | undefined
  readonly digest: string | undefined
}

const DOMAIN = /^(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*|\[[0-9a-fA-F:]+\])(?::\d+)?$/
const COMPONENT = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/
const TAG = /^[\w][\w.-]{0,127}$/
/** The registry of names that name none. */
export const DEFAULT_DOMAIN = 'docker.io'
/** The host that serves it. */
export const REGISTRY_OF_DEFAULT: string = `registry-1.${DEFAULT_DOMAIN}`
/** The host that knows what there is to search in it; also an old name of it. */
export const INDEX_OF_DEFAULT = 'index.docker.io'
const NAME_LIMIT = 255

function invalid(text: string): EngineError {
  return new EngineError('invalid', 'invalid reference format', { cause: new Error(text) })
}

/** Reads a reference as people write it. */
export function parseReference(text: string): Reference {
  if (/^[0-9a-f]{64}$/.test(text)) throw new EngineError('invalid', `invalid repository name (${text}), cannot specify 64-byte hexadecimal strings`)
  const [withoutDigest = '', digest] = splitOnce(text, '@')
  if (digest !== undefined && !isDigest(digest)) throw invalid(text)
  const colon = withoutDigest.lastIndexOf(':')
  const hasTag = colon > withoutDigest.lastIndexOf('/')
  const name = hasTag ? withoutDigest.slice(0, colon) : withoutDigest
  const tag = hasTag ? withoutDigest.slice(colon + 1) : undefined
  if (tag !== undefined && !TAG.test(tag)) throw invalid(text)
  const slash = name.indexOf('/')
  const first = slash < 0 ? '' : name.slice(0, slash)
  const named = first !== '' && (/[.:]/.test(first) || first === 'localhost' || first !== first.toLowerCase())
  const domain = named ? first : DEFAULT_DOMAIN
  const rest = named ? name.slice(slash + 1) : name
  if (!DOMAIN.test(domain)) throw invalid(text)
  const isDefault = domain === DEFAULT_DOMAIN || domain === INDEX_OF_DEFAULT
  const path = isDefault && !rest.includes('/') ? `library/${rest}` : rest
  if (rest !== rest.toLowerCase()) throw new EngineError('invalid', `invalid reference format: repository name (${path}) must be lowercase`)
  if (name.length > NAME_LIMIT || !rest.split('/').every((part) => COMPONENT.test(part))) throw invalid(text)
  return { domain: isDefault ? DEFAULT_DOMAIN : domain, path, tag, digest }
}

function splitOnce(text: string, separator: string): readonly [string, string | undefined] {
  const at = text.indexOf(separator)
  return at < 0 ? [text, undefined] : [text.slice(0, at), text.slice(at + 1)]
}

/** The name without tag as people know it: `busybox`, `user/app`, `host:5000/app`. */
export function familiarName(reference: Reference): string {
  if (reference.domain !== DEFAULT_DOMAIN) return `${reference.domain}/${reference.path}`
  return reference.path.startsWith('library/') ? reference.path.slice('library/'.length) : reference.path
}

/** The repository with its registry, whatever the tag: `docker.io/library/busybox`. */
export function canonicalName(reference: Reference): string {
  return `${reference.domain}/${reference.path}`
}

/** `name:tag` or `name@digest`; `latest` when neither is there. */
export function familiarString(reference: Reference): string {
  const name = familiarName(reference)
  if (reference.tag === undefined && reference.digest !== undefined) return `${name}@${reference.digest}`
  return `${name}:${reference.tag ?? 'latest'}`
}
