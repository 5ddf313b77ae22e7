import type { Graph } from '@gantry/graph'
import { formatNanos } from '@gantry/std'
import { withSharedName } from './network/owner.ts'
import { MASKED_PATHS, READONLY_PATHS } from './spec/defaults.table.ts'
import { settleSecurity } from './spec/security.ts'
import type { Container, ExecInstance } from './container.ts'
import { healthView } from './health.ts'
import { networkSettings, type NetworkViewPorts } from './network/view.ts'
import { mountPoint } from './record.ts'
import type { ContainerStore } from './store.ts'
import { timeText } from './timeline.ts'

/** What the views need of the rest of the house. */
export interface ViewPorts extends NetworkViewPorts {
  readonly graph: Graph
  readonly execRoot: string
  readonly apparmor: boolean
  logPath(container: Container): string
  readonly store: Pick<ContainerStore, 'links' | 'consumers' | 'find'>
}

const millis = (ms: number): string => formatNanos(BigInt(ms) * 1_000_000n)

/** `State` of inspect. */
export function stateView(container: Container): unknown {
  const { state } = container
  const running = container.task !== undefined
  const health = healthView(container)
  const status = container.removing ? 'removing' : state.restarting && !running ? 'restarting' : running ? (state.paused ? 'paused' : 'running') : state.status
  return {
    Status: status, Running: running, Paused: state.paused, Restarting: state.restarting && !running, OOMKilled: state.oomKilled, Dead: false, Pid: container.task?.pid ?? 0, ExitCode: state.exitCode, Error: state.error,
    StartedAt: timeText(state.startedAt), FinishedAt: timeText(state.finishedAt), ...(health !== undefined && { Health: health }),
  }
}

/** Bytes that the container has written, and with its image's. */
export async function sizesOf(graph: Graph, container: Container): Promise<{ readonly SizeRw: number; readonly SizeRootFs: number }> {
  const image = graph.images.get(container.document.imageId)
  const SizeRw = await graph.changedBytes(container.id, image)
  return { SizeRw, SizeRootFs: SizeRw + (image === undefined ? 0 : graph.images.bytes(image)) }
}

/** `HostConfig.Links`: `/source:/consumer/alias`. */
function linksView(ports: ViewPorts, container: Container): readonly string[] | null {
  const links = [...ports.store.links(container)].map(([alias, source]) => `/${source.name}:/${container.name}/${alias}`)
  return links.length === 0 ? null : links
}

/** The settings as they came out: paths that are hidden where nothing else was asked for. */
function hostConfigView(ports: ViewPorts, container: Container): unknown {
  const { MaskedPaths, ReadonlyPaths, KernelMemoryTCP, ...rest } = container.document.hostConfig
  const confined = settleSecurity(container.document.hostConfig, [], ports.apparmor).systemPathsConfined
  return {
    ...rest, ...(KernelMemoryTCP !== 0 && { KernelMemoryTCP }), Links: linksView(ports, container),
    MaskedPaths: MaskedPaths ?? (confined ? MASKED_PATHS : null), ReadonlyPaths: ReadonlyPaths ?? (confined ? READONLY_PATHS : null),
  }
}

/** All names of a container: its own, and `consumer/alias` of those that are linked to it. */
export function namesOf(ports: ViewPorts, container: Container): readonly string[] {
  return [`/${container.name}`, ...ports.store.consumers(container).map(([consumer, alias]) => `/${consumer.name}/${alias}`)].sort()
}

/** `GET /containers/{id}/json`. */
export async function inspectContainer(ports: ViewPorts, container: Container, version: number, size: boolean): Promise<unknown> {
  const { document, state } = container
  const places = ports.graph.places(ports.graph.images.get(document.imageId))
  const etc = withSharedName(ports, container).etcDirectory
  const started = state.startedAt !== ''
  return {
    Id: container.id,
    Created: millis(document.createdAt),
    Path: document.path,
    Args: document.args,
    State: stateView(container),
    Image: document.imageId,
    ResolvConfPath: started ? `${etc}/resolv.conf` : '',
    HostnamePath: started ? `${etc}/hostname` : '',
    HostsPath: started ? `${etc}/hosts` : '',
    LogPath: !started || document.hostConfig.LogConfig.Type !== 'json-file' ? '' : ports.logPath(container),
    Name: `/${container.name}`,
    RestartCount: state.restartCount,
    Driver: ports.graph.driver.name,
    Platform: 'linux',
    MountLabel: '',
    ProcessLabel: '',
    AppArmorProfile: settleSecurity(document.hostConfig, [], ports.apparmor).apparmor ?? (ports.apparmor ? 'unconfined' : ''),
    ExecIDs: container.execs.size === 0 ? null : [...container.execs.keys()],
    HostConfig: hostConfigView(ports, container),
    GraphDriver: { Data: ports.graph.driver.describe(container.id, places), Name: ports.graph.driver.name },
    ...(size && (await sizesOf(ports.graph, container))),
    Mounts: document.mounts.map(mountPoint),
    Config: document.config,
    NetworkSettings: networkSettings(ports, container, version),
  }
}

/** `GET /exec/{id}/json`. */
export function inspectExec(container: Container, instance: ExecInstance): unknown {
  return {
    ID: instance.id, Running: instance.status === 'running', ExitCode: instance.exitCode ?? null,
    ProcessConfig: { tty: instance.tty, entrypoint: instance.command[0] ?? '', arguments: instance.command.slice(1), privileged: instance.privileged, ...(instance.user !== '' && { user: instance.user }) },
    OpenStdin: instance.openStdin, OpenStderr: instance.attachStderr, OpenStdout: instance.attachStdout, CanRemove: instance.status === 'exited', ContainerID: container.id, DetachKeys: instance.detachKeys, Pid: instance.process?.pid ?? 0,
  }
}
