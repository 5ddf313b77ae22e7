import { streamType } from '@gantry/api'
import type { StreamServer } from '@gantry/runtime'
import { EngineError, parseTimestamp, writeWhole } from '@gantry/std'
import type { Handlers } from '../engine/job.ts'
import { tagImage, tagName, type ImagePorts } from '../images/images.ts'
import { commitContainer } from '../images/make.ts'
import type { ContainerJobs } from '../jobs/containers.ts'
import { type ArchivePorts, exportContainer, readArchive, statPath, writeArchive } from './archive.ts'
import { joinStreams, parseDetachKeys, prepareStream } from './attach.ts'
import type { Container, WaitingStream } from './container.ts'
import { createContainer, type CreatePorts } from './create.ts'
import { checkExecUser, createExec, type ExecPorts, findExec, resizeExec, startExec } from './exec.ts'
import { inspectContainer, inspectExec, sizesOf } from './inspect.ts'
import type { Lifecycle } from './lifecycle.ts'
import { listContainers, type ListPorts } from './list.ts'
import { logSettings } from './log/settings.ts'
import { clearLog } from '../logging/read.ts'
import { streamLogs } from './log/stream.ts'
import { removeOnRequest, type RemovePorts } from './remove.ts'
import { identityOf } from './bundle.ts'
import { explainStart, type StartPorts } from './start.ts'
import { checkpointPath, type CheckpointPorts, createCheckpoint, listCheckpoints, removeCheckpoint } from './checkpoints.ts'
import type { ContainerStore } from './store.ts'
import { processesOf } from './top.ts'
import { waitFor } from './wait.ts'
import { streamStats } from './stats.ts'
import { updateContainer, type UpdatePorts } from './update.ts'

/** What the container jobs stand on. */
export interface ContainerHandlerPorts {
  readonly store: ContainerStore
  readonly streams: StreamServer
  readonly lifecycle: Lifecycle
  readonly create: CreatePorts
  readonly update: UpdatePorts
  readonly start: Omit<StartPorts, 'watch'>
  readonly remove: RemovePorts
  readonly checkpoints: CheckpointPorts
  readonly exec: ExecPorts
  readonly list: ListPorts
  readonly archive: ArchivePorts
  readonly images: ImagePorts
  emit(container: Container, action: string, attributes?: Readonly<Record<string, string>>): void
}

function checkpointHandlers({ store, checkpoints }: ContainerHandlerPorts): Set<'container.checkpoints' | 'container.checkpoint' | 'container.remove-checkpoint'> {
  return {
    'container.checkpoints': async ({ input }) => listCheckpoints(checkpoints, store.find(input.key), input.directory),
    'container.checkpoint': async ({ input }) => (await createCheckpoint(checkpoints, store.find(input.key), input), undefined),
    'container.remove-checkpoint': async ({ input }) => (removeCheckpoint(checkpoints, store.find(input.key), input.name, input.directory), undefined),
  }
}

type Set<Names extends keyof ContainerJobs> = Pick<Handlers<ContainerJobs>, Names>

/** What the shim's table of a start has room for (native/shim.h, struct process_table). */
const EARLY_STREAMS = 8

function waitForStart(container: Container, stream: WaitingStream): void {
  if (container.waiting.length >= EARLY_STREAMS) {
    stream.expected.cancel('too many streams')
    throw new EngineError('unavailable', `container ${container.id} has ${EARLY_STREAMS} attached clients already and does not run yet`)
  }
  container.waiting.push(stream)
}

