import { createServer, type Http2Server } from 'node:http2'
import { chmodSync, rmSync } from 'node:fs'
import { connectNodeAdapter } from '@connectrpc/connect-node'
import type { ConnectRouter, ServiceImpl } from '@connectrpc/connect'
import type { DescService } from '@bufbuild/protobuf'
import { describeStartFailure, type StreamPlan } from '@gantry/libcontainer'
import { EngineError } from '@gantry/std'
import type { Task, TaskProcess } from '../execdriver.ts'
import type { Supervisor } from '../supervisor.ts'
import { type BundleMessage, type ContainerMessage, decodeBundle, type ExecMessage, jsonOf, type NoticeMessage, processOf, resourcesOf, specOf, type StartedMessage, supervisorService, toWire } from './protocol.ts'
import { METHODS } from './protocol.table.ts'
import { waitingList } from './waiting-list.ts'

interface Request {
  readonly id: string
  readonly key: string
  readonly signal: number
  readonly rows: number
  readonly columns: number
  readonly stream?: StreamPlan
  readonly container?: ContainerMessage
  readonly paused: boolean
  readonly resources: Uint8Array
  readonly fromSequence: bigint
  readonly pid: number
  readonly spec: Uint8Array
  readonly directory: string
  readonly leaveRunning: boolean
}

/** What the server stands on; `runtimes` remembers which driver a container belongs to. */
export interface ServerPorts {
  readonly supervisor: Supervisor
  readonly runtimes: Map<string, string>
}

type Handler = (request: never, context: { readonly signal: AbortSignal }) => unknown

