import { EngineError, logger } from '@gantry/std'
import type { AdoptedTask, Bundle, ExecDriver, Task } from './execdriver.ts'

const log = logger('runtime.supervisor')

/** Starts go through a queue to workers; the monitor watches what runs. */
export interface Supervisor {
  readonly driver: ExecDriver
  /** Waits for a worker, then starts. */
  start(bundle: Bundle): Promise<Task>
  task(id: string): Task | undefined
  adopt(id: string, cgroupsPath?: string): Promise<AdoptedTask>
  readonly running: number
  readonly queued: number
}

/** How many starts go on at once. */
export const DEFAULT_WORKERS = 10

/** Makes a supervisor over a driver. */
export function createSupervisor(driver: ExecDriver, workers: number = DEFAULT_WORKERS): Supervisor {
  const tasks = new Map<string, Task>()
  const queue: (() => void)[] = []
  let busy = 0
  const turn = async (): Promise<void> => {
    if (busy < workers) {
      busy++
      return
    }
    await new Promise<void>((resolve) => queue.push(resolve))
  }
  const next = (): void => {
    const waiting = queue.shift()
    if (waiting === undefined) busy--
    else waiting()
  }
  /** The monitor's part: a task is known until its process has ended. */
  const watch = (id: string, task: Task): Task => {
    tasks.set(id, task)
    void task.exited.then((exit) => {
      if (tasks.get(id) === task) tasks.delete(id)
      log.debug('process ended', { id, code: exit.code })
    })
    return task
  }
  return {
    driver,
    async start(bundle) {
      if (tasks.has(bundle.id)) throw new EngineError('conflict', `container ${bundle.id} runs already`)
      await turn()
      try {
        return watch(bundle.id, await driver.start(bundle))
      } finally {
        next()
      }
    },
    task: (id) => tasks.get(id),
    async adopt(id, cgroupsPath) {
      const found = await driver.adopt(id, cgroupsPath)
      if (found.status === 'running') watch(id, found.task)
      return found
    },
    get running() {
      return tasks.size
    },
    get queued() {
      return queue.length
    },
  }
}
