import { EngineError, logger, messageOf } from '@gantry/std'
import { type EventLog, openEventLog } from './event-log.ts'
import type { AdoptedTask, Bundle, ExecDriver, Task, TaskProcess } from './execdriver.ts'
import { createMetrics, type Metrics } from './metrics.ts'
import { keepState } from './task-state.ts'

const log = logger('runtime.supervisor')

/** Starts go through a queue to workers; the monitor watches what runs. The same whether it lives in this process or in another. */
export interface Supervisor {
  readonly driver: ExecDriver
  /** Waits for a worker, then starts. */
  start(bundle: Bundle): Promise<Task>
  task(id: string): Task | undefined
  /** Containers that run. */
  tasks(): readonly string[]
  adopt(id: string, cgroupsPath?: string): Promise<AdoptedTask>
  readonly events: Pick<EventLog, 'replay' | 'listen'>
  metrics(): Promise<Metrics>
  readonly running: number
  readonly queued: number
  close(): Promise<void>
}

/** How a supervisor works. */
export interface SupervisorOptions {
  /** How many starts go on at once. */
  readonly workers?: number
  /** A start that takes longer is given up, and what it has made is taken back; 0: it may take as long as it likes. */
  readonly startTimeoutMs?: number
  readonly eventLog?: EventLog
  /** Where containers have their directories; their state is kept there. */
  readonly stateDirectory?: string
}

export const DEFAULT_WORKERS = 10
export const DEFAULT_START_TIMEOUT_MS = 15_000

/** `15s`, `500ms`, `2m`, or seconds. */
export function parseStartTimeout(text: string): number {
  const match = /^(\d{1,6})(ms|s|m)?$/.exec(text)
  if (match === null) throw new EngineError('invalid', `--start-timeout: expected a time such as 15s, got "${text}"`)
  return Number(match[1]) * { ms: 1, s: 1000, m: 60_000 }[(match[2] ?? 's') as 'ms' | 's' | 'm']
}

/** A queue whose work is done by so many at once. */
function workQueue(workers: number): { readonly length: number; run<T>(work: () => Promise<T>): Promise<T> } {
  const waiting: (() => void)[] = []
  let busy = 0
  const turn = (): Promise<void> | undefined => {
    if (busy < workers) {
      busy++
      return undefined
    }
    return new Promise<void>((resolve) => waiting.push(resolve))
  }
  return {
    get length() {
      return waiting.length
    },
    async run(work) {
      await turn()
      try {
        return await work()
      } finally {
        const next = waiting.shift()
        if (next === undefined) busy--
        else next()
      }
    },
  }
}

/** Makes a supervisor over a driver. */
export function createSupervisor(driver: ExecDriver, options: SupervisorOptions = {}): Supervisor {
  const tasks = new Map<string, Task>()
  const queue = workQueue(options.workers ?? DEFAULT_WORKERS)
  const timeoutMs = options.startTimeoutMs ?? DEFAULT_START_TIMEOUT_MS
  const events = options.eventLog ?? openEventLog()
  const metrics = createMetrics()

  const watchExec = (id: string, process: TaskProcess): TaskProcess => {
    events.add({ type: 'exec', id, pid: process.pid })
    void process.exited.then((exit) => {
      metrics.count('exec-exits')
      events.add({ type: 'exec-exit', id, pid: process.pid, code: exit.code })
    })
    return process
  }
  /** The monitor's part: a task is known until its process has ended. */
  const watch = (id: string, task: Task): Task => {
    const watched: Task = Object.create(task, { exec: { value: async (...words: Parameters<Task['exec']>) => watchExec(id, await metrics.time('exec', () => task.exec(...words))) } }) as Task
    tasks.set(id, watched)
    task.onOom(() => {
      metrics.count('ooms')
      events.add({ type: 'oom', id, pid: task.pid })
    })
    void task.exited.then((exit) => {
      if (tasks.get(id) === watched) tasks.delete(id)
      metrics.count('exits')
      events.add({ type: 'exit', id, pid: task.pid, code: exit.code })
      log.debug('process ended', { id, code: exit.code })
    })
    return watched
  }
  const startNow = async (bundle: Bundle): Promise<Task> => {
    const limit = new AbortController()
    const timer = timeoutMs === 0 ? undefined : setTimeout(() => limit.abort(), timeoutMs)
    try {
      return await driver.start(bundle, limit.signal)
    } catch (cause) {
      events.add({ type: 'failed', id: bundle.id, message: messageOf(cause) })
      if (limit.signal.aborted) throw new EngineError('unavailable', `container did not start before the timeout of ${timeoutMs / 1000} s`, { cause })
      throw cause
    } finally {
      clearTimeout(timer)
    }
  }
  const observed: ExecDriver = {
    ...driver,
    async pause(id, paused) {
      await driver.pause(id, paused)
      events.add({ type: paused ? 'pause' : 'resume', id })
    },
  }
  return {
    driver: observed,
    async start(bundle) {
      if (tasks.has(bundle.id)) throw new EngineError('conflict', `container ${bundle.id} runs already`)
      return queue.run(async () => {
        const task = await metrics.time('start', () => startNow(bundle))
        events.add({ type: 'start', id: bundle.id, pid: task.pid })
        if (options.stateDirectory !== undefined) keepState(options.stateDirectory, { id: bundle.id, runtime: bundle.runtime, pid: task.pid, shimPid: task.shimPid, cgroupsPath: bundle.spec.linux.cgroupsPath ?? '', startedAt: Date.now() })
        return watch(bundle.id, task)
      })
    },
    task: (id) => tasks.get(id),
    tasks: () => [...tasks.keys()],
    async adopt(id, cgroupsPath) {
      const found = await driver.adopt(id, cgroupsPath)
      if (found.status !== 'running') return found
      events.add({ type: 'adopt', id, pid: found.task.pid })
      return { status: 'running', task: watch(id, found.task) }
    },
    events,
    metrics: async () => metrics.read({ containers: tasks.size, queued: queue.length }),
    get running() {
      return tasks.size
    },
    get queued() {
      return queue.length
    },
    close: async () => events.flush(),
  }
}
