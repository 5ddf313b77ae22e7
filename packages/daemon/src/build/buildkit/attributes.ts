import { type StepResources, wantsInlineCache } from '@gantry/builder'
import { EngineError } from '@gantry/std'

/** What a client asks of the front end for Dockerfiles (`FrontendAttrs` of `dockerfile.v0`). */
export interface FrontendRequest {
  /** The Dockerfile's name; empty: `Dockerfile`. */
  readonly filename: string
  readonly target: string
  readonly buildArgs: ReadonlyMap<string, string>
  readonly labels: Readonly<Record<string, string>>
  readonly hosts: readonly string[]
  readonly network: string
  readonly noCache: boolean
  /** Stages that are built anew, where not all are. */
  readonly noCacheStages: ReadonlySet<string>
  readonly pull: boolean
  readonly platform: string
  readonly resources: StepResources
  /** Where the context is, if not with the client. */
  readonly remote: string
  /** Directories of the client by what they are for. */
  readonly contextDirectory: string
  readonly dockerfileDirectory: string
  /** The Dockerfile comes from the client, also where the context does not. */
  readonly ownDockerfile: boolean
  /** Further contexts by name. */
  readonly contexts: ReadonlyMap<string, string>
  readonly keepGitDirectory: boolean
  /** What is asked instead of a build (`frontend.lint`); empty: a build. */
  readonly question: string
  /** What the cache knows of the steps goes into the image. */
  readonly inlineCache: boolean
}

type Attributes = Readonly<Record<string, string>>

function prefixed(attributes: Attributes, prefix: string): ReadonlyMap<string, string> {
  return new Map(Object.entries(attributes).filter(([name]) => name.startsWith(prefix)).map(([name, value]) => [name.slice(prefix.length), value]))
}

const listOf = (text: string | undefined): readonly string[] => (text ?? '').split(',').map((one) => one.trim()).filter((one) => one !== '')

function ulimitOf(text: string): { readonly Name: string; readonly Soft: number; readonly Hard: number } {
  const match = /^(\w+)=(-?\d+)(?::(-?\d+))?$/.exec(text)
  if (match === null) throw new EngineError('invalid', `ulimit: ${JSON.stringify(text)}: expected NAME=SOFT[:HARD]`)
  return { Name: match[1] ?? '', Soft: Number(match[2]), Hard: Number(match[3] ?? match[2]) }
}

function resourcesOf(attributes: Attributes): StepResources {
  const shm = attributes['shm-size'] ?? '0'
  if (!/^\d{1,15}$/.test(shm)) throw new EngineError('invalid', `shm-size: ${JSON.stringify(shm)}: expected a number of bytes`)
  return { memory: 0, memorySwap: 0, cpuShares: 0, cpuPeriod: 0, cpuQuota: 0, cpusetCpus: '', cpusetMems: '', shmSize: Number(shm), cgroupParent: attributes['cgroup-parent'] ?? '', ulimits: listOf(attributes['ulimit']).map(ulimitOf), securityOpt: [] }
}

/** `NAME=ADDRESS` as the API's `NAME:ADDRESS`. */
const hostOf = (text: string): string => text.replace('=', ':')

function refuse(attributes: Attributes): void {
  const wanted = Object.keys(attributes).find((name) => name === 'attest:sbom')
  if (wanted !== undefined && !/(?:^|,)disabled=true/.test(attributes[wanted] ?? '')) throw new EngineError('unsupported', `${wanted}: attestations are not made by this version of Gantry`)
  if ((attributes['contextsubdir'] ?? '') !== '') throw new EngineError('unsupported', 'contextsubdir: name the directory with the context (URL#REF:DIRECTORY)')
  if ((attributes['hostname'] ?? '') !== '') throw new EngineError('unsupported', `hostname: ${JSON.stringify(attributes['hostname'])}: steps of this version of Gantry have a name of their own`)
  if (listOf(attributes['platform']).length > 1) throw new EngineError('unsupported', `platform: ${attributes['platform']}: expected one: images of several platforms are not made by this version of Gantry`)
}

const NETWORKS: Readonly<Record<string, string>> = { '': 'default', sandbox: 'default' }

/** Reads the attributes. Those that nobody here knows change nothing. */
export function frontendRequest(attributes: Attributes): FrontendRequest {
  refuse(attributes)
  const args = prefixed(attributes, 'build-arg:')
  const noCache = attributes['no-cache']
  const context = attributes['context'] ?? ''
  const network = attributes['force-network-mode'] ?? ''
  return {
    filename: attributes['filename'] ?? '', target: attributes['target'] ?? '', labels: Object.fromEntries(prefixed(attributes, 'label:')),
    buildArgs: args,
    hosts: listOf(attributes['add-hosts']).map(hostOf), network: NETWORKS[network] ?? network, noCache: noCache === '', noCacheStages: new Set(listOf(noCache).map((name) => name.toLowerCase())),
    pull: attributes['image-resolve-mode'] === 'pull', platform: attributes['platform'] ?? '', resources: resourcesOf(attributes),
    remote: context.startsWith('local:') ? '' : context, contextDirectory: context.startsWith('local:') ? context.slice('local:'.length) : (attributes['contextkey'] ?? 'context'),
    dockerfileDirectory: attributes['dockerfilekey'] ?? 'dockerfile', ownDockerfile: attributes['dockerfilekey'] !== undefined, contexts: prefixed(attributes, 'context:'), keepGitDirectory: args.get('BUILDKIT_CONTEXT_KEEP_GIT_DIR') === '1',
    question: attributes['requestid'] ?? '', inlineCache: wantsInlineCache(args),
  }
}
