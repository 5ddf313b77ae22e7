import { text } from 'node:stream/consumers'
import type { ContainerConfig, EventMessage, HostConfig } from '../types/container.ts'
import { jsonLines, type OutputChunk, outputOf, type Progress, progressOf } from './streams.ts'
import { createTransport, type Endpoint, type Transport } from './transport.ts'

/** What a container is made from: all of it may be left out but the image. */
export interface CreateRequest extends Partial<ContainerConfig> {
  readonly Image: string
  readonly HostConfig?: Partial<HostConfig>
  readonly NetworkingConfig?: { readonly EndpointsConfig: Readonly<Record<string, object>> }
}

/** One line of `GET /containers/json`. */
export interface ContainerSummary {
  readonly Id: string
  readonly Names: readonly string[]
  readonly Image: string
  readonly ImageID: string
  readonly State: string
  readonly Status: string
  readonly Created: number
  readonly Labels: Readonly<Record<string, string>>
}

/** One line of `GET /images/json`. */
export interface ImageSummary {
  readonly Id: string
  readonly RepoTags: readonly string[]
  readonly RepoDigests: readonly string[]
  readonly Size: number
  readonly Created: number
}

/** Filters by name: `{ label: ['a=b'] }`. */
export type FilterMap = Readonly<Record<string, readonly string[]>>
/** What may be ended before it is over. */
export interface Abortable {
  readonly signal?: AbortSignal
}

/** What of a log is wanted. */
export interface LogOptions extends Abortable {
  readonly follow?: boolean
  readonly tail?: number
  /** RFC 3339, seconds since 1970, or a duration back (`5m`). */
  readonly since?: string
  readonly until?: string
  readonly timestamps?: boolean
}

/** Containers of a daemon. Errors are those of the transport: `DaemonError` has the status and the daemon's words. */
export interface Containers {
  list(options?: { readonly all?: boolean; readonly filters?: FilterMap }): Promise<readonly ContainerSummary[]>
  create(request: CreateRequest, options?: { readonly name?: string; readonly platform?: string }): Promise<{ readonly Id: string; readonly Warnings: readonly string[] }>
  start(id: string): Promise<void>
  /** Seconds until it is killed; its own patience when left out. */
  stop(id: string, seconds?: number): Promise<void>
  kill(id: string, signal?: string): Promise<void>
  remove(id: string, options?: { readonly force?: boolean; readonly volumes?: boolean }): Promise<void>
  inspect<T = Readonly<Record<string, unknown>>>(id: string): Promise<T>
  /** The exit code, once it has ended. */
  wait(id: string, options?: Abortable & { readonly condition?: 'not-running' | 'next-exit' | 'removed' }): Promise<number>
  logs(id: string, options?: LogOptions): AsyncGenerator<OutputChunk>
  /** Runs a command inside; output as it comes, and at last the exit code as the generator's value. */
  exec(id: string, command: readonly string[], options?: Abortable & { readonly env?: readonly string[]; readonly user?: string; readonly workdir?: string }): AsyncGenerator<OutputChunk, number>
}

/** Images of a daemon. */
export interface Images {
  list(options?: { readonly filters?: FilterMap }): Promise<readonly ImageSummary[]>
  inspect<T = Readonly<Record<string, unknown>>>(name: string): Promise<T>
  pull(name: string, options?: Abortable & { readonly platform?: string }): AsyncGenerator<Progress>
  load(archive: AsyncIterable<Uint8Array>): AsyncGenerator<Progress>
  tag(name: string, repository: string, tag?: string): Promise<void>
  remove(name: string, options?: { readonly force?: boolean }): Promise<void>
}

/** A daemon, typed. */
export interface Client {
  /** What has no method of its own goes by path. */
  readonly transport: Transport
  readonly containers: Containers
  readonly images: Images
  events(options?: Abortable & { readonly since?: string; readonly until?: string; readonly filters?: FilterMap }): AsyncGenerator<EventMessage>
  info<T = Readonly<Record<string, unknown>>>(): Promise<T>
}

