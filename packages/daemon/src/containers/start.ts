import { statSync, mkdirSync } from 'node:fs'
import type { Controller, Sandbox } from '@gantry/libnetwork'
import type { Graph, Image } from '@gantry/graph'
import { type Bundle, type Identity, resolveUser, type Supervisor, type Task } from '@gantry/runtime'
import { EngineError, formatNanos, nowNanos, undoStack } from '@gantry/std'
import type { UserMaps } from '../subordinate-ids.ts'
import type { Container } from './container.ts'
import { writeEtcFiles } from './etc-files.ts'
import { portRequests } from './ports.ts'
import { checkPropagation } from './mounts.ts'
import type { SettledMount } from './record.ts'
import { toSpec, usersOf } from './spec.ts'
import type { ContainerStore } from './store.ts'
import { programSteps, stopwatch } from './timeline.ts'
import { logSettings } from './validate.ts'

/** What start needs of the rest of the house. */
export interface StartPorts {
  readonly store: ContainerStore
  readonly graph: Graph
  readonly networks: Controller
  readonly supervisor: Supervisor
  readonly knownCapabilities: readonly string[]
  readonly cgroupVersion: 1 | 2
  readonly users: UserMaps | undefined
  readonly execRoot: string
  readonly dns: { readonly servers: readonly string[]; readonly search: readonly string[]; readonly options: readonly string[] }
  logPath(container: Container): string
  /** Moves a directory of the exec root out of the way. */
  discard(path: string): void
  fillVolume(container: Container, mount: SettledMount, image: Image | undefined): Promise<void>
  emit(container: Container, action: string, attributes?: Readonly<Record<string, string>>): void
  /** Hears of the process that has been started. */
  watch(container: Container, task: Task): void
}

/** Where a container's hosts, hostname and resolv.conf are. */
export function etcDirectory(execRoot: string, id: string): string {
  return `${execRoot}/etc/${id}`
}

const identities = new Map<string, Identity>()
const IDENTITIES_KEPT = 512

