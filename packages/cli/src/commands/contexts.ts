import { cpSync, createReadStream, createWriteStream, existsSync, lstatSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { pipeline } from 'node:stream/promises'
import { asObject, asString, collect, EngineError } from '@gantry/std'
import type { Command, Context } from '../command.ts'
import { configDirectory } from '../config-file.ts'
import { type ContextRequest, type Contexts, DEFAULT, openContexts, type StoredContext } from '../contexts.ts'
import type { Flag, Parsed } from '../flags.ts'
import { listing } from '../output.ts'
import { compileTemplate } from '../template.ts'
import { tar } from './copy.ts'

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

const ARCHIVE_LIMIT = 10 << 20

/** Writes a context as an archive: its description, and the files that prove who one is. */
async function exportContext(name: string, file: string): Promise<number> {
  if (name === DEFAULT) throw new EngineError('invalid', 'context "default": cannot be exported: it is made of flags and variables')
  const contexts = open()
  contexts.get(name)
  const { meta, tls } = contexts.places(name)
  const work = mkdtempSync('/tmp/gantry-context-')
  try {
    cpSync(`${meta}/meta.json`, `${work}/meta.json`)
    if (existsSync(tls)) cpSync(tls, `${work}/tls`, { recursive: true })
    const pack = tar(['-c', '-C', work, '--owner=0', '--group=0', 'meta.json', ...(existsSync(tls) ? ['tls'] : [])])
    if (file !== '-' && existsSync(file)) throw new EngineError('conflict', `${file} is there already`)
    await Promise.all([pipeline(pack.output, file === '-' ? process.stdout : createWriteStream(file, { mode: 0o600 })), pack.done])
    if (file !== '-') process.stderr.write(`Written file ${JSON.stringify(file)}\n`)
    return 0
  } finally {
    rmSync(work, { recursive: true })
  }
}

/** Reads such an archive; nothing but what a context is made of is taken. */
async function importContext(name: string, file: string): Promise<number> {
  const bytes = await collect(file === '-' ? process.stdin : createReadStream(file), ARCHIVE_LIMIT)
  const work = mkdtempSync('/tmp/gantry-context-')
  try {
    const unpack = tar(['-x', '-C', work, '--no-same-owner', '--no-same-permissions', '--wildcards', 'meta.json', 'tls/docker/*.pem'])
    unpack.input.end(bytes)
    await unpack.done.catch((cause: unknown) => {
      // An archive without files to prove who one is says that it has not found them.
      if (!existsSync(`${work}/meta.json`)) throw new EngineError('invalid', `${file}: not an exported context: it has no meta.json`, { cause })
    })
    const meta = asObject(JSON.parse(readFileSync(`${work}/meta.json`, 'utf8')), 'meta.json')
    const docker = asObject(asObject(meta['Endpoints'], 'Endpoints')['docker'], 'Endpoints.docker')
    const files = Object.fromEntries(['ca', 'cert', 'key'].map((kind) => [kind, `${work}/tls/docker/${kind}.pem`]).filter(([, path = '']) => lstatSync(path, { throwIfNoEntry: false })?.isFile() === true))
    open().put({ name, description: asString(asObject(meta['Metadata'], 'Metadata')['Description'], 'Description'), host: asString(docker['Host'], 'Host'), skipVerify: docker['SkipTLSVerify'] === true, files }, false)
    process.stdout.write(`${name}\n`)
    process.stderr.write(`Successfully imported context "${name}"\n`)
    return 0
  } finally {
    rmSync(work, { recursive: true })
  }
}

function list(context: Context, parsed: Parsed): number {
  const contexts = open()
  const current = process.env['DOCKER_HOST'] ? DEFAULT : (process.env['DOCKER_CONTEXT'] ?? contexts.current())
  const items = [own(context), ...contexts.list()].map((one) => ({ Name: one.name, Description: one.description, DockerEndpoint: one.host, Current: one.name === current, Error: '' }))
  if (parsed.bool('quiet')) process.stdout.write(items.map((one) => `${one.Name}\n`).join(''))
  else process.stdout.write(listing(items, parsed.text('format'), [['NAME', (one) => `${one.Name}${one.Current ? ' *' : ''}`], ['DESCRIPTION', (one) => one.Description], ['DOCKER ENDPOINT', (one) => one.DockerEndpoint], ['ERROR', (one) => one.Error]], { Name: 'NAME', Description: 'DESCRIPTION', DockerEndpoint: 'DOCKER ENDPOINT', Current: 'CURRENT', Error: 'ERROR' }))
  return 0
}

function inspect(context: Context, names: readonly string[], format: string): number {
  const contexts = open()
  const shown = (names.length === 0 ? [contexts.current()] : names).map((name) => {
    const one = name === DEFAULT ? own(context) : contexts.get(name)
    const { meta, tls } = name === DEFAULT ? { meta: '<IN MEMORY>', tls: '<IN MEMORY>' } : contexts.places(name)
    return { Name: one.name, Metadata: one.description === '' || name === DEFAULT ? {} : { Description: one.description }, Endpoints: { docker: { Host: one.host, SkipTLSVerify: one.skipVerify } }, TLSMaterial: {}, Storage: { MetadataPath: meta, TLSPath: tls } }
  })
  const render = format === '' || format === 'json' ? undefined : compileTemplate(format)
  process.stdout.write(render !== undefined ? shown.map((one) => `${render(one)}\n`).join('') : format === 'json' ? shown.map((one) => `${JSON.stringify(one)}\n`).join('') : `${JSON.stringify(shown, undefined, 4)}\n`)
  return 0
}

/** Commands on contexts: which daemon is meant, by a name. They need none. */
export const CONTEXT_COMMANDS: readonly Command[] = [
  { names: ['context ls', 'context list'], usage: 'context ls [OPTIONS]', help: 'List contexts', offline: true, flags: [FORMAT, { name: 'quiet', short: 'q', kind: 'bool', help: 'Only show context names' }], run: async (context, parsed) => list(context, parsed) },
  {
    names: ['context create'], usage: 'context create [OPTIONS] CONTEXT', help: 'Create a context', offline: true, flags: [...ENDPOINT, { name: 'from', kind: 'text', help: 'create context from a named context' }],
    run: async (context, parsed) => {
      const [name = ''] = parsed.rest
      const contexts = open()
      const from = parsed.text('from')
      const source = from === '' || from === DEFAULT ? { ...own(context), description: '' } : contexts.get(from)
      const request = requestOf(name, parsed, source)
      const kept = from === '' || from === DEFAULT ? {} : Object.fromEntries(['ca', 'cert', 'key'].map((kind) => [kind, `${contexts.places(from).tls}/docker/${kind}.pem`]).filter(([, path = '']) => existsSync(path)))
      contexts.put({ ...request, files: { ...kept, ...request.files } }, false)
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
  { names: ['context inspect'], usage: 'context inspect [OPTIONS] [CONTEXT...]', help: 'Display detailed information on one or more contexts', offline: true, flags: [{ ...FORMAT, short: 'f' }], run: async (context, parsed) => inspect(context, parsed.rest, parsed.text('format')) },
  { names: ['context export'], usage: 'context export CONTEXT [FILE|-]', help: 'Export a context to a tar archive FILE or a tar stream on STDOUT', offline: true, flags: [], run: (_, parsed) => exportContext(parsed.rest[0] ?? '', parsed.rest[1] ?? `${parsed.rest[0]}.dockercontext`) },
  { names: ['context import'], usage: 'context import CONTEXT FILE|-', help: 'Import a context from a tar file', offline: true, flags: [], run: (_, parsed) => importContext(parsed.rest[0] ?? '', parsed.rest[1] ?? '') },
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