function lifecycleHandlers(ports: ContainerHandlerPorts): Set<'container.start' | 'container.stop' | 'container.restart' | 'container.kill' | 'container.pause' | 'container.unpause' | 'container.wait' | 'container.remove' | 'container.unlink' | 'container.rename' | 'container.resize'> {
  const { store, lifecycle } = ports
  return {
    'container.start': async ({ input }) => {
      const container = store.find(input.key)
      return { changed: await lifecycle.start(container, input.checkpoint === '' ? undefined : checkpointPath(ports.checkpoints, container, input.checkpoint, input.checkpointDirectory)) }
    },
    'container.stop': async ({ input }) => ({ changed: await lifecycle.stop(store.find(input.key), input) }),
    'container.restart': async ({ input }) => void (await lifecycle.restart(store.find(input.key), input)),
    'container.kill': async ({ input }) => void (await lifecycle.kill(store.find(input.key), input.signal)),
    'container.pause': async ({ input }) => void (await lifecycle.pause(store.find(input.key))),
    'container.unpause': async ({ input }) => void (await lifecycle.unpause(store.find(input.key))),
    'container.wait': ({ input, signal }) => waitFor(store.find(input.key), input.condition, input.onWaiting, signal),
    'container.remove': async ({ input }) => void (await removeOnRequest(ports.remove, store.find(input.key), input)),
    'container.unlink': async ({ input }) => {
      const [name = '', alias = ''] = input.key.replace(/^\//, '').split('/')
      if (alias === '') throw new EngineError('invalid', `Conflict, cannot remove the default link name of the container: ${input.key}`)
      const consumer = store.find(name)
      if (!store.links(consumer).has(alias)) throw new EngineError('not-found', `Could not get parent for /${name}/${alias}`)
      store.unlink(consumer, alias)
      return undefined
    },
    'container.rename': async ({ input }) => {
      const container = store.find(input.key)
      const name = input.name.replace(/^\//, '')
      if (name === '') throw new EngineError('invalid', 'Neither old nor new names may be empty')
      if (name === container.name) throw new EngineError('invalid', 'Renaming a container with the same name as its current name')
      if (!/^[a-zA-Z0-9][a-zA-Z0-9_.-]+$/.test(name)) throw new EngineError('invalid', `Error when allocating new name: Invalid container name (/${name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed`)
      const oldName = `/${container.name}`
      store.rename(container, name)
      ports.start.networks.rename(container.id, name)
      ports.emit(container, 'rename', { oldName })
      return undefined
    },
    'container.resize': async ({ input }) => {
      const container = store.find(input.key)
      if (container.task === undefined) throw new EngineError('conflict', `container ${container.id} is not running`)
      await container.task.resize(input.rows, input.columns)
      ports.emit(container, 'resize', { height: String(input.rows), width: String(input.columns) })
      return undefined
    },
  }
}

function viewHandlers(ports: ContainerHandlerPorts): Set<'container.list' | 'container.create' | 'container.inspect' | 'container.top' | 'container.trace' | 'container.explain' | 'container.prune' | 'container.update' | 'container.stats'> {
  const { store } = ports
  return {
    'container.list': async ({ input }) => listContainers(ports.list, input),
    'container.create': async ({ input }) => {
      const { container, warnings } = await createContainer(ports.create, input)
      return { id: container.id, warnings }
    },
    'container.inspect': async ({ input }) => inspectContainer(ports.list, store.find(input.key), input.apiVersion, input.size),
    'container.top': async ({ input }) => {
      const container = store.find(input.key)
      if (container.task === undefined) throw new EngineError('conflict', `container ${container.id} is not running`)
      const shown = await processesOf(await ports.start.supervisor.driver.processes(container.id), input.arguments)
      ports.emit(container, 'top')
      return shown
    },
    'container.update': async ({ input }) => ({ warnings: await updateContainer(ports.update, store.find(input.key), input.request) }),
    'container.stats': async ({ input, stdio, signal }) => {
      const line = async (view: unknown): Promise<void> => stdio.write?.(Buffer.from(`${JSON.stringify(view)}\n`))
      await streamStats(ports.update.driver, store.find(input.key), input, line, signal)
      return undefined
    },
    'container.trace': async ({ input }) => {
      const container = store.find(input.key)
      return { id: container.id, name: container.name, steps: container.trace() }
    },
    'container.explain': async ({ input }) => ({ listing: await explainStart({ ...ports.start, watch: () => undefined }, store.find(input.key)) }),
    'container.prune': async ({ input }) => {
      const until = input.filters.values('until').map((text) => Number(parseTimestamp(text) / 1_000_000n))
      const removed: string[] = []
      let bytes = 0
      for (const container of store.list()) {
        if (container.task !== undefined || container.removing || container.state.starting || container.document.build === true) continue
        if (!input.filters.labels('label', container.document.config.Labels) || until.some((ms) => container.document.createdAt > ms)) continue
        const { SizeRw } = await sizesOf(ports.list.graph, container)
        await removeOnRequest(ports.remove, container, { volumes: false, force: false })
        removed.push(container.id)
        bytes += SizeRw
      }
      return { removed, bytes }
    },
  }
}

function streamHandlers(ports: ContainerHandlerPorts): Set<'container.attach' | 'container.logs' | 'container.clear-log' | 'exec.create' | 'exec.start' | 'exec.inspect' | 'exec.resize'> {
  const { store } = ports
  return {
    'container.attach': async ({ input, stdio, signal }) => {
      const container = store.find(input.key)
      if (container.state.paused) throw new EngineError('conflict', `container ${input.key} is paused, unpause the container before attach`)
      const { Tty: tty, OpenStdin: openStdin } = container.document.config
      const asked = parseDetachKeys(input.detachKeys)
      const keys = input.choice.stdin && tty ? asked : undefined
      const choice = { ...input.choice, stdin: input.choice.stdin && openStdin }
      // An ended container may be started again (`start -a`): the stream waits for it, unless only what it has said is asked for.
      const live = input.stream && (container.task !== undefined || container.state.status !== 'exited' || !input.logs)
      const prepared = live ? prepareStream(ports.streams, choice) : undefined
      if (prepared !== undefined) {
        if (container.task === undefined) waitForStart(container, prepared)
        else await container.task.attach(prepared.plan)
      }
      const client = stdio.hijack?.(streamType(tty, input.apiVersion))
      if (client === undefined) throw new EngineError('invalid', 'attach needs a connection that can be taken over')
      ports.emit(container, 'attach')
      if (input.logs) await streamLogs(ports.list.logPath(container), container, { tail: undefined, since: undefined, until: undefined, follow: false }, { ...input.choice, timestamps: false, details: false }, (chunk) => writeWhole(client, chunk), signal)
      if (prepared === undefined) {
        client.end()
        return undefined
      }
      await joinStreams(client, prepared.expected, { choice, detachKeys: keys, onDetach: () => ports.emit(container, 'detach') })
      container.waiting = container.waiting.filter((one) => one !== prepared)
      return undefined
    },
    'container.clear-log': async ({ input }) => {
      clearLog(ports.list.logPath(store.find(input.key)))
      return undefined
    },
    'container.logs': async ({ input, stdio, signal }) => {
      const container = store.find(input.key)
      if (!input.stdout && !input.stderr) throw new EngineError('invalid', 'Bad parameters: you must choose at least one stream')
      if (!logSettings(container.document.hostConfig.LogConfig).readable) throw new EngineError('unsupported', 'configured logging driver does not support reading')
      input.onReady(container.document.config.Tty)
      await streamLogs(ports.list.logPath(container), container, input.query, input, stdio.write ?? (async () => undefined), signal)
      return undefined
    },
    'exec.create': async ({ input }) => {
      const container = store.find(input.key)
      await checkExecUser(ports.exec, container, input.request.user)
      return { id: createExec(ports.exec, container, input.request).id }
    },
    'exec.start': async ({ input, stdio }) => {
      const { instance } = findExec(store, input.id)
      const { hijack } = stdio
      await startExec(ports.exec, input.id, { tty: input.tty, size: input.size, connect: input.detach || hijack === undefined ? undefined : () => hijack(streamType(instance.tty, input.apiVersion)) })
      return undefined
    },
    'exec.inspect': async ({ input }) => {
      const { container, instance } = findExec(store, input.id)
      return inspectExec(container, instance)
    },
    'exec.resize': async ({ input }) => {
      const { instance } = findExec(store, input.id)
      await resizeExec(instance, input.rows, input.columns)
      return undefined
    },
  }
}

function fileHandlers(ports: ContainerHandlerPorts): Set<'container.changes' | 'container.export' | 'container.stat' | 'container.read-archive' | 'container.write-archive' | 'container.commit'> {
  const { store } = ports
  const write = (stdio: { readonly write?: (chunk: Uint8Array) => Promise<void> }): ((chunk: Uint8Array) => Promise<void>) => stdio.write ?? (async () => undefined)
  return {
    'container.changes': async ({ input }) => {
      const container = store.find(input.key)
      return ports.archive.graph.changes(container.id, ports.archive.graph.images.get(container.document.imageId))
    },
    'container.export': async ({ input, stdio }) => {
      const container = store.find(input.key)
      await exportContainer(ports.archive, container, write(stdio))
      ports.emit(container, 'export')
      return undefined
    },
    'container.stat': ({ input }) => statPath(ports.archive, store.find(input.key), input.path),
    'container.read-archive': async ({ input, stdio }) => {
      const container = store.find(input.key)
      input.onStat(await statPath(ports.archive, container, input.path))
      await readArchive(ports.archive, container, input.path, write(stdio))
      ports.emit(container, 'archive-path')
      return undefined
    },
    'container.write-archive': async ({ input, stdio }) => {
      const container = store.find(input.key)
      if (container.document.hostConfig.ReadonlyRootfs && !container.document.mounts.some((mount) => !mount.readOnly && (input.path === mount.destination || input.path.startsWith(`${mount.destination}/`)))) throw new EngineError('forbidden', 'container rootfs is marked read-only')
      const owner = input.copyOwner ? identityOf(ports.start, container, ports.archive.graph.images.get(container.document.imageId), container.document.config.User) : undefined
      await writeArchive(ports.archive, container, input.path, stdio.input ?? noBytes(), { strict: input.strict, ...(owner && { owner: { uid: owner.uid, gid: owner.gid } }) })
      ports.emit(container, 'extract-to-dir')
      return undefined
    },
    'container.commit': async ({ input }) => {
      const container = store.find(input.key)
      const reference = input.repository === '' ? undefined : input.tag === '' ? input.repository : `${input.repository}:${input.tag}`
      // Nothing is made for a name that cannot be.
      if (reference !== undefined) tagName(reference)
      const pause = input.pause && container.task !== undefined && !container.state.paused
      if (pause) await ports.lifecycle.pause(container)
      try {
        const image = await commitContainer(ports.archive.graph, container, input)
        ports.images.emit('create', image.id, { name: image.id })
        const name = reference === undefined ? undefined : tagImage(ports.images, image, reference)
        ports.emit(container, 'commit', { comment: input.comment, imageID: image.id, ...(name !== undefined && { imageRef: name }) })
        return { id: image.id }
      } finally {
        if (pause) await ports.lifecycle.unpause(container)
      }
    },
  }
}

async function* noBytes(): AsyncGenerator<Uint8Array> {}

/** All container jobs. */
export function containerHandlers(ports: ContainerHandlerPorts): Handlers<ContainerJobs> {
  return { ...lifecycleHandlers(ports), ...checkpointHandlers(ports), ...viewHandlers(ports), ...streamHandlers(ports), ...fileHandlers(ports) }
}
