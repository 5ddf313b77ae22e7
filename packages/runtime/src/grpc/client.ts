import { randomUUID } from 'node:crypto'
import type { DescService } from '@bufbuild/protobuf'
import { type Client, createClient } from '@connectrpc/connect'
import { createGrpcTransport } from '@connectrpc/connect-node'
import { type CgroupStats, RuntimeFailure } from '@gantry/libcontainer'
import { EngineError, logger, messageOf } from '@gantry/std'
import { connect } from 'node:net'
import type { AdoptedTask, Bundle, ExecDriver, StartStep, Task, TaskExit, TaskProcess } from '../execdriver.ts'
import { type EventLog, openEventLog, type SupervisorEvent } from '../event-log.ts'
import type { Metrics } from '../metrics.ts'
import type { Supervisor } from '../supervisor.ts'
import { type ContainerMessage, encodeBundle, fromWire, jsonOf, type NoticeMessage, parsed, type StartedMessage, supervisorService } from './protocol.ts'

const log = logger('runtime.grpc')
const RETRY_MS = 200
const PATIENCE_MS = 10_000
const NANOSECONDS = 1_000_000n

/** How to reach a supervisor that is a process of its own. */
export interface RemoteOptions {
  /** Path of its socket, with or without `unix://`. */
  readonly address: string
  /** Which driver a container belongs to. */
  runtimeOf(id: string): string | undefined
  cgroupsPathOf(id: string): string | undefined
}

interface Remote {
  readonly exited: PromiseWithResolvers<TaskExit>
  readonly clean: PromiseWithResolvers<void>
  readonly oom: Set<() => void>
}

type Calls = Readonly<Record<string, (request: unknown, options?: { readonly signal?: AbortSignal }) => Promise<unknown>>>
const lostExit = (): TaskExit => ({ code: 137, oomKilled: false, at: BigInt(Date.now()) * NANOSECONDS })

