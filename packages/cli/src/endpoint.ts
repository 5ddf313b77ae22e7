import type { Endpoint } from '@gantry/api'
import { asStringMap, EngineError } from '@gantry/std'
import { configDirectory, openConfig } from './config-file.ts'
import { DEFAULT, openContexts } from './contexts.ts'
import type { Flag, Parsed } from './flags.ts'

/** Where the daemon that the client starts by itself listens. */
export const DEFAULT_HOST = 'unix:///run/gantry.sock'

/** Flags before the command. */
export const GLOBAL_FLAGS: readonly Flag[] = [
  { name: 'host', short: 'H', kind: 'text', help: 'Daemon socket to connect to' },
  { name: 'context', short: 'c', kind: 'text', help: 'Name of the context to use to connect to the daemon (overrides DOCKER_HOST and the context that "gantry context use" set)' },
  { name: 'config', kind: 'text', help: 'Location of client config files' },
  { name: 'debug', short: 'D', kind: 'bool', help: 'Show the stack of an error' },
  { name: 'log-level', short: 'l', kind: 'text', help: 'Taken for the sake of scripts; the client keeps no log' },
  { name: 'tls', kind: 'bool', help: 'Use TLS; implied by --tlsverify' },
  { name: 'tlsverify', kind: 'bool', help: 'Use TLS and verify the remote' },
  { name: 'tlscacert', kind: 'text', help: 'Trust certs signed only by this CA' },
  { name: 'tlscert', kind: 'text', help: 'Path to TLS certificate file' },
  { name: 'tlskey', kind: 'text', help: 'Path to TLS key file' },
  { name: 'version', short: 'v', kind: 'bool', help: 'Print version information and quit' },
  { name: 'help', kind: 'bool', help: 'Print usage' },
]

/** The daemon that is meant: flags, then the environment, then the context in use. */
export function endpointOf(globals: Parsed): Endpoint {
  const { env } = process
  const directory = env['DOCKER_CERT_PATH'] ?? configDirectory(env)
  const verify = globals.bool('tlsverify') || (env['DOCKER_TLS_VERIFY'] ?? '') !== ''
  const given = globals.text('host') || (globals.text('context') === '' ? env['DOCKER_HOST'] : '')
  if (globals.text('host') !== '' && globals.text('context') !== '') throw new EngineError('invalid', 'conflicting options: cannot specify both --host and --context')
  const contexts = openContexts(configDirectory(env))
  const context = given ? DEFAULT : globals.text('context') || env['DOCKER_CONTEXT'] || contexts.current()
  const host = given || DEFAULT_HOST
  const asked = env['DOCKER_API_VERSION'] ?? ''
  const headers = asStringMap(openConfig(configDirectory(env)).read()['HttpHeaders'], 'HttpHeaders')
  const common = { headers, ...(asked !== '' && { version: asked.replace(/^v/, '') }) }
  if (context !== DEFAULT) return { ...contexts.endpoint(context), ...common }
  if (!verify && !globals.bool('tls')) return { host, ...common }
  const file = (name: string, fallback: string): string => globals.text(name) || `${directory}/${fallback}`
  return { host, ...common, tls: { verify, ...(verify && { ca: file('tlscacert', 'ca.pem'), cert: file('tlscert', 'cert.pem'), key: file('tlskey', 'key.pem') }) } }
}
