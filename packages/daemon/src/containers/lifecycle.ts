import { describeStartFailure, type Supervisor, type Task, type TaskExit } from '@gantry/runtime'
import { EngineError, type KeyedLock, logger, messageOf, shortId } from '@gantry/std'
import { type Container, isRunning } from './container.ts'
import { etcDirectory } from './spec/etc-files.ts'
import { startContainer, type StartPorts } from './start.ts'
import { volumesOf } from './mounts/prepare.ts'
import type { ContainerStore } from './store.ts'
import { parseSignal } from './request/validate.ts'

const log = logger('daemon.containers')

/** What the life of containers needs of the rest of the house. */
export interface LifecyclePorts {
  readonly start: Omit<StartPorts, 'watch'>
  readonly store: ContainerStore
  readonly supervisor: Supervisor
  readonly lock: KeyedLock
  readonly execRoot: string
  emit(container: Container, action: string, attributes?: Readonly<Record<string, string>>): void
  /** Hears of every process that runs from now on. */
  onRunning(container: Container, task: Task): void
  remove(container: Container): Promise<void>
  discard(path: string): void
}

/** Starts, stops and watches containers. One change of one container at a time. */
export interface Lifecycle {
  /** false when it already ran. */
  start(container: Container, restoreFrom?: string): Promise<boolean>
  stop(container: Container, options: { readonly timeoutSeconds?: number; readonly signal?: string }): Promise<boolean>
  kill(container: Container, signal: string): Promise<void>
  restart(container: Container, options: { readonly timeoutSeconds?: number; readonly signal?: string }): Promise<void>
  pause(container: Container): Promise<void>
  unpause(container: Container): Promise<void>
  /** Takes over a process that an earlier daemon started. */
  watch(container: Container, task: Task): void
  /** Records an end that nobody saw. */
  recordExit(container: Container, exit: TaskExit): Promise<void>
}

const DEFAULT_STOP_SECONDS = 10
const SIGKILL = 9
const KILL_PATIENCE_MS = 10_000
const RECORD_TRIES = 600
const RECORD_WAIT_MS = 1000
const BACKOFF_FIRST_MS = 100
const BACKOFF_MAX_MS = 60_000
const BACKOFF_RESET_MS = 10_000

/** What restart policies say of an exit. */
export function shouldRestart(container: Container, exitCode: number): boolean {
  const { Name, MaximumRetryCount } = container.document.hostConfig.RestartPolicy
  if (container.state.manuallyStopped || container.removing) return false
  if (Name === 'always' || Name === 'unless-stopped') return true
  return Name === 'on-failure' && exitCode !== 0 && (MaximumRetryCount === 0 || container.state.restartCount < MaximumRetryCount)
}

const notRunning = (container: Container): EngineError => new EngineError('conflict', `container ${container.id} is not running`)

/** Resolves with the exit, or with undefined when the time is up; a negative time waits for ever. */
async function exitWithin(task: Task, ms: number): Promise<TaskExit | undefined> {
  if (ms < 0) return task.exited
  const { promise, resolve } = Promise.withResolvers<undefined>()
  const timer = setTimeout(() => resolve(undefined), ms)
  const result = await Promise.race([task.exited, promise])
  clearTimeout(timer)
  return result
}

/** The signal of a kill. */
function signalOf(container: Container, text: string): number {
  try {
    return parseSignal(text === '' ? 'SIGKILL' : text)
  } catch (cause) {
    throw new EngineError('invalid', `cannot kill container: ${container.name}: ${messageOf(cause)}`, { cause })
  }
}

