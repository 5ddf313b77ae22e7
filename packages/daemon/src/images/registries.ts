import { readdirSync, readFileSync } from 'node:fs'
import ipaddr from 'ipaddr.js'
import type { Credentials, RegistryEndpoint } from '@gantry/registry'
import { ANONYMOUS, DEFAULT_DOMAIN, REGISTRY_OF_DEFAULT } from '@gantry/registry'
import { asObject, asString, EngineError, exists } from '@gantry/std'

/** What the daemon is told of registries. */
export interface RegistrySettings {
  /** `URL` for the default registry, `HOST=URL` for any other. */
  readonly mirrors: readonly string[]
  /** Hosts, `host:port` or networks (CIDR) that may answer without TLS or with a certificate that nobody knows. */
  readonly insecure: readonly string[]
  /** Folders by `host[:port]`: `*.crt` to trust, `NAME.cert` with `NAME.key` to show. */
  readonly certificates: string
}

/** One place to ask. */
export interface RegistryPlace {
  readonly endpoint: RegistryEndpoint
  /** A copy of what the registry itself has: gets no password, and takes no push. */
  readonly mirror: boolean
}

/** Where to find the content of each registry host. */
export interface Registries {
  /** In the order to try. */
  places(domain: string): readonly RegistryPlace[]
  isInsecure(domain: string): boolean
  /** Mirrors of the default registry, as `info` shows them. */
  readonly mirrors: readonly string[]
  readonly insecure: readonly string[]
}

const LOOPBACK = ['127.0.0.0/8', '::1/128']

function hostOf(domain: string): string {
  return domain.replace(/:\d+$/, '').replace(/^\[|\]$/g, '')
}

function inNetwork(host: string, network: string): boolean {
  if (!ipaddr.isValid(host) || !ipaddr.isValidCIDR(network)) return false
  const [address, [base, bits]] = [ipaddr.parse(host), ipaddr.parseCIDR(network)]
  return address.kind() === base.kind() && address.match(base, bits)
}

/** PEM files of a registry host. */
function certificates(directory: string): { readonly ca: readonly string[]; readonly cert: string; readonly key: string } {
  if (!exists(directory)) return { ca: [], cert: '', key: '' }
  const names = readdirSync(directory).sort()
  const ca = names.filter((name) => name.endsWith('.crt')).map((name) => readFileSync(`${directory}/${name}`, 'utf8'))
  const own = names.find((name) => name.endsWith('.cert'))
  if (own === undefined) return { ca, cert: '', key: '' }
  const key = `${own.slice(0, -'.cert'.length)}.key`
  if (!names.includes(key)) throw new EngineError('invalid', `missing key ${key} for client certificate ${own} in ${directory}`)
  return { ca, cert: readFileSync(`${directory}/${own}`, 'utf8'), key: readFileSync(`${directory}/${key}`, 'utf8') }
}

function parseMirror(text: string): readonly [domain: string, url: string] {
  const match = /^(?:([^=/]+)=)?(https?:\/\/[^\s?#]+)$/.exec(text)
  if (match === null || URL.parse(match[2] ?? '') === null) throw new EngineError('invalid', `invalid mirror: ${JSON.stringify(text)}: expected URL, or HOST=URL for a registry other than the default one`)
  return [match[1] ?? DEFAULT_DOMAIN, (match[2] ?? '').replace(/\/+$/, '')]
}

/** Checks the settings; a bad one is an error that names it. */
function registriesOf(settings: RegistrySettings): Registries {
  const mirrors = settings.mirrors.map(parseMirror)
  for (const one of settings.insecure) if (/^\w+:\/\//.test(one)) throw new EngineError('invalid', `insecure registry ${one} should not contain '://'`)
  const isInsecure = (domain: string): boolean => {
    const host = hostOf(domain)
    return host === 'localhost' || [...LOOPBACK, ...settings.insecure].some((one) => one === domain || one === host || inNetwork(host, one))
  }
  const endpoints = (host: string, insecure: boolean, schemes: readonly string[]): readonly RegistryEndpoint[] => {
    const tls = { ...certificates(`${settings.certificates}/${host}`), verify: !insecure }
    return schemes.map((scheme) => ({ base: `${scheme}://${host}`, tls }))
  }
  return {
    isInsecure,
    mirrors: mirrors.filter(([domain]) => domain === DEFAULT_DOMAIN).map(([, url]) => `${url}/`),
    insecure: [...LOOPBACK, ...settings.insecure],
    places(domain) {
      const insecure = isInsecure(domain)
      const own = domain === DEFAULT_DOMAIN ? REGISTRY_OF_DEFAULT : domain
      const copies = mirrors.filter(([of]) => of === domain).flatMap(([, url]) => {
        const { host } = new URL(url)
        return [{ mirror: true, endpoint: { base: url, tls: { ...certificates(`${settings.certificates}/${host}`), verify: !isInsecure(host) } } }]
      })
      return [...copies, ...endpoints(own, insecure, insecure ? ['https', 'http'] : ['https']).map((endpoint) => ({ mirror: false, endpoint }))]
    },
  }
}

/** The registries as the daemon was told of them, and may be told anew. */
export function createRegistries(settings: RegistrySettings): Registries & { reload(settings: RegistrySettings): void } {
  let current = registriesOf(settings)
  return {
    places: (domain) => current.places(domain),
    isInsecure: (domain) => current.isInsecure(domain),
    get mirrors() {
      return current.mirrors
    },
    get insecure() {
      return current.insecure
    },
    reload(next) {
      current = registriesOf(next)
    },
  }
}

/** `RegistryConfig` of info. */
export function registryView({ mirrors, insecure }: Registries): object {
  const isNetwork = (one: string): boolean => one.includes('/')
  const index = (name: string, secure: boolean, its: readonly string[]): unknown => ({ Name: name, Mirrors: its, Secure: secure, Official: name === DEFAULT_DOMAIN })
  return {
    InsecureRegistryCIDRs: insecure.filter(isNetwork), Mirrors: mirrors,
    IndexConfigs: Object.fromEntries([[DEFAULT_DOMAIN, index(DEFAULT_DOMAIN, true, mirrors)], ...insecure.filter((one) => !isNetwork(one)).map((one) => [one, index(one, false, [])])]),
  }
}

const AUTH_LIMIT = 64 << 10

/** Reads `X-Registry-Auth`: base64url of a JSON object (Engine API, "Authentication"). */
export function parseAuthHeader(header: string): Credentials {
  if (header === '') return ANONYMOUS
  if (header.length > AUTH_LIMIT) throw new EngineError('invalid', 'invalid X-Registry-Auth header: it is too long')
  try {
    return credentialsOf(JSON.parse(Buffer.from(header, 'base64url').toString('utf8')) as unknown)
  } catch (cause) {
    throw new EngineError('invalid', 'invalid X-Registry-Auth header: expected base64url of a JSON object', { cause })
  }
}

/** An AuthConfig of the Engine API. */
export function credentialsOf(value: unknown): Credentials {
  const fields = asObject(value, 'auth')
  const text = (name: string): string => asString(fields[name], `auth.${name}`)
  const [username = '', ...password] = Buffer.from(text('auth'), 'base64').toString('utf8').split(':')
  return { username: text('username') || username, password: text('password') || password.join(':'), identityToken: text('identitytoken'), registryToken: text('registrytoken') }
}
