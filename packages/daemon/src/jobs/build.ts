import type { StepResources } from '@gantry/builder'
import type { Duplex } from 'node:stream'
import type { Credentials } from '@gantry/registry'
import type { Tell } from '../images/progress.ts'
import type { Filters } from '../server/filters.ts'

/** A place that a client wants what was built to go to (moby.buildkit.v1.Exporter), or a cache (CacheOptionsEntry). */
export interface OutputRequest {
  readonly Type: string
  readonly Attrs: Readonly<Record<string, string>>
}

/** What `POST /build` asks for. */
export interface BuildRequest {
  /** Path of the Dockerfile in the context; empty: `Dockerfile`. */
  readonly dockerfile: string
  /** The offer that listed the context's files: only those that it wanted come with the request; empty: all do. */
  readonly offer: string
  /** Where the context is; empty: it comes with the request. */
  readonly remote: string
  readonly tags: readonly string[]
  readonly quiet: boolean
  readonly noCache: boolean
  readonly pull: boolean
  readonly target: string
  /** A name without a value is taken from nowhere: it is as if it was not given. */
  /** Further contexts by name: `docker-image://…`, an URL, a repository, or `offer:ID`. */
  readonly contexts: ReadonlyMap<string, string>
  /** Secrets that were sent ahead; empty: there are none. */
  readonly secrets: string
  /** Token of connections to agents that were opened ahead; empty: there are none. */
  readonly agents: string
  readonly noCacheStages: ReadonlySet<string>
  readonly buildArgs: ReadonlyMap<string, string>
  readonly labels: Readonly<Record<string, string>>
  /** `os/architecture[/variant]`; empty: this machine's. */
  readonly platform: string
  /** Where other builds have left what steps came to; an image here by its name. */
  readonly cacheFrom: readonly (string | OutputRequest)[]
  /** Where what was built goes, and its cache; none: an image with the names. */
  readonly outputs: readonly OutputRequest[]
  readonly cacheTo: readonly OutputRequest[]
  /** Rights beyond those of any build. */
  readonly entitlements: readonly string[]
  /** What is asked of the Dockerfile instead of a build (`frontend.lint`); empty: a build. */
  readonly question: string
  readonly network: string
  readonly hosts: readonly string[]
  readonly resources: StepResources
  /** By the registry's name. */
  readonly credentials: ReadonlyMap<string, Credentials>
  /** The Dockerfile is looked through, and nothing is built. */
  readonly check: boolean
  /** Steps are told as events, not as text. */
  readonly steps: boolean
  /** The session of a client that builds as docker 18.09 to 20.10 do (`version=2`); empty: the classic builder is meant. */
  readonly session: string
  /** Names the build for `build.cancel`; empty: none. */
  readonly buildId: string
  readonly tell: Tell
}

/** A record of the build cache (Engine API, BuildCache). */
export interface BuildCacheRow {
  readonly id: string
  readonly type: string
  readonly description: string
  readonly inUse: boolean
  /** Its layer; empty for a directory. */
  readonly chainId: string
  readonly bytes: number
  readonly createdAt: number
  readonly usedAt: number
  readonly uses: number
}

/** Jobs of the builder. */
export interface BuildJobs {
  /** The context comes from stdio.input. */
  'build.image': { input: BuildRequest; output: { readonly id: string } }
  /** A list of a context's files; what is not there yet comes with the build. */
  'build.offer': { input: { readonly from: string; readonly list: Buffer }; output: { readonly id: string; readonly wanted: readonly number[] } }
  /** The archive of what an offer wanted comes from stdio.input. */
  'build.complete': { input: { readonly id: string }; output: undefined }
  /** An output of a build goes to stdio.write, once. */
  'build.output': { input: { readonly id: string }; output: undefined }
  /** A connection to an agent of the client; ends with it. */
  'build.agent': { input: { readonly token: string; readonly id: string; readonly socket: Duplex }; output: undefined }
  'build.secrets': { input: { readonly values: ReadonlyMap<string, Buffer> }; output: { readonly id: string } }
  /** An archive comes from stdio.input, beside the build that needs it. */
  'build.upload': { input: { readonly id: string }; output: undefined }
  'build.cancel': { input: { readonly buildId: string }; output: undefined }
  /** A connection of one of BuildKit's clients: it calls us, or, with the headers of a session, we call it. Ends with the connection. */
  'build.connect': { input: { readonly socket: Duplex; readonly header: ((name: string) => string) | undefined }; output: void }
  'build.cache': { input: Readonly<Record<never, never>>; output: readonly BuildCacheRow[] }
  /** `keepBytes`: so much stays of what was used last. */
  'build.prune': { input: { readonly all: boolean; readonly keepBytes: number; readonly filters: Filters }; output: { readonly ids: readonly string[]; readonly bytes: number } }
}
