import type { IncomingMessage } from 'node:http'
import { asInteger, asObject, asString, collect, EngineError } from '@gantry/std'
import type { Http } from './http.ts'

/** Who asks. All empty: nobody in particular. */
export interface Credentials {
  readonly username: string
  readonly password: string
  /** A token of OAuth 2 that is traded for access (`identitytoken`). */
  readonly identityToken: string
  /** A bearer token that is sent as it is. */
  readonly registryToken: string
}

/** Nobody in particular. */
export const ANONYMOUS: Credentials = { username: '', password: '', identityToken: '', registryToken: '' }

/** What a 401 asks for (RFC 9110, 11.6.1; distribution, "Token Authentication"). */
export interface Challenge {
  readonly scheme: 'basic' | 'bearer'
  readonly realm: string
  readonly service: string
  readonly scope: string
}

/** Reads `WWW-Authenticate`; undefined for schemes that are not known. */
export function parseChallenge(header: string | undefined): Challenge | undefined {
  const match = /^\s*(basic|bearer)\b\s*(.*)$/i.exec(header ?? '')
  if (match === null) return undefined
  const fields = new Map([...(match[2] ?? '').matchAll(/(\w+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,]+))/g)].map((one) => [(one[1] ?? '').toLowerCase(), (one[2] ?? one[3] ?? '').replace(/\\(.)/g, '$1')]))
  return { scheme: match[1]?.toLowerCase() === 'basic' ? 'basic' : 'bearer', realm: fields.get('realm') ?? '', service: fields.get('service') ?? '', scope: fields.get('scope') ?? '' }
}

const TOKEN_LIMIT = 1 << 20
/** Tokens without a word on it live so long (distribution, "Token Authentication": 60 s). */
const TOKEN_SECONDS = 60
/** A token is renewed so long before its end. */
const SLACK_MS = 5000

/** Keeps what opens one registry: the header to send, by scope. */
export interface Authorizer {
  /** The header for a request of this scope, where one is known already. */
  header(scope: string): string | undefined
  /** Does what a 401 asks for; false when nothing more can be tried. */
  answer(response: IncomingMessage, scope: string, signal: AbortSignal | undefined): Promise<boolean>
}

const basicOf = ({ username, password }: Credentials): string => `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`

/** Makes the authorizer of one registry. */
export function createAuthorizer(http: Http, registry: URL, credentials: Credentials): Authorizer {
  const tokens = new Map<string, { readonly token: string; readonly until: number }>()
  let basic = false
  const named = credentials.username !== '' || credentials.identityToken !== ''

  const fetchToken = async (challenge: Challenge, scope: string, signal: AbortSignal | undefined): Promise<void> => {
    const realm = URL.parse(challenge.realm)
    if (realm === null || (realm.protocol !== 'https:' && realm.protocol !== 'http:')) throw new EngineError('unavailable', `${registry.host} names no place for tokens: realm ${JSON.stringify(challenge.realm)}`)
    if (named && registry.protocol === 'https:' && realm.protocol !== 'https:') throw new EngineError('forbidden', `${registry.host} wants the password to be sent to ${realm.origin} in the clear: refused`)
    const scopes = [...new Set([...scope.split(' '), ...challenge.scope.split(' ')])].filter((one) => one !== '')
    let answer: IncomingMessage
    if (credentials.identityToken !== '') {
      const form = new URLSearchParams({ grant_type: 'refresh_token', refresh_token: credentials.identityToken, service: challenge.service, client_id: 'gantry', scope: scopes.join(' ') })
      answer = await http.request(realm, { method: 'POST', headers: { 'Content-Type': 'application/x-www-form-urlencoded' }, body: Buffer.from(form.toString()), signal })
    } else {
      if (challenge.service !== '') realm.searchParams.set('service', challenge.service)
      for (const one of scopes) realm.searchParams.append('scope', one)
      if (credentials.username !== '') realm.searchParams.set('account', credentials.username)
      answer = await http.request(realm, { headers: credentials.username === '' ? {} : { Authorization: basicOf(credentials) }, signal })
    }
    const body = (await collect(answer, TOKEN_LIMIT)).toString('utf8')
    if (answer.statusCode === 401 || answer.statusCode === 403) throw new EngineError('unauthorized', 'unauthorized: incorrect username or password')
    if (answer.statusCode !== 200) throw new EngineError('unavailable', `${realm.host} gives no token: status ${answer.statusCode}`)
    let parsed: unknown
    try {
      parsed = JSON.parse(body)
    } catch (cause) {
      throw new EngineError('unavailable', `${realm.host}: the answer with the token is not JSON`, { cause })
    }
    const fields = asObject(parsed, 'token')
    const token = asString(fields['token'], 'token') || asString(fields['access_token'], 'access_token')
    if (token === '' || /[^\x21-\x7e]/.test(token)) throw new EngineError('unavailable', `${realm.host} gives no token in its answer`)
    tokens.set(scope, { token, until: Date.now() + (asInteger(fields['expires_in'], 'expires_in') || TOKEN_SECONDS) * 1000 - SLACK_MS })
  }

  return {
    header(scope) {
      if (credentials.registryToken !== '') return `Bearer ${credentials.registryToken}`
      if (basic) return basicOf(credentials)
      const known = tokens.get(scope)
      return known === undefined || known.until < Date.now() ? undefined : `Bearer ${known.token}`
    },
    async answer(response, scope, signal) {
      const challenge = parseChallenge(response.headers['www-authenticate'])
      response.resume()
      if (challenge === undefined || credentials.registryToken !== '') return false
      if (challenge.scheme === 'basic') {
        if (basic || credentials.username === '') return false
        basic = true
        return true
      }
      if ((tokens.get(scope)?.until ?? 0) > Date.now()) return false
      await fetchToken(challenge, scope, signal)
      return true
    },
  }
}
