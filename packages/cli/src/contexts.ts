import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import type { Endpoint } from '@gantry/api'
import { asBoolean, asObject, asString, EngineError, type JsonObject, readText } from '@gantry/std'
import { openConfig } from './config-file.ts'

/** Files of a context that prove who one is, by what they are called in the store. */
const TLS_FILES = { ca: 'ca.pem', cert: 'cert.pem', key: 'key.pem' } as const
const NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.+-]+$/
/** Without a context: the flags and the environment. */
export const DEFAULT = 'default'

/** A named daemon (Docker's context store: `contexts/meta/SHA256(NAME)/meta.json`). */
export interface StoredContext {
  readonly name: string
  readonly description: string
  readonly host: string
  readonly skipVerify: boolean
}

/** What a context is made of; paths of files that are copied. */
export interface ContextRequest extends StoredContext {
  readonly files: Readonly<Partial<Record<keyof typeof TLS_FILES, string>>>
}

/** The user's contexts. */
export interface Contexts {
  list(): readonly StoredContext[]
  get(name: string): StoredContext
  /** `replace`: over one that is there. */
  put(request: ContextRequest, replace: boolean): void
  remove(name: string): void
  current(): string
  use(name: string): void
  /** How its daemon is reached. */
  endpoint(name: string): Endpoint
  /** Folders of its description and of its files. */
  places(name: string): { readonly meta: string; readonly tls: string }
}

function read(path: string): StoredContext | undefined {
  const text = readText(path)
  if (text === undefined) return undefined
  const meta = asObject(JSON.parse(text), path)
  const docker = asObject(asObject(meta['Endpoints'], 'Endpoints')['docker'], 'Endpoints.docker')
  return { name: asString(meta['Name'], 'Name'), description: asString(asObject(meta['Metadata'], 'Metadata')['Description'], 'Description'), host: asString(docker['Host'], 'Host'), skipVerify: asBoolean(docker['SkipTLSVerify'], 'SkipTLSVerify') }
}

/** Opens the store in the folder of the user's configuration. */
export function openContexts(directory: string): Contexts {
  const config = openConfig(directory)
  const places = (name: string): { readonly meta: string; readonly tls: string } => {
    const id = process.getBuiltinModule('node:crypto').createHash('sha256').update(name).digest('hex')
    return { meta: `${directory}/contexts/meta/${id}`, tls: `${directory}/contexts/tls/${id}` }
  }
  const find = (name: string): StoredContext | undefined => read(`${places(name).meta}/meta.json`)
  const get = (name: string): StoredContext => {
    const found = find(name)
    if (found === undefined) throw new EngineError('invalid', `context "${name}": context not found: open ${places(name).meta}/meta.json: no such file or directory`)
    return found
  }
  const current = (): string => asString(config.read()['currentContext'], 'currentContext') || DEFAULT
  return {
    places, get, current,
    list() {
      const home = `${directory}/contexts/meta`
      const ids = existsSync(home) ? readdirSync(home) : []
      return ids.flatMap((id) => read(`${home}/${id}/meta.json`) ?? []).sort((a, b) => (a.name < b.name ? -1 : 1))
    },
    put(request, replace) {
      if (request.name === DEFAULT) throw new EngineError('invalid', '"default" is a reserved context name')
      if (!NAME.test(request.name)) throw new EngineError('invalid', `context name "${request.name}" is invalid, names are validated against regexp "${NAME.source}"`)
      if (!replace && find(request.name) !== undefined) throw new EngineError('invalid', `context "${request.name}" already exists`)
      const { meta, tls } = places(request.name)
      const contents = Object.entries(request.files).map(([kind, path]) => [TLS_FILES[kind as keyof typeof TLS_FILES], readFileSync(path)] as const)
      mkdirSync(meta, { recursive: true, mode: 0o755 })
      const document: JsonObject = { Name: request.name, Metadata: request.description === '' ? {} : { Description: request.description }, Endpoints: { docker: { Host: request.host, SkipTLSVerify: request.skipVerify } } }
      writeFileSync(`${meta}/meta.json`, JSON.stringify(document))
      if (contents.length > 0) mkdirSync(`${tls}/docker`, { recursive: true, mode: 0o700 })
      for (const [file, content] of contents) writeFileSync(`${tls}/docker/${file}`, content, { mode: 0o600 })
    },
    remove(name) {
      get(name)
      const { meta, tls } = places(name)
      for (const path of [meta, tls]) rmSync(path, { recursive: true, force: true })
    },
    use(name) {
      if (name !== DEFAULT) get(name)
      const { currentContext: _, ...rest } = config.read()
      config.write(name === DEFAULT ? rest : { ...rest, currentContext: name })
    },
    endpoint(name) {
      const { host, skipVerify } = get(name)
      const files = Object.entries(TLS_FILES).map(([kind, file]) => [kind, `${places(name).tls}/docker/${file}`] as const).filter(([, path]) => existsSync(path))
      return files.length === 0 && !skipVerify ? { host } : { host, tls: { verify: !skipVerify, ...Object.fromEntries(files) } }
    },
  }
}
