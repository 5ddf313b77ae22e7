import { spawn } from 'node:child_process'
import { asObject, asString, asStringMap, EngineError, hasCode, type JsonObject } from '@gantry/std'
import { configDirectory, openConfig } from './config-file.ts'

/** What the API takes as `AuthConfig`. */
export interface AuthConfig {
  readonly username?: string
  readonly password?: string
  readonly identitytoken?: string
  readonly serveraddress: string
}

/** Under this name configurations keep the password of the registry of names that name none. */
const DEFAULT_SERVER = 'https://index.docker.io/v1/'
/** A helper that stores a token instead of a password says so by this name. */
const TOKEN_USER = '<token>'

/** The registry's key in configurations: its host as people write it. */
export function serverOf(image: string): string {
  const slash = image.indexOf('/')
  const first = slash < 0 ? '' : image.slice(0, slash)
  return /[.:]/.test(first) || first === 'localhost' ? first : DEFAULT_SERVER
}

/** A server as `login` is given it: scheme and path do not count, but for the default one. */
export function serverNamed(text: string): string {
  const host = text.replace(/^https?:\/\//, '').replace(/\/.*$/, '')
  return host === '' || host === 'index.docker.io' || host === 'docker.io' ? DEFAULT_SERVER : host
}

/** Passwords of registries: in the user's configuration file or with a helper that it names (`credsStore`, `credHelpers`). */
export interface Credentials {
  find(server: string): Promise<AuthConfig | undefined>
  store(auth: AuthConfig): Promise<{ readonly inFile: string | undefined }>
  erase(server: string): Promise<boolean>
}

/** Runs `docker-credential-NAME VERB`; undefined when it knows nothing of the server. */
function runHelper(name: string, verb: 'get' | 'store' | 'erase', input: string): Promise<string | undefined> {
  if (!/^[\w.-]+$/.test(name)) throw new EngineError('invalid', `credential helper ${JSON.stringify(name)}: not a name`)
  return new Promise((resolve, reject) => {
    const child = spawn(`docker-credential-${name}`, [verb], { stdio: ['pipe', 'pipe', 'inherit'] })
    let out = ''
    child.stdout.on('data', (chunk: Buffer) => {
      out += chunk.toString()
    })
    child.once('error', (cause) => reject(new EngineError('internal', `cannot run docker-credential-${name}: ${hasCode(cause, 'ENOENT') ? 'it is not installed' : cause.message}`, { cause })))
    child.once('close', (code) => {
      if (code === 0) resolve(out)
      else if (/credentials not found/.test(out)) resolve(undefined)
      else reject(new EngineError('internal', `docker-credential-${name} ${verb}: ${out.trim() || `exit code ${code}`}`))
    })
    child.stdin.on('error', () => undefined) // it has ended: its exit code says why
    child.stdin.end(input)
  })
}

/** Opens the configuration in a folder (`~/.docker`, or `DOCKER_CONFIG`). */
export function openCredentials(directory: string): Credentials {
  const { path, read, write } = openConfig(directory)
  const helperOf = (config: JsonObject, server: string): string => asStringMap(config['credHelpers'], 'credHelpers')[server] ?? asString(config['credsStore'], 'credsStore')
  return {
    async find(server) {
      const config = read()
      const helper = helperOf(config, server)
      if (helper !== '') {
        const out = await runHelper(helper, 'get', server)
        if (out === undefined) return undefined
        const found = asObject(JSON.parse(out), 'credentials')
        const [username, secret] = [asString(found['Username'], 'Username'), asString(found['Secret'], 'Secret')]
        return username === TOKEN_USER ? { identitytoken: secret, serveraddress: server } : { username, password: secret, serveraddress: server }
      }
      const auths = asObject(config['auths'], 'auths')
      const key = [server, `https://${server}`, `http://${server}`, `https://${server}/v1/`, `https://${server}/v2/`].find((one) => auths[one] !== undefined)
      if (key === undefined) return undefined
      const entry = asObject(auths[key], `auths.${key}`)
      const [username = '', ...password] = Buffer.from(asString(entry['auth'], 'auth'), 'base64').toString('utf8').split(':')
      const token = asString(entry['identitytoken'], 'identitytoken')
      return { username, password: password.join(':').replace(/\0+$/, ''), ...(token !== '' && { identitytoken: token }), serveraddress: server }
    },
    async store(auth) {
      const config = read()
      const helper = helperOf(config, auth.serveraddress)
      if (helper !== '') {
        const secret = auth.identitytoken === undefined ? { Username: auth.username ?? '', Secret: auth.password ?? '' } : { Username: TOKEN_USER, Secret: auth.identitytoken }
        await runHelper(helper, 'store', JSON.stringify({ ServerURL: auth.serveraddress, ...secret }))
        return { inFile: undefined }
      }
      const entry = { auth: Buffer.from(`${auth.username ?? ''}:${auth.password ?? ''}`).toString('base64'), ...(auth.identitytoken !== undefined && { identitytoken: auth.identitytoken }) }
      write({ ...config, auths: { ...asObject(config['auths'], 'auths'), [auth.serveraddress]: entry } })
      return { inFile: path }
    },
    async erase(server) {
      const config = read()
      const helper = helperOf(config, server)
      if (helper !== '') return (await runHelper(helper, 'erase', server)) !== undefined
      const auths = asObject(config['auths'], 'auths')
      if (auths[server] === undefined) return false
      const { [server]: _, ...others } = auths
      write({ ...config, auths: others })
      return true
    },
  }
}

/** The header that goes with a request on this image: whoever the user is to its registry, or nobody. */
export async function authHeader(image: string): Promise<Readonly<Record<string, string>>> {
  const auth = await openCredentials(configDirectory(process.env)).find(serverOf(image))
  return auth === undefined ? {} : { 'X-Registry-Auth': Buffer.from(JSON.stringify(auth)).toString('base64url') }
}
