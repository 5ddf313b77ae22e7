import { existsSync } from 'node:fs'
import { request } from 'node:http'
import { asObject, asString, collect, EngineError, type JsonObject, messageOf, readText } from '@gantry/std'

/** Asks a plugin: the method (`VolumeDriver.Mount`) and its body. A refusal is an error with its words. */
export type PluginCall = (method: string, body: object) => Promise<JsonObject>

const TIMEOUT_MS = 30_000
const ANSWER_LIMIT = 1 << 20
const NAME = /^[a-zA-Z0-9][\w.-]{0,127}$/
/** Where plugins put their sockets. */
export const PLUGIN_SOCKETS = '/run/docker/plugins'
const SPECS: readonly string[] = ['/etc/docker/plugins', '/usr/lib/docker/plugins']

/** Where requests go: a socket, or a host and port. */
type Address = { readonly socketPath: string } | { readonly host: string; readonly port: number }

function readSpec(path: string): Address | undefined {
  const text = readText(path)?.trim()
  if (text === undefined) return undefined
  const unix = /^unix:\/\/(\/.+)$/.exec(text)
  if (unix?.[1] !== undefined) return { socketPath: unix[1] }
  const url = URL.parse(text.replace(/^tcp:/, 'http:'))
  if (url === null || url.protocol !== 'http:' || url.port === '') throw new EngineError('invalid', `${path}: expected unix:///SOCKET or tcp://HOST:PORT`)
  return { host: url.hostname, port: Number(url.port) }
}

/** Finds a plugin by its name: its socket, or a file that names where it listens. */
function addressOf(name: string, sockets: string): Address | undefined {
  if (!NAME.test(name)) return undefined
  for (const socketPath of [`${sockets}/${name}.sock`, `${sockets}/${name}/${name}.sock`]) if (existsSync(socketPath)) return { socketPath }
  for (const directory of SPECS) {
    const found = readSpec(`${directory}/${name}.spec`)
    if (found !== undefined) return found
  }
  return undefined
}

function post(address: Address, path: string, body: object): Promise<JsonObject> {
  return new Promise((resolve, reject) => {
    const bytes = Buffer.from(JSON.stringify(body))
    const sent = request({ ...address, path, method: 'POST', timeout: TIMEOUT_MS, headers: { Accept: 'application/vnd.docker.plugins.v1.2+json', 'Content-Type': 'application/vnd.docker.plugins.v1.2+json', 'Content-Length': String(bytes.length) } }, (response) => {
      collect(response, ANSWER_LIMIT).then((text) => {
        const answer = text.length === 0 ? {} : asObject(JSON.parse(text.toString('utf8')), path)
        const problem = asString(answer['Err'], 'Err')
        if (problem !== '' || response.statusCode !== 200) throw new EngineError('internal', `${path.slice(1)}: ${problem === '' ? `status ${response.statusCode}` : problem}`)
        return answer
      }).then(resolve, reject)
    })
    sent.once('timeout', () => sent.destroy(new EngineError('unavailable', `the plugin did not answer within ${TIMEOUT_MS / 1000} s`)))
    sent.once('error', (cause) => reject(cause instanceof EngineError ? cause : new EngineError('unavailable', `the plugin does not answer: ${messageOf(cause)}`, { cause })))
    sent.end(bytes)
  })
}

/** Opens a plugin (Docker's plugin API, version 1); one that is not there, or does not implement what is wanted, is an error in Docker's words. `kind` is for people. */
export async function openPluginSocket(name: string, wanted: string, kind: string, sockets: string = PLUGIN_SOCKETS): Promise<PluginCall> {
  const address = addressOf(name, sockets)
  if (address === undefined) throw new EngineError('not-found', `error looking up ${kind} plugin ${name}: plugin "${name}" not found`)
  const { Implements } = await post(address, '/Plugin.Activate', {})
  if (!Array.isArray(Implements) || !Implements.includes(wanted)) throw new EngineError('invalid', `error looking up ${kind} plugin ${name}: plugin does not implement "${wanted}"`)
  return (method, body) => post(address, `/${method}`, body)
}