/** A supervisor in another process, with the interface of one in this. When that process ends, containers go on; it is waited for, and what runs is taken over again. */
export async function remoteSupervisor(options: RemoteOptions): Promise<Supervisor> {
  const path = options.address.replace(/^unix:\/\//, '')
  const service: DescService = supervisorService()
  const transport = createGrpcTransport({ baseUrl: 'http://supervisor', nodeOptions: { createConnection: () => connect(path) } as never })
  const client = createClient(service, transport) as unknown as Client<DescService> & Calls
  let present = Promise.withResolvers<void>()
  /** While the other process is away, whoever wants something of it waits for a while. */
  const call = async <T>(method: string, request: unknown): Promise<T> => {
    const { promise, reject } = Promise.withResolvers<never>()
    const timer = setTimeout(() => reject(new EngineError('unavailable', `no supervisor answers on ${path}`)), PATIENCE_MS)
    await Promise.race([present.promise, promise]).finally(() => clearTimeout(timer))
    return ask(method, request)
  }
  const ask = async <T>(method: string, request: unknown): Promise<T> => {
    try {
      return (await (client as Calls)[method]?.(request)) as T
    } catch (error) {
      const { error: known, exitCode } = fromWire(error)
      throw exitCode === undefined ? known : new RuntimeFailure(known.message, exitCode, error)
    }
  }
  const container = (id: string): ContainerMessage => ({ id, runtime: options.runtimeOf(id) ?? '', cgroupsPath: options.cgroupsPathOf(id) ?? '' })
  const tasks = new Map<string, Task>()
  const remotes = new Map<string, Remote>()
  /** Ends that were told of before the answer to the start had been read. */
  const early = new Map<string, NoticeMessage[]>()
  const events: EventLog = openEventLog()
  const closing = new AbortController()
  let queued = 0

  const remoteAt = (place: string): Remote => {
    const remote: Remote = { exited: Promise.withResolvers<TaskExit>(), clean: Promise.withResolvers<void>(), oom: new Set() }
    remotes.set(place, remote)
    const missed = early.get(place) ?? []
    early.delete(place)
    for (const one of missed) tell(place, one)
    return remote
  }
  const tell = (place: string, notice: NoticeMessage): void => {
    const remote = remotes.get(place)
    if (remote === undefined) return void early.set(place, [...(early.get(place) ?? []), notice])
    if (notice.kind === 'oom') for (const heard of remote.oom) heard()
    if (notice.kind === 'exit') remote.exited.resolve(notice.exit ?? lostExit())
    if (notice.kind === 'clean') remote.clean.resolve()
  }
  const placeOf = (id: string, key: string, pid: number): string => (key === '' ? `${id} ${pid}` : key)
  const processOf = (id: string, key: string, pid: number, remote: Remote): TaskProcess => ({
    pid,
    exited: remote.exited.promise,
    signal: (signal) => call('signal', { id, key, signal }),
    resize: (rows, columns) => call('resize', { id, key, rows, columns }),
  })
  const taskOf = (id: string, pid: number, shimPid: number, steps: readonly StartStep[]): Task => {
    const place = placeOf(id, '', pid)
    const remote = remoteAt(place)
    const task: Task = {
      ...processOf(id, '', pid, remote),
      shimPid,
      steps,
      clean: remote.clean.promise,
      onOom: (heard) => void remote.oom.add(heard),
      attach: (stream) => call('attach', { id, stream }),
      async exec(process, spec, stdio) {
        const key = randomUUID()
        const started = await call<StartedMessage>('exec', { id, key, process: jsonOf(process), spec: jsonOf(spec), stdio })
        return processOf(id, key, started.pid, remoteAt(key))
      },
    }
    tasks.set(id, task)
    void remote.exited.promise.then(() => {
      if (tasks.get(id) === task) tasks.delete(id)
    })
    void Promise.all([remote.exited.promise, remote.clean.promise]).then(() => remotes.delete(place))
    return task
  }
  /** After the other process has come back: what ended meanwhile is told now. */
  const takeOver = async (): Promise<void> => {
    for (const [id, task] of tasks) {
      const found = await ask<{ status: string; pid: number; exit?: TaskExit }>('adopt', container(id))
      if (found.status === 'running' && found.pid === task.pid) continue
      const place = placeOf(id, '', task.pid)
      tell(place, { kind: 'exit', id, key: '', pid: task.pid, exit: found.exit ?? lostExit() })
      tell(place, { kind: 'clean', id, key: '', pid: task.pid })
    }
    for (const [place, remote] of remotes) if (!place.includes(' ')) remote.exited.resolve(lostExit())
  }
  const follow = async (): Promise<void> => {
    let first = true
    while (!closing.signal.aborted) {
      try {
        const stream = (client as unknown as Record<string, (request: unknown, options: { signal: AbortSignal }) => AsyncIterable<NoticeMessage>>)['watch']?.({}, { signal: closing.signal })
        for await (const notice of stream ?? []) {
          if (notice.kind !== '') tell(placeOf(notice.id, notice.key, notice.pid), notice)
          else {
            if (!first) await takeOver()
            first = false
            present.resolve()
          }
        }
      } catch (error) {
        if (!closing.signal.aborted) log.warn('the supervisor does not answer; trying again', { address: path, cause: messageOf(error) })
      }
      present = Promise.withResolvers<void>()
      if (!closing.signal.aborted) await new Promise((resolve) => setTimeout(resolve, RETRY_MS))
    }
  }
  const following = follow()
  await call('tasks', {}).catch((error: unknown) => {
    closing.abort()
    throw error
  })
  let sequence = 0n
  /** The log of events, from where it was left when the other process went away. */
  const followEvents = async (): Promise<void> => {
    while (!closing.signal.aborted) {
      try {
        const stream = (client as unknown as Record<string, (request: unknown, options: { signal: AbortSignal }) => AsyncIterable<Omit<SupervisorEvent, 'sequence'> & { readonly sequence: bigint }>>)['events']?.({ fromSequence: sequence + 1n }, { signal: closing.signal })
        for await (const event of stream ?? []) {
          sequence = event.sequence
          events.add({ type: event.type, id: event.id, pid: event.pid, code: event.code, message: event.message })
        }
      } catch (error) {
        log.debug('the stream of events has ended', { cause: messageOf(error) })
      }
      if (!closing.signal.aborted) await new Promise((resolve) => setTimeout(resolve, RETRY_MS))
    }
  }
  const history = followEvents()

  const driver: ExecDriver = {
    name: 'remote',
    start: (bundle) => start(bundle),
    explain: async (bundle) => (await call<{ text: string }>('explain', encodeBundle(bundle))).text,
    adopt: (id) => adopt(id),
    forget: (id) => void call('forget', container(id)).catch((cause: unknown) => log.warn('cannot forget', { id, cause })),
    checkpoint: (id, { pid, spec, directory, leaveRunning }) => call('checkpoint', { container: container(id), pid, spec: jsonOf(spec), directory, leaveRunning }),
    pause: (id, paused) => call('pause', { container: container(id), paused }),
    update: (id, resources) => call('update', { container: container(id), resources: jsonOf(resources) }),
    processes: async (id) => (await call<{ pids: readonly number[] }>('processes', container(id))).pids,
    stats: async (id) => {
      const { json } = await call<{ json: Uint8Array }>('stats', container(id))
      return JSON.parse(Buffer.from(json).toString(), (_, value: unknown) => (value === 'max' ? Number.POSITIVE_INFINITY : value)) as CgroupStats
    },
  }
  const start = async (bundle: Bundle): Promise<Task> => {
    queued++
    try {
      const { pid, shimPid, steps } = await call<StartedMessage>('start', encodeBundle(bundle))
      return taskOf(bundle.id, pid, shimPid, steps.map((step) => ({ ...step, side: step.side === 'init' ? 'init' : 'shim' })))
    } finally {
      queued--
    }
  }
  const adopt = async (id: string): Promise<AdoptedTask> => {
    const found = await call<{ status: 'running' | 'ended' | 'lost'; pid: number; exit?: TaskExit }>('adopt', container(id))
    if (found.status === 'running') return { status: 'running', task: taskOf(id, found.pid, 0, []) }
    return found.status === 'ended' ? { status: 'ended', exit: found.exit ?? lostExit() } : { status: 'lost' }
  }
  return {
    driver, start, adopt, events,
    task: (id) => tasks.get(id),
    tasks: () => [...tasks.keys()],
    metrics: async () => parsed<Metrics>((await call<{ json: Uint8Array }>('metrics', {})).json),
    get running() {
      return tasks.size
    },
    get queued() {
      return queued
    },
    async close() {
      closing.abort()
      await Promise.all([following, history])
    },
  }
}