/** Who the container's process runs as, by its own files; before the first start those are the image's. */
export function identityOf(ports: Pick<StartPorts, 'graph'>, container: Container, image: Image | undefined, user: string): Identity {
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

/** A bind source that is missing is made, as Docker does for `-v`. */
function checkSources(mounts: readonly SettledMount[]): void {
  for (const mount of mounts) {
    if (mount.type !== 'bind' || statSync(mount.source, { throwIfNoEntry: false }) !== undefined) continue
    mkdirSync(mount.source, { recursive: true })
  }
}

/** Who root inside is on the host. */
function ownerOf(ports: StartPorts, container: Container): readonly [number, number] {
  const users = usersOf({ document: container.document, users: ports.users })
  return [users?.uids[0]?.hostID ?? 0, users?.gids[0]?.hostID ?? 0]
}

/** Everything that the runtime needs to run a container. */
export function bundleOf(ports: StartPorts, container: Container, image: Image | undefined, sandbox: Sandbox): Bundle {
  const { document } = container
  const { hostConfig, config } = document
  const log = logSettings(hostConfig.LogConfig)
  return {
    id: container.id,
    spec: toSpec({
      document,
      identity: identityOf(ports, container, image, config.User),
      etcDirectory: etcDirectory(ports.execRoot, container.id),
      mounts: document.mounts,
      knownCapabilities: ports.knownCapabilities,
      cgroupVersion: ports.cgroupVersion,
      users: ports.users,
      pidOf: (key) => {
        const pid = ports.store.find(key).task?.pid
        if (pid === undefined) throw new EngineError('conflict', `cannot join a namespace of container ${key}: it is not running`)
        return pid
      },
    }),
    root: ports.graph.driver.recipe(container.id, ports.graph.places(image), { volatile: hostConfig.AutoRemove }),
    network: sandbox.attachment,
    stdio: { openStdin: config.OpenStdin, stdinOnce: config.StdinOnce, streams: container.waiting.map((one) => one.plan) },
    log: log.type === 'none' ? undefined : { path: ports.logPath(container), maxBytes: log.maxBytes, maxFiles: log.maxFiles },
    init: hostConfig.Init === true,
  }
}

/** Joins the container's networks. */
export async function joinNetwork(ports: StartPorts, container: Container): Promise<Sandbox> {
  const { networkMode, config, hostConfig } = container.document
  if (networkMode.startsWith('container:')) return { attachment: { host: [], inside: [], sysctls: [] }, endpoints: [], release: async () => undefined }
  return ports.networks.join({ containerId: container.id, network: networkMode, ports: networkMode === 'bridge' ? portRequests(config, hostConfig) : [] })
}

/** Brings a created container to life. Read it as the list of what `start` does. */
export async function startContainer(ports: StartPorts, container: Container): Promise<void> {
  await using undo = undoStack()
  const watch = stopwatch()
  const { document, state } = container
  const image = ports.graph.images.get(document.imageId)
  await container.tidy
  state.starting = true
  state.error = ''
  ports.store.save(container)
  undo.add('not starting', () => {
    state.starting = false
    ports.store.save(container)
  })
  watch.lap('daemon', 'record the intent')

  checkSources(document.mounts)
  checkPropagation(document.mounts)
  for (const mount of document.mounts) if (mount.type === 'volume' && !mount.noCopy) await ports.fillVolume(container, mount, image)
  watch.lap('daemon', 'volumes')

  const sandbox = await joinNetwork(ports, container)
  undo.add('leave the network', () => sandbox.release())
  watch.lap('daemon', 'address and ports')

  const [endpoint] = sandbox.endpoints
  const directory = etcDirectory(ports.execRoot, container.id)
  writeEtcFiles({ document, directory, address: endpoint?.address, gateway: endpoint?.gateway, dns: ports.dns, owner: ownerOf(ports, container) })
  undo.add('remove the files in /etc', () => ports.discard(directory))
  const bundle = bundleOf(ports, container, image, sandbox)
  watch.lap('daemon', 'specification')

  const launchedAt = watch.elapsedUs()
  const task = await ports.supervisor.start(bundle)
  container.waiting = []
  container.task = task
  container.sandbox = sandbox
  const reportedAt = watch.elapsedUs()
  container.trace = () => [...watch.steps, ...programSteps(task, launchedAt), { phase: 'daemon', what: 'start reported', side: 'daemon', from: launchedAt, to: reportedAt }]
  Object.assign(state, { status: 'running', starting: false, paused: false, restarting: false, oomKilled: false, pid: task.pid, exitCode: 0, startedAt: String(nowNanos()), manuallyStopped: false })
  ports.store.save(container)
  undo.commit()
  ports.watch(container, task)
  ports.emit(container, 'start')
}

/** What a start of this container would carry out. Nothing of it stays. */
export async function explainStart(ports: StartPorts, container: Container): Promise<string> {
  await using undo = undoStack()
  const image = ports.graph.images.get(container.document.imageId)
  const sandbox = container.sandbox ?? (await joinNetwork(ports, container))
  const directory = etcDirectory(ports.execRoot, container.id)
  if (container.task === undefined) {
    undo.add('leave the network', () => sandbox.release())
    undo.add('remove the files in /etc', () => ports.discard(directory))
    writeEtcFiles({ document: container.document, directory, address: sandbox.endpoints[0]?.address, gateway: sandbox.endpoints[0]?.gateway, dns: ports.dns, owner: ownerOf(ports, container) })
  }
  return ports.supervisor.driver.explain(bundleOf(ports, container, image, sandbox))
}

/** Zero time of Go, which clients take for "never". */
export function timeText(nanos: string): string {
  return nanos === '' ? '0001-01-01T00:00:00Z' : formatNanos(BigInt(nanos))
}
