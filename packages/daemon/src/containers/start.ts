import type { Sandbox } from '@gantry/libnetwork'
import type { Supervisor, Task } from '@gantry/runtime'
import { logger, nowNanos, type UndoStack, undoStack } from '@gantry/std'
import { type BundlePorts, bundleOf, ownerOf } from './bundle.ts'
import type { Container } from './container.ts'
import type { LogShipping } from './log/ship.ts'
import { type Link, linkEnvironment } from './network/links.ts'
import { etcInput, joinNetwork, type NetworkingPorts } from './network/networking.ts'
import { networkOwner } from './network/owner.ts'
import { etcDirectory, writeEtcFiles } from './spec/etc-files.ts'
import { prepareMounts, type StartMountPorts } from './mounts/prepare.ts'
import { programSteps, stopwatch } from './timeline.ts'

const log = logger('daemon.start')

/** What start needs of the rest of the house. */
export interface StartPorts extends BundlePorts, NetworkingPorts, StartMountPorts {
  readonly supervisor: Supervisor
  readonly logs: Pick<LogShipping, 'prepare' | 'letGo'>
  /** Moves a directory of the exec root out of the way. */
  discard(path: string): void
  emit(container: Container, action: string, attributes?: Readonly<Record<string, string>>): void
  /** Tells that a container has joined or left its networks. */
  emitNetworks(container: Container, action: 'connect' | 'disconnect', sandbox: Sandbox): void
  /** Those that are linked to it learn its address. */
  refreshConsumers(container: Container): void
  /** Hears of the process that has been started. */
  watch(container: Container, task: Task): void
}

/** Brings a created container to life, or one that was frozen in a checkpoint. Read it as the list of what `start` does. */
export async function startContainer(ports: StartPorts, container: Container, restoreFrom?: string): Promise<void> {
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

  if (document.hostConfig.AutoRemove && state.startedAt !== '') ports.graph.driver.mountAgain(container.id)
  await prepareMounts(ports, container, image, undo)
  await ports.logs.prepare(container)
  undo.add('let go of the receiver of its log', () => ports.logs.letGo(container))
  watch.lap('daemon', 'volumes')

  const { sandbox, links } = await joinNetwork(ports, container)
  undo.add('leave the network', () => sandbox.release())
  watch.lap('daemon', 'address and ports')

  giveEtcFiles(ports, container, sandbox, links, undo)
  const bundle = { ...(await bundleOf(ports, container, image, sandbox, linkEnvironment(container, links))), ...(restoreFrom !== undefined && { restoreFrom }) }
  watch.lap('daemon', 'specification')

  const launchedAt = watch.elapsedUs()
  // Before anything that it says: clients ask for its log since then.
  const startedAt = String(nowNanos())
  const task = await ports.supervisor.start(bundle)
  container.waiting = []
  container.task = task
  container.sandbox = sandbox
  await ports.networks.started(container.id, task.pid).catch((cause: unknown) => log.error('cannot open its resolver', { id: container.id, cause }))
  const reportedAt = watch.elapsedUs()
  container.trace = () => [...watch.steps, ...programSteps(task, launchedAt), { phase: 'daemon', what: 'start reported', side: 'daemon', from: launchedAt, to: reportedAt }]
  Object.assign(state, { status: 'running', starting: false, paused: false, restarting: false, oomKilled: false, pid: task.pid, exitCode: 0, startedAt, manuallyStopped: false, health: undefined })
  ports.store.save(container)
  undo.commit()
  ports.watch(container, task)
  ports.refreshConsumers(container)
  ports.emitNetworks(container, 'connect', sandbox)
  ports.emit(container, 'start')
}

/** Writes hosts, hostname and resolv.conf; one that shares another's network shares these files, too. */
function giveEtcFiles(ports: StartPorts, container: Container, sandbox: Sandbox, links: readonly Link[], undo: UndoStack): void {
  if (networkOwner(ports.store, container) !== container) return
  const directory = etcDirectory(ports.execRoot, container.id)
  undo.add('remove the files in /etc', () => ports.discard(directory))
  writeEtcFiles(etcInput(ports, container, sandbox, links, directory, ownerOf(ports, container)))
}

/** What a start of this container would carry out. Nothing of it stays. */
export async function explainStart(ports: StartPorts, container: Container): Promise<string> {
  await using undo = undoStack()
  const image = ports.graph.images.get(container.document.imageId)
  const { sandbox, links } = container.sandbox !== undefined ? { sandbox: container.sandbox, links: [] } : await joinNetwork(ports, container)
  if (container.task === undefined) {
    undo.add('leave the network', () => sandbox.release())
    giveEtcFiles(ports, container, sandbox, links, undo)
  }
  // Awaited here: what was made for it is undone behind this line.
  return await ports.supervisor.driver.explain(await bundleOf(ports, container, image, sandbox))
}