/** Makes the lifecycle. */
export function createLifecycle(ports: LifecyclePorts): Lifecycle {
  const backoff = new Map<string, number>()

  /** An end is an end even if the disk takes no record of it: whoever waits hears of it, and the record is tried again. */
  const record = (container: Container, tries = RECORD_TRIES): void => {
    try {
      if (!container.removing) ports.store.save(container)
    } catch (cause) {
      if (tries === RECORD_TRIES || tries === 0) log.error(tries === 0 ? 'the end of a container is not recorded' : 'the end of a container cannot be recorded now; trying again', { id: container.id, cause })
      if (tries > 0) setTimeout(() => record(container, tries - 1), RECORD_WAIT_MS).unref()
    }
  }

  const finish = async (container: Container, exit: TaskExit): Promise<void> => {
    const { state } = container
    const ranMs = Number((exit.at - BigInt(state.startedAt === '' ? '0' : state.startedAt)) / 1_000_000n)
    Object.assign(state, { status: 'exited', starting: false, paused: false, pid: 0, exitCode: exit.code, oomKilled: exit.oomKilled, finishedAt: String(exit.at) })
    container.task = undefined
    for (const exec of container.execs.values()) if (exec.status === 'running' && exec.process === undefined) exec.status = 'exited'
    const again = shouldRestart(container, exit.code)
    state.restarting = again
    const remove = container.document.hostConfig.AutoRemove && !again && !container.restarting
    if (!remove) record(container)
    if (exit.oomKilled && !container.oomHeard) ports.emit(container, 'oom')
    const { sandbox } = container
    if (sandbox !== undefined) ports.start.emitNetworks(container, 'disconnect', sandbox)
    ports.start.emitVolumes(container, 'unmount')
    ports.emit(container, 'die', { exitCode: String(exit.code), execDuration: String(Math.max(0, Math.floor(ranMs / 1000))) })
    for (const heard of [...container.waiters.exit]) heard(exit.code, '')
    container.waiters.exit.clear()
    container.sandbox = undefined
    if (sandbox !== undefined) await sandbox.release().catch((cause: unknown) => log.error('cannot leave the network', { id: container.id, cause }))
    await ports.start.volumeUse.release(volumesOf(container)).catch((cause: unknown) => log.error('cannot unmount its volumes', { id: container.id, cause }))
    ports.discard(etcDirectory(ports.execRoot, container.id))
    if (remove) await ports.remove(container).catch((cause: unknown) => log.error('cannot remove', { id: container.id, cause }))
    else if (again) scheduleRestart(container, ranMs)
  }

  const scheduleRestart = (container: Container, ranMs: number): void => {
    const before = ranMs > BACKOFF_RESET_MS ? undefined : backoff.get(container.id)
    const delay = Math.min(before === undefined ? BACKOFF_FIRST_MS : before * 2, BACKOFF_MAX_MS)
    backoff.set(container.id, delay)
    container.restartTimer = setTimeout(() => {
      container.restartTimer = undefined
      if (container.state.manuallyStopped || container.removing) return
      container.state.restartCount++
      start(container).catch((cause: unknown) => {
        container.state.restarting = false
        ports.store.save(container)
        log.warn('restart failed', { id: container.id, cause })
      })
    }, delay)
  }

  const watch = (container: Container, task: Task): void => {
    container.task = task
    container.oomHeard = false
    ports.onRunning(container, task)
    task.onOom(() => {
      container.oomHeard = true
      ports.emit(container, 'oom')
    })
    const recorded = task.exited.then((exit) => finish(container, exit)).catch((cause: unknown) => log.error('cannot record an exit', { id: container.id, cause }))
    container.tidy = Promise.all([recorded, task.clean]).then(() => undefined)
    void task.clean.then(() => {
      if (container.task === undefined) ports.supervisor.driver.forget(container.id)
    })
  }

  const failed = async (container: Container, error: unknown): Promise<never> => {
    const described = describeStartFailure(error)
    const waiting = container.waiting
    container.waiting = []
    for (const one of waiting) one.expected.cancel('the container did not start')
    const message = described?.message ?? messageOf(error)
    Object.assign(container.state, { error: `failed to create task for container: ${message}`, exitCode: described?.exitCode ?? 128, starting: false, restarting: false })
    ports.store.save(container)
    ports.emit(container, 'die', { exitCode: String(container.state.exitCode) })
    for (const heard of [...container.waiters.exit]) heard(container.state.exitCode, '')
    container.waiters.exit.clear()
    ports.supervisor.driver.forget(container.id)
    if (container.document.hostConfig.AutoRemove) await ports.remove(container)
    if (described === undefined) throw error
    throw new EngineError('invalid', `failed to create task for container: failed to create shim task: OCI runtime create failed: unable to start container process: ${message}`, { cause: error })
  }

  const start = (container: Container, restoreFrom?: string): Promise<boolean> =>
    ports.lock.run(container.id, async () => {
      if (isRunning(container)) {
        if (container.state.paused) throw new EngineError('conflict', 'cannot start a paused container, try unpause instead')
        return false
      }
      if (container.removing) throw new EngineError('conflict', 'container is marked for removal and cannot be started')
      try {
        await startContainer({ ...ports.start, watch }, container, restoreFrom)
        return true
      } catch (error) {
        return failed(container, error)
      }
    })

  /** Told before it is sent: what comes of it (`die`, networks left) is another path's, and would be first at times. */
  const sendSignal = async (container: Container, signal: number): Promise<void> => {
    ports.emit(container, 'kill', { signal: String(signal) })
    await container.task?.signal(signal).catch((error: unknown) => {
      if (!(error instanceof EngineError) || (error.kind !== 'not-found' && error.kind !== 'unavailable')) throw error
    })
  }

  const stop: Lifecycle['stop'] = async (container, options) => {
    const { task } = container
    container.state.manuallyStopped = true
    if (container.restartTimer !== undefined) clearTimeout(container.restartTimer)
    if (task === undefined) {
      container.state.restarting = false
      ports.store.save(container)
      return false
    }
    ports.store.save(container)
    const { config } = container.document
    const seconds = options.timeoutSeconds ?? config.StopTimeout ?? DEFAULT_STOP_SECONDS
    const signal = parseSignal(options.signal ?? config.StopSignal ?? 'SIGTERM')
    if (container.state.paused) await unpauseNow(container)
    await sendSignal(container, signal)
    if ((await exitWithin(task, seconds < 0 ? -1 : seconds * 1000)) === undefined) {
      await sendSignal(container, SIGKILL)
      if ((await exitWithin(task, KILL_PATIENCE_MS)) === undefined) throw new EngineError('internal', `cannot stop container: ${container.name}: it does not end after SIGKILL`)
    }
    await exitSeen(container)
    ports.emit(container, 'stop')
    return true
  }

  /** The exit has been recorded, not only seen by the task. */
  const exitSeen = async (container: Container): Promise<void> => {
    for (let turn = 0; turn < 100 && container.task !== undefined; turn++) await new Promise((resolve) => setImmediate(resolve))
  }

  const unpauseNow = async (container: Container): Promise<void> => {
    await ports.supervisor.driver.pause(container.id, false)
    container.state.paused = false
    ports.store.save(container)
    ports.emit(container, 'unpause')
  }

  return {
    start,
    stop,
    watch,
    recordExit: finish,
    async kill(container, signalText) {
      const signal = signalOf(container, signalText)
      const { task } = container
      if (task === undefined) throw new EngineError('conflict', `cannot kill container: ${container.name}: container ${container.id} is not running`)
      if (signal === SIGKILL || signal === parseSignal(container.document.config.StopSignal ?? 'SIGTERM')) container.state.manuallyStopped = true
      if (container.state.paused && signal === SIGKILL) await unpauseNow(container)
      await sendSignal(container, signal)
      if (signal === SIGKILL && (await exitWithin(task, KILL_PATIENCE_MS)) !== undefined) await exitSeen(container)
    },
    async restart(container, options) {
      container.restarting = true
      try {
        if (isRunning(container)) await stop(container, options)
        await start(container)
      } finally {
        container.restarting = false
      }
      ports.emit(container, 'restart')
    },
    async pause(container) {
      if (container.task === undefined) throw notRunning(container)
      if (container.state.paused) throw new EngineError('conflict', `Container ${shortId(container.id)} is already paused`)
      await ports.supervisor.driver.pause(container.id, true)
      container.state.paused = true
      ports.store.save(container)
      ports.emit(container, 'pause')
    },
    async unpause(container) {
      if (!container.state.paused) throw new EngineError('internal', `Container ${container.id} is not paused`)
      await unpauseNow(container)
    },
  }
}
