import type { Sandbox } from '@gantry/libnetwork'
import type { Graph, Image } from '@gantry/graph'
import { type Bundle, type Identity, resolveUser } from '@gantry/runtime'
import { EngineError } from '@gantry/std'
import type { UserMaps } from '../subordinate-ids.ts'
import { withDevices } from './cdi/devices.ts'
import type { Container } from './container.ts'
import { logPlan } from './log/plan.ts'
import { withSharedName } from './network/owner.ts'
import { readyMounts } from './mounts/ready.ts'
import { toSpec, usersOf } from './spec/spec.ts'
import type { ContainerStore } from './store.ts'

/** What a bundle is made from. */
export interface BundlePorts {
  readonly store: ContainerStore
  readonly graph: Graph
  readonly knownCapabilities: readonly string[]
  readonly apparmor: boolean
  readonly cgroupVersion: 1 | 2
  readonly users: UserMaps | undefined
  readonly execRoot: string
  readonly cdiDirectories: readonly string[]
  logPath(container: Container): string
}

const identities = new Map<string, Identity>()
const IDENTITIES_KEPT = 512

/** Who the container's process runs as, by its own files; before the first start those are the image's. */
export function identityOf(ports: Pick<BundlePorts, 'graph'>, container: Container, image: Image | undefined, user: string): Identity {
  const groups = container.document.hostConfig.GroupAdd ?? []
  const resolve = (): Identity => {
    const files = ports.graph.look(container.id, image)
    return resolveUser(user, { passwd: files.readText('/etc/passwd') ?? '', group: files.readText('/etc/group') ?? '' }, groups)
  }
  if (container.state.startedAt !== '' || image === undefined) return resolve()
  const key = JSON.stringify([image.id, user, groups])
  const known = identities.get(key) ?? resolve()
  if (identities.size >= IDENTITIES_KEPT) identities.clear()
  identities.set(key, known)
  return known
}

/** The process whose namespace another container joins. */
function pidToJoin(donor: Container, namespace: string): number {
  if (donor.task === undefined) throw new EngineError('conflict', `cannot join ${namespace} namespace of a non running container: ${donor.id}`)
  if (namespace === 'ipc' && donor.document.hostConfig.IpcMode !== 'shareable') throw new EngineError('conflict', `cannot join IPC of container ${donor.id}: non-shareable IPC (hint: use IpcMode:shareable for the donor container)`)
  return donor.task.pid
}

/** Who root inside is on the host. */
export function ownerOf(ports: BundlePorts, container: Container): readonly [number, number] {
  const users = usersOf({ document: container.document, users: ports.users })
  return [users?.uids[0]?.hostID ?? 0, users?.gids[0]?.hostID ?? 0]
}

/** Everything that the runtime needs to run a container. */
export async function bundleOf(ports: BundlePorts, container: Container, image: Image | undefined, sandbox: Sandbox, environment: readonly string[] = []): Promise<Bundle> {
  const shared = withSharedName(ports, container)
  const document = environment.length === 0 ? shared.document : { ...shared.document, config: { ...shared.document.config, Env: [...environment, ...shared.document.config.Env] } }
  const { hostConfig, config } = document
  return {
    id: container.id,
    runtime: hostConfig.Runtime,
    spec: await withDevices(ports.cdiDirectories, hostConfig.DeviceRequests ?? [], toSpec({
      document,
      identity: identityOf(ports, container, image, config.User),
      etcDirectory: shared.etcDirectory,
      mounts: readyMounts(ports.graph, document.mounts),
      knownCapabilities: ports.knownCapabilities,
      apparmor: ports.apparmor,
      cgroupVersion: ports.cgroupVersion,
      users: ports.users,
      pidOf: (key, namespace) => pidToJoin(ports.store.find(key), namespace),
    })),
    root: ports.graph.driver.recipe(container.id, ports.graph.places(image), { volatile: hostConfig.AutoRemove || container.document.build === true }),
    network: sandbox.attachment,
    stdio: { openStdin: config.OpenStdin, stdinOnce: config.StdinOnce, streams: container.waiting.map((one) => one.plan) },
    log: logPlan(container, () => ports.logPath(container)),
    init: hostConfig.Init === true,
  }
}
