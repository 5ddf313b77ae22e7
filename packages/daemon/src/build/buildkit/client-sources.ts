import type { BuildContext, NamedContext, NamedContexts } from '@gantry/builder'
import { receiveUpload } from '@gantry/buildkit'
import { parseImageConfig } from '@gantry/graph'
import { EngineError } from '@gantry/std'
import { dockerfileIn } from '../dockerfile.ts'
import { fetchContext, fetchedOnce, namedElsewhere } from '../elsewhere.ts'
import type { FrontendRequest } from './attributes.ts'
import { UPLOAD_SCHEME } from './uploads.ts'
import { clientDirectory, smallFiles } from './client-files.ts'
import type { FrontendContext } from './frontend-context.ts'

const UPLOADED = /^https?:\/\/buildkit-session(\/.*)$/

/** Where a build's files come from. */
export interface Sources {
  readonly dockerfile: { readonly name: string; readonly bytes: Buffer }
  readonly ignore: Buffer | undefined
  context(paths: readonly string[] | undefined): Promise<BuildContext | undefined>
}

/** Files that somebody else than the client has, all of them; a text is a Dockerfile without a context. */
async function remoteContext({ ports, session, uploaded: came, signal }: FrontendContext, { remote, keepGitDirectory }: FrontendRequest): Promise<BuildContext | Buffer> {
  const uploaded = UPLOADED.exec(remote)?.[1]
  if (uploaded !== undefined) return ports.contexts.receive(receiveUpload(session, uploaded, signal))
  if (remote.startsWith(UPLOAD_SCHEME)) return came(remote.slice(UPLOAD_SCHEME.length), signal)
  return fetchContext(ports, remote, { keepGitDirectory, signal })
}

async function clientDockerfile({ session, log, signal }: FrontendContext, { filename, dockerfileDirectory }: FrontendRequest): Promise<{ readonly dockerfile: Sources['dockerfile']; readonly ignore: Buffer | undefined }> {
  const name = filename === '' ? 'Dockerfile' : filename
  const vertex = log.open(`[internal] load build definition from ${name}`)
  const label = 'transferring dockerfile:'
  vertex.status(label)
  const plain = name.replace(/^(\.?\/)+/, '')
  const files = await smallFiles(session, dockerfileDirectory, [plain, `${plain}.dockerignore`, ...(plain === 'Dockerfile' ? ['dockerfile'] : [])], signal)
  const bytes = files.get(plain) ?? (plain === 'Dockerfile' ? files.get('dockerfile') : undefined)
  vertex.status(label, { current: bytes?.length ?? 2, done: true })
  vertex.done()
  if (bytes === undefined) throw new EngineError('invalid', `failed to read dockerfile: open ${name}: no such file or directory`)
  return { dockerfile: { name, bytes }, ignore: files.get(`${plain}.dockerignore`) }
}

async function clientIgnore({ session, log, signal }: FrontendContext, directory: string): Promise<Buffer | undefined> {
  const vertex = log.open('[internal] load .dockerignore')
  const label = 'transferring context:'
  vertex.status(label)
  const bytes = (await smallFiles(session, directory, ['.dockerignore'], signal)).get('.dockerignore')
  vertex.status(label, { current: bytes?.length ?? 2, done: true })
  vertex.done()
  return bytes
}

/** Settles where the files are. Nothing of a context of the client comes before it is needed. */
export async function sourcesOf(context: FrontendContext, request: FrontendRequest, held: Disposable[]): Promise<Sources> {
  const { ports, session, log, signal } = context
  const { contextDirectory: directory } = request
  const came = new Map<string, () => Promise<BuildContext>>()
  const once = (key: string, work: () => Promise<BuildContext>): Promise<BuildContext> => {
    const known = came.get(key) ?? fetchedOnce(held, work)
    came.set(key, known)
    return known()
  }
  if (request.remote !== '') {
    const remote = await remoteContext(context, request)
    if (!Buffer.isBuffer(remote)) held.push(remote)
    const own = request.ownDockerfile ? await clientDockerfile(context, request) : undefined
    const dockerfile = own?.dockerfile ?? (Buffer.isBuffer(remote) ? { name: 'Dockerfile', bytes: remote } : dockerfileIn(remote, request.filename))
    return { dockerfile, ignore: own?.ignore, context: async () => (Buffer.isBuffer(remote) ? undefined : remote) }
  }
  const [own, ignored] = await Promise.all([clientDockerfile(context, request), clientIgnore(context, directory)])
  const ignore = own.ignore ?? ignored
  return { dockerfile: own.dockerfile, ignore, context: (paths) => once(JSON.stringify(paths ?? null), () => clientDirectory(ports.contexts, session, log, { directory, what: 'build context', ignore, paths }, signal)) }
}

/** Contexts that the client has named beside the first. */
export function namedContexts(context: FrontendContext, { contexts }: FrontendRequest, held: Disposable[]): NamedContexts {
  const { ports, session, log, signal, inputs } = context
  const contextOf = ([key, value]: readonly [string, string]): readonly [string, NamedContext] => {
    const [name = key] = key.split('::', 1)
    if (value.startsWith('input:')) {
      const result = inputs.get(value.slice('input:'.length))
      if (result === undefined) throw new EngineError('invalid', `context ${name}: the build has no input ${value.slice('input:'.length)}`)
      return [name, { chainId: result.chainId, config: parseImageConfig(result.document()) }]
    }
    if (value.startsWith('local:')) {
      const directory = value.slice('local:'.length)
      return [name, fetchedOnce(held, async () => clientDirectory(ports.contexts, session, log, { directory, what: `context ${name}`, ignore: (await smallFiles(session, directory, ['.dockerignore'], signal)).get('.dockerignore'), paths: undefined }, signal))]
    }
    const elsewhere = namedElsewhere(ports, value, signal, held)
    if (elsewhere !== undefined) return [name, elsewhere]
    throw new EngineError('unsupported', `context ${name}: ${JSON.stringify(value)}: expected docker-image://, a directory, a git repository or an URL`)
  }
  return new Map([...contexts].map(contextOf))
}
