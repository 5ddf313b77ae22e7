import { EngineError, logger, messageOf } from '@gantry/std'
import type { Handlers, JobStdio, JobTable, JobView } from './job.ts'

const log = logger('daemon.engine')
const HISTORY = 256

/** How a job is run. */
export interface RunOptions {
  readonly stdio?: JobStdio
  readonly signal?: AbortSignal
}

/** A registry of named handlers; all client-visible work runs as a job. */
export interface Engine<T extends JobTable<T>> {
  run<Name extends keyof T & string>(name: Name, input: T[Name]['input'], options?: RunOptions): Promise<T[Name]['output']>
  /** Names that are registered. */
  readonly commands: readonly string[]
  jobs(): readonly JobView[]
  /** Called first last, once no job runs. */
  onShutdown(what: string, handler: () => PromiseLike<void>): void
  /** Takes no new job, waits for running ones, runs the shutdown handlers; gives up after so many milliseconds. */
  shutdown(graceMs: number): Promise<void>
}

const NEVER = new AbortController().signal

/** Makes the engine. Total by type: a missing handler does not compile. */
export function createEngine<T extends JobTable<T>>(handlers: Handlers<T>): Engine<T> {
  const running = new Map<number, { readonly name: string; readonly startedAt: number; readonly controller: AbortController }>()
  const ended: JobView[] = []
  const shutdowns: { readonly what: string; readonly handler: () => PromiseLike<void> }[] = []
  let lastId = 0
  let closed = false
  let idle: (() => void) | undefined
  const finish = (id: number, status: JobView['status']): void => {
    const job = running.get(id)
    if (job === undefined) return
    running.delete(id)
    ended.push({ id, name: job.name, status, startedAt: job.startedAt, ms: Date.now() - job.startedAt })
    if (ended.length > HISTORY) ended.shift()
    if (running.size === 0) idle?.()
  }
  return {
    async run(name, input, options = {}) {
      if (closed) throw new EngineError('unavailable', 'the daemon is shutting down')
      const handler = handlers[name]
      if (handler === undefined) throw new EngineError('not-found', `no such job: ${name}`)
      const id = ++lastId
      const controller = new AbortController()
      running.set(id, { name, startedAt: Date.now(), controller })
      const signal = options.signal === undefined || options.signal === NEVER ? controller.signal : AbortSignal.any([options.signal, controller.signal])
      log.debug('job begins', { id, name })
      try {
        const output = await handler({ id, name, input, stdio: options.stdio ?? {}, signal })
        finish(id, 'succeeded')
        return output
      } catch (error) {
        finish(id, signal.aborted ? 'aborted' : 'failed')
        log.debug('job failed', { id, name, cause: messageOf(error) })
        throw error
      }
    },
    commands: Object.keys(handlers),
    jobs: () => [...ended, ...[...running].map(([id, job]) => ({ id, name: job.name, status: 'running' as const, startedAt: job.startedAt, ms: Date.now() - job.startedAt }))],
    onShutdown: (what, handler) => {
      shutdowns.push({ what, handler })
    },
    async shutdown(graceMs) {
      closed = true
      const done = new Promise<void>((resolve) => {
        idle = resolve
        if (running.size === 0) resolve()
      })
      // What only streams until its client goes away would never end by itself.
      for (const job of running.values()) job.controller.abort(new EngineError('unavailable', 'the daemon is shutting down'))
      const timeout = new Promise<void>((resolve) => setTimeout(resolve, graceMs).unref())
      await Promise.race([done, timeout])
      for (const { what, handler } of shutdowns.reverse()) {
        await Promise.race([Promise.resolve(handler()), timeout]).catch((cause: unknown) => log.error('shutdown step failed', { what, cause }))
      }
    },
  }
}
