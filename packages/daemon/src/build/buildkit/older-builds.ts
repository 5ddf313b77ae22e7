import { encode } from '@gantry/buildkit'
import { EngineError, newId } from '@gantry/std'
import type { Tell } from '../../images/progress.ts'
import type { BuildRequest, OutputRequest } from '../../jobs/build.ts'
import type { SolveRequest } from './builds.ts'
import type { BuildkitServices } from './services.ts'
import type { StatusEvent } from './status-log.ts'
import { UPLOAD_SCHEME } from './uploads.ts'

const CLIENT_SESSION = 'client-session'
const UPLOAD = 'upload-request'

const NETWORKS: Readonly<Record<string, string>> = { '': '', default: '', none: 'none', host: 'host' }

/** What a request of `POST /build?version=2` (docker 18.09 to 20.10) asks of the front end for Dockerfiles. */
function olderSolve(input: BuildRequest, session: string): SolveRequest {
  const network = NETWORKS[input.network]
  if (network === undefined) throw new EngineError('invalid', `networkmode: ${JSON.stringify(input.network)}: expected default, none or host`)
  const { ulimits, shmSize } = input.resources
  const attributes: Record<string, string> = {
    filename: input.dockerfile, target: input.target, platform: input.platform, 'force-network-mode': network, 'image-resolve-mode': input.pull ? 'pull' : 'default', 'add-hosts': input.hosts.map((host) => host.replace(':', '=')).join(','),
    ...(shmSize > 0 && { 'shm-size': String(shmSize) }), ulimit: ulimits.map(({ Name, Soft, Hard }) => `${Name}=${Soft}:${Hard}`).join(','), 'cgroup-parent': input.resources.cgroupParent,
    ...(input.noCache && { 'no-cache': '' }),
    ...Object.fromEntries([...input.buildArgs].map(([name, value]) => [`build-arg:${name}`, value])), ...Object.fromEntries(Object.entries(input.labels).map(([name, value]) => [`label:${name}`, value])),
  }
  if (input.remote === UPLOAD) attributes['context'] = `${UPLOAD_SCHEME}${input.buildId}`
  else if (input.remote !== CLIENT_SESSION && input.remote !== '') attributes['context'] = input.remote
  const imports = input.cacheFrom.map((one): OutputRequest => (typeof one === 'string' ? { Type: 'registry', Attrs: { ref: one } } : one))
  const named = { Type: 'moby', Attrs: { name: input.tags.join(',') } }
  const exporters = input.outputs.length === 0 ? [named] : input.outputs.map(({ Type, Attrs }) => ({ Type: Type === 'cacheonly' ? '' : Type, Attrs })).filter(({ Type }) => Type !== '')
  return {
    Ref: input.buildId, Session: session, Frontend: 'dockerfile.v0', FrontendAttrs: Object.fromEntries(Object.entries(attributes).filter(([name, value]) => value !== '' || name === 'no-cache')), FrontendInputs: {}, Cache: { Exports: [], Imports: imports },
    Entitlements: network === 'host' ? ['network.host'] : [], Exporters: exporters, ExporterDeprecated: '', ExporterAttrsDeprecated: {}, Internal: false,
  }
}

/** Tells such a client what a build tells of itself. */
function tellTrace(tell: Tell, event: StatusEvent): void {
  tell({ id: 'moby.buildkit.trace', aux: Buffer.from(encode('moby.buildkit.v1.StatusResponse', event)).toString('base64') })
}

/** Carries a build of docker 18.09 to 20.10 out: one request, a session for what the client has, events of BuildKit in its answer. */
export async function olderBuild(services: BuildkitServices, asked: BuildRequest, signal: AbortSignal): Promise<{ readonly id: string }> {
  const input = asked.buildId === '' ? { ...asked, buildId: newId() } : asked
  const answer = await services.build(olderSolve(input, input.session), async ({ log }) => {
    for await (const event of log.read(signal)) tellTrace(input.tell, event)
  }, signal)
  const id = answer['containerimage.config.digest'] ?? ''
  if (id !== '') input.tell({ id: 'moby.image.id', aux: { ID: id } })
  if (id !== '' && input.quiet) input.tell({ stream: `${id}\n` })
  return { id }
}
