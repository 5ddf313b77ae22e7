import { EngineError } from '@gantry/std'
import type { Command, Context } from '../command.ts'
import { configDirectory } from '../config-file.ts'
import { type ContextRequest, type Contexts, DEFAULT, openContexts, type StoredContext } from '../contexts.ts'
import type { Flag, Parsed } from '../flags.ts'
import { listing } from '../output.ts'

const open = (): Contexts => openContexts(configDirectory(process.env))
const FORMAT: Flag = { name: 'format', kind: 'text', help: 'Format output using a custom template' }
const ENDPOINT: readonly Flag[] = [{ name: 'description', kind: 'text', help: 'Description of the context' }, { name: 'docker', kind: 'text', help: 'set the docker endpoint: host=…,ca=…,cert=…,key=…,skip-tls-verify=true' }]

const own = (context: Context): StoredContext => ({ name: DEFAULT, description: 'Current DOCKER_HOST based configuration', host: context.host, skipVerify: false })

/** Reads `host=…,ca=…`. */
function requestOf(name: string, parsed: Parsed, from: StoredContext): ContextRequest {
  const fields = new Map(parsed.text('docker').split(',').filter((one) => one !== '').map((one) => [one.slice(0, one.indexOf('=')), one.slice(one.indexOf('=') + 1)] as const))
  for (const key of fields.keys()) if (!['host', 'ca', 'cert', 'key', 'skip-tls-verify', 'from'].includes(key)) throw new EngineError('invalid', `unrecognized config key: ${key}`)
  const file = (kind: 'ca' | 'cert' | 'key'): Partial<Record<typeof kind, string>> => {
    const path = fields.get(kind)
    return path === undefined ? {} : { [kind]: path }
  }
  return { name, description: parsed.has('description') ? parsed.text('description') : from.description, host: fields.get('host') ?? from.host, skipVerify: fields.get('skip-tls-verify') === 'true', files: { ...file('ca'), ...file('cert'), ...file('key') } }
}

function list(context: Context, parsed: Parsed): number {
  const contexts = open()
  const current = process.env['DOCKER_HOST'] ? DEFAULT : (process.env['DOCKER_CONTEXT'] ?? contexts.current())
  const items = [own(context), ...contexts.list()].map((one) => ({ Name: one.name, Description: one.description, DockerEndpoint: one.host, Current: one.name === current, Error: '' }))
  if (parsed.bool('quiet')) process.stdout.write(items.map((one) => `${one.Name}\n`).join(''))
  else process.stdout.write(listing(items, parsed.text('format'), [['NAME', (one) => `${one.Name}${one.Current ? ' *' : ''}`], ['DESCRIPTION', (one) => one.Description], ['DOCKER ENDPOINT', (one) => one.DockerEndpoint], ['ERROR', (one) => one.Error]], { Name: 'NAME', Description: 'DESCRIPTION', DockerEndpoint: 'DOCKER ENDPOINT', Current: 'CURRENT', Error: 'ERROR' }))
  return 0
}

function inspect(context: Context, names: readonly string[]): number {
  const contexts = open()
  const shown = (names.length === 0 ? [contexts.current()] : names).map((name) => {
    const one = name === DEFAULT ? own(context) : contexts.get(name)
    const { meta, tls } = name === DEFAULT ? { meta: '<IN MEMORY>', tls: '<IN MEMORY>' } : contexts.places(name)
    return { Name: one.name, Metadata: one.description === '' || name === DEFAULT ? {} : { Description: one.description }, Endpoints: { docker: { Host: one.host, SkipTLSVerify: one.skipVerify } }, TLSMaterial: {}, Storage: { MetadataPath: meta, TLSPath: tls } }
  })
  process.stdout.write(`${JSON.stringify(shown, undefined, 4)}\n`)
  return 0
}

/** Commands on contexts: which daemon is meant, by a name. They need none. */
export const CONTEXT_COMMANDS: readonly Command[] = [
  { names: ['context ls', 'context list'], usage: 'context ls [OPTIONS]', help: 'List contexts', offline: true, flags: [FORMAT, { name: 'quiet', short: 'q', kind: 'bool', help: 'Only show context names' }], run: async (context, parsed) => list(context, parsed) },
  {
    names: ['context create'], usage: 'context create [OPTIONS] CONTEXT', help: 'Create a context', offline: true, flags: ENDPOINT,
    run: async (context, parsed) => {
      const [name = ''] = parsed.rest
      open().put(requestOf(name, parsed, { ...own(context), description: '' }), false)
      process.stdout.write(`${name}\n`)
      process.stderr.write(`Successfully created context "${name}"\n`)
      return 0
    },
  },
  {
    names: ['context update'], usage: 'context update [OPTIONS] CONTEXT', help: 'Update a context', offline: true, flags: ENDPOINT,
    run: async (_, parsed) => {
      const [name = ''] = parsed.rest
      const contexts = open()
      contexts.put(requestOf(name, parsed, contexts.get(name)), true)
      process.stdout.write(`${name}\n`)
      process.stderr.write(`Successfully updated context "${name}"\n`)
      return 0
    },
  },
  {
    names: ['context use'], usage: 'context use CONTEXT', help: 'Set the default context', offline: true, flags: [],
    run: async (_, parsed) => {
      const [name = ''] = parsed.rest
      open().use(name)
      process.stdout.write(`${name}\n`)
      process.stderr.write(`Current context is now "${name}"\n`)
      if (process.env['DOCKER_HOST']) process.stderr.write(`Warning: DOCKER_HOST environment variable overrides the active context. To use "${name}", either set the global --context flag, or unset DOCKER_HOST environment variable.\n`)
      return 0
    },
  },
  {
    names: ['context show'], usage: 'context show', help: 'Print the name of the current context', offline: true, flags: [],
    run: async () => {
      process.stdout.write(`${process.env['DOCKER_HOST'] ? DEFAULT : (process.env['DOCKER_CONTEXT'] ?? open().current())}\n`)
      return 0
    },
  },
  { names: ['context inspect'], usage: 'context inspect [CONTEXT...]', help: 'Display detailed information on one or more contexts', offline: true, flags: [], run: async (context, parsed) => inspect(context, parsed.rest) },
  {
    names: ['context rm', 'context remove'], usage: 'context rm [OPTIONS] CONTEXT [CONTEXT...]', help: 'Remove one or more contexts', offline: true, flags: [{ name: 'force', short: 'f', kind: 'bool', help: 'Force the removal of a context in use' }],
    run: async (_, parsed) => {
      const contexts = open()
      for (const name of parsed.rest) {
        if (name === DEFAULT) throw new EngineError('invalid', 'context "default" cannot be removed')
        const inUse = contexts.current() === name
        if (inUse && !parsed.bool('force')) throw new EngineError('invalid', `context "${name}" is in use, set -f flag to force remove`)
        contexts.remove(name)
        if (inUse) contexts.use(DEFAULT)
        process.stdout.write(`${name}\n`)
      }
      return 0
    },
  },
]