/** The methods of the table over a supervisor of this process. */
export function supervisorMethods({ supervisor, runtimes }: ServerPorts): Readonly<Record<string, Handler>> {
  const notices = waitingList<NoticeMessage>()
  const execs = new Map<string, TaskProcess>()
  const notice = (kind: NoticeMessage['kind'], id: string, key: string, pid: number): Omit<NoticeMessage, 'exit'> => ({ kind, id, key, pid })
  const known = (id: string) => {
    const task = supervisor.task(id)
    if (task === undefined) throw new EngineError('not-found', `container ${id} does not run`)
    return task
  }
  const processAt = (id: string, key: string): TaskProcess => {
    const found = key === '' ? known(id) : execs.get(key)
    if (found === undefined) throw new EngineError('not-found', `no such exec: ${key}`)
    return found
  }
  const followed = new WeakSet<Task>()
  const follow = (id: string, task: Task): void => {
    followed.add(task)
    task.onOom(() => notices.add(notice('oom', id, '', task.pid)))
    void task.exited.then((exit) => notices.add({ ...notice('exit', id, '', task.pid), exit }))
    void task.clean.then(() => notices.add(notice('clean', id, '', task.pid)))
  }
  const remember = (container: ContainerMessage | undefined): string => {
    if (container === undefined || container.id === '') throw new EngineError('invalid', 'container: expected an id')
    runtimes.set(container.id, container.runtime)
    return container.id
  }
  return {
    start: async (message: BundleMessage): Promise<StartedMessage> => {
      const bundle = decodeBundle(message)
      runtimes.set(bundle.id, bundle.runtime)
      const task = await supervisor.start(bundle)
      follow(bundle.id, task)
      return { pid: task.pid, shimPid: task.shimPid, steps: task.steps }
    },
    explain: async (message: BundleMessage) => ({ text: await supervisor.driver.explain(decodeBundle(message)) }),
    adopt: async (container: ContainerMessage) => {
      const id = remember(container)
      const running = supervisor.task(id)
      if (running !== undefined) {
        if (!followed.has(running)) follow(id, running)
        return { status: 'running', pid: running.pid }
      }
      const found = await supervisor.adopt(id, container.cgroupsPath === '' ? undefined : container.cgroupsPath)
      if (found.status === 'running') follow(id, found.task)
      return { status: found.status, pid: found.status === 'running' ? found.task.pid : 0, ...(found.status === 'ended' && { exit: found.exit }) }
    },
    exec: async (message: ExecMessage): Promise<StartedMessage> => {
      if (message.stdio === undefined) throw new EngineError('invalid', 'stdio: expected one')
      const process = await known(message.id).exec(processOf(message.process), specOf(message.spec), message.stdio)
      execs.set(message.key, process)
      void process.exited.then((exit) => {
        execs.delete(message.key)
        notices.add({ ...notice('exit', message.id, message.key, process.pid), exit })
      })
      return { pid: process.pid, shimPid: 0, steps: [] }
    },
    signal: async ({ id, key, signal }: Request) => (await processAt(id, key).signal(signal), {}),
    resize: async ({ id, key, rows, columns }: Request) => (await processAt(id, key).resize(rows, columns), {}),
    attach: async ({ id, stream }: Request) => {
      if (stream === undefined) throw new EngineError('invalid', 'stream: expected one')
      await known(id).attach(stream)
      return {}
    },
    pause: async ({ container, paused }: Request) => (await supervisor.driver.pause(remember(container), paused), {}),
    checkpoint: async ({ container, pid, spec, directory, leaveRunning }: Request) => (await supervisor.driver.checkpoint(remember(container), { pid, spec: specOf(spec), directory, leaveRunning }), {}),
    update: async ({ container, resources }: Request) => (await supervisor.driver.update(remember(container), resourcesOf(resources)), {}),
    forget: async (container: ContainerMessage) => {
      supervisor.driver.forget(remember(container))
      runtimes.delete(container.id)
      return {}
    },
    processes: async (container: ContainerMessage) => ({ pids: await supervisor.driver.processes(remember(container)) }),
    // JSON has no infinity, and a limit may be one.
    stats: async (container: ContainerMessage) => ({ json: Buffer.from(JSON.stringify(await supervisor.driver.stats(remember(container)), (_, value: unknown) => (value === Number.POSITIVE_INFINITY ? 'max' : value))) }),
    tasks: async () => ({ ids: supervisor.tasks() }),
    metrics: async () => ({ json: jsonOf(await supervisor.metrics()) }),
    events: async function* ({ fromSequence }: Request, { signal }: { readonly signal: AbortSignal }) {
      const list = waitingList<ReturnType<Supervisor['events']['replay']>[number]>()
      const stop = supervisor.events.listen((event) => list.add(event))
      try {
        for (const event of supervisor.events.replay(Number(fromSequence))) yield { ...event, sequence: BigInt(event.sequence) }
        for await (const event of list.follow(signal)) yield { ...event, sequence: BigInt(event.sequence) }
      } finally {
        stop()
      }
    },
    watch: async function* (_: unknown, { signal }: { readonly signal: AbortSignal }) {
      // So that a client knows from when on it misses nothing.
      const feed = notices.follow(signal)
      yield { kind: '' }
      yield* feed
    },
  }
}

/** Serves a supervisor on a unix socket that belongs to root alone (gRPC over HTTP/2 in clear). */
export async function serveSupervisor(ports: ServerPorts, path: string): Promise<Http2Server> {
  const service: DescService = supervisorService()
  const methods = supervisorMethods(ports)
  const guarded = Object.fromEntries(METHODS.map((method): [string, unknown] => {
    const name = method.name.charAt(0).toLowerCase() + method.name.slice(1)
    const work = methods[name]
    if (work === undefined) throw new EngineError('internal', `method ${method.name} of the table is not served`)
    if (method.stream === true) return [name, work]
    return [name, async (request: never, context: { readonly signal: AbortSignal }) => {
      try {
        return await work(request, context)
      } catch (error) {
        throw toWire(error, describeStartFailure)
      }
    }]
  }))
  const server = createServer(connectNodeAdapter({ routes: (router: ConnectRouter) => void router.service(service, guarded as Partial<ServiceImpl<DescService>>), connect: false, grpcWeb: false, readMaxBytes: 64 << 20 }))
  rmSync(path, { force: true })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(path, resolve)
  })
  chmodSync(path, 0o600)
  return server
}