const DEFAULT_HOST = 'unix:///run/gantry.sock'
const filterText = (filters: FilterMap | undefined): string | undefined => (filters === undefined ? undefined : JSON.stringify(filters))
const aborting = (options: Abortable): Abortable => (options.signal === undefined ? {} : { signal: options.signal })

function containersOf(transport: Transport): Containers {
  const post = async (id: string, verb: string, query: Readonly<Record<string, string | number | boolean | undefined>> = {}): Promise<void> => void (await transport.send('POST', `/containers/${id}/${verb}`, { query })).resume()
  return {
    list: ({ all, filters } = {}) => transport.json('GET', '/containers/json', { query: { all, filters: filterText(filters) } }),
    create: (request, { name, platform } = {}) => transport.json('POST', '/containers/create', { query: { name, platform }, json: request }),
    start: (id) => post(id, 'start'),
    stop: (id, seconds) => post(id, 'stop', { t: seconds }),
    kill: (id, signal) => post(id, 'kill', { signal }),
    async remove(id, { force, volumes } = {}) {
      ;(await transport.send('DELETE', `/containers/${id}`, { query: { force, v: volumes } })).resume()
    },
    inspect: (id) => transport.json('GET', `/containers/${id}/json`),
    async wait(id, { condition, ...options } = {}) {
      return (JSON.parse(await text(await transport.send('POST', `/containers/${id}/wait`, { query: { condition }, ...aborting(options) }))) as { StatusCode: number }).StatusCode
    },
    async *logs(id, { follow, tail, since, until, timestamps, ...options } = {}) {
      const { Config } = await transport.json<{ Config: { Tty: boolean } }>('GET', `/containers/${id}/json`)
      yield* outputOf(await transport.send('GET', `/containers/${id}/logs`, { query: { stdout: true, stderr: true, follow, tail, since, until, timestamps }, ...aborting(options) }), Config.Tty)
    },
    async *exec(id, command, { env = [], user = '', workdir = '', ...options } = {}) {
      const { Id } = await transport.json<{ Id: string }>('POST', `/containers/${id}/exec`, { json: { Cmd: command, AttachStdout: true, AttachStderr: true, Env: env, User: user, WorkingDir: workdir } })
      const stream = await transport.hijack(`/exec/${Id}/start`, { json: { Detach: false, Tty: false }, ...aborting(options) })
      stream.end()
      yield* outputOf(stream, false)
      return (await transport.json<{ ExitCode: number | null }>('GET', `/exec/${Id}/json`)).ExitCode ?? 0
    },
  }
}

function imagesOf(transport: Transport): Images {
  return {
    list: ({ filters } = {}) => transport.json('GET', '/images/json', { query: { filters: filterText(filters) } }),
    inspect: (name) => transport.json('GET', `/images/${name}/json`),
    async *pull(name, { platform, ...options } = {}) {
      const colon = name.lastIndexOf(':')
      const tag = name.includes('@') || colon > name.lastIndexOf('/') ? undefined : 'latest'
      yield* progressOf(await transport.send('POST', '/images/create', { query: { fromImage: name, tag, platform }, ...aborting(options) }))
    },
    async *load(archive) {
      yield* progressOf(await transport.send('POST', '/images/load', { body: archive, contentType: 'application/x-tar' }))
    },
    async tag(name, repository, tag) {
      ;(await transport.send('POST', `/images/${name}/tag`, { query: { repo: repository, tag } })).resume()
    },
    async remove(name, { force } = {}) {
      ;(await transport.send('DELETE', `/images/${name}`, { query: { force } })).resume()
    },
  }
}

/** Opens a client; nothing is sent before the first call. Without an endpoint: `DOCKER_HOST`, or the daemon of this host. */
export function createClient(endpoint: Endpoint = { host: process.env['DOCKER_HOST'] || DEFAULT_HOST }): Client {
  const transport = createTransport(endpoint)
  return {
    transport, containers: containersOf(transport), images: imagesOf(transport),
    async *events({ since, until, filters, ...options } = {}) {
      yield* jsonLines<EventMessage>(await transport.send('GET', '/events', { query: { since, until, filters: filterText(filters) }, ...aborting(options) }))
    },
    info: () => transport.json('GET', '/info'),
  }
}
