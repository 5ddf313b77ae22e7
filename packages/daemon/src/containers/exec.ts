import { encodeStreamFrame } from '@gantry/api'
import type { Graph } from '@gantry/graph'
import { describeStartFailure, type Identity, resolveUser, type StreamServer, type Supervisor, type Trees } from '@gantry/runtime'
import { EngineError, messageOf, newId } from '@gantry/std'
import type { Duplex } from 'node:stream'
import { joinStreams, parseDetachKeys, prepareStream } from './attach.ts'
import type { Container, ExecInstance } from './container.ts'
import { environment, processOf, type SpecInput, toSpec } from './spec/spec.ts'
import type { ContainerStore } from './store.ts'

/** What exec needs of the rest of the house. */
export interface ExecPorts {
  readonly store: ContainerStore
  readonly graph: Graph
  readonly supervisor: Supervisor
  readonly streams: StreamServer
  readonly trees: Trees
  specInput(container: Container, identity: Identity): SpecInput
  emit(container: Container, action: string, attributes?: Readonly<Record<string, string>>): void
}

/** What a client asks for. */
export type ExecRequest = Pick<ExecInstance, 'command' | 'tty' | 'openStdin' | 'attachStdout' | 'attachStderr' | 'env' | 'user' | 'workingDir' | 'privileged' | 'detachKeys'>

const KEPT_AFTER_EXIT_MS = 5 * 60_000
const FILE_LIMIT = 1 << 20

function checkRuns(container: Container): void {
  if (container.task === undefined) throw new EngineError('conflict', `container ${container.id} is not running`)
  if (container.state.paused) throw new EngineError('conflict', `Container ${container.name} is paused, unpause the container before exec`)
}

/** As Docker's events have it: the program, a blank, its arguments. */
const eventCommand = ([program = '', ...rest]: readonly string[]): string => `${program} ${rest.join(' ')}`

/** Makes an instance; nothing runs yet. */
export function createExec(ports: ExecPorts, container: Container, request: ExecRequest): ExecInstance {
  if (request.command.length === 0) throw new EngineError('invalid', 'No exec command specified')
  checkRuns(container)
  if (request.workingDir !== '' && !request.workingDir.startsWith('/')) throw new EngineError('invalid', `the working directory '${request.workingDir}' is invalid, it needs to be an absolute path`)
  parseDetachKeys(request.detachKeys)
  const instance: ExecInstance = { ...request, id: newId(), containerId: container.id, status: 'created', exitCode: undefined, process: undefined, begun: Promise.withResolvers<void>() }
  container.execs.set(instance.id, instance)
  ports.emit(container, `exec_create: ${eventCommand(request.command)}`, { execID: instance.id })
  return instance
}

/** Finds an instance among all containers. */
export function findExec(store: ContainerStore, id: string): { readonly container: Container; readonly instance: ExecInstance } {
  for (const container of store.list()) {
    const instance = container.execs.get(id)
    if (instance !== undefined) return { container, instance }
  }
  throw new EngineError('not-found', `No such exec instance: ${id}`)
}

/** A file of the running container, resolved inside it. */
async function containerFile(ports: ExecPorts, pid: number, path: string): Promise<string> {
  try {
    return await ports.trees.read({ kind: 'process', pid, ownUsers: false }, path, { data: true, oneFilesystem: false, single: true }, async (reader) => {
      const head = await reader.read(80)
      if (head === undefined || (head.readUInt32LE(4) & 0o170000) !== 0o100000) return ''
      await reader.skip(head.readUInt32LE(48) + head.readUInt32LE(52) + head.readUInt32LE(56))
      const size = Math.min(Number(head.readBigUInt64LE(16)), FILE_LIMIT)
      return ((await reader.read(size)) ?? Buffer.alloc(0)).toString('utf8')
    })
  } catch (error) {
    if (error instanceof EngineError && error.kind === 'not-found') return ''
    throw error
  }
}

/** Users may have been added since the start: a name is looked up in the container as it is now. */
async function identityFor(ports: ExecPorts, container: Container, pid: number, user: string): Promise<Identity> {
  const wanted = user === '' ? container.document.config.User : user
  const plain = wanted === '' || wanted === '0' || wanted === 'root' || wanted === '0:0'
  const image = ports.graph.images.get(container.document.imageId)
  const look = ports.graph.look(container.id, image)
  const files = plain
    ? { passwd: look.readText('/etc/passwd') ?? '', group: look.readText('/etc/group') ?? '' }
    : { passwd: await containerFile(ports, pid, '/etc/passwd'), group: await containerFile(ports, pid, '/etc/group') }
  return resolveUser(wanted, files, container.document.hostConfig.GroupAdd ?? [])
}

/** A user that is not there is an error before the client's connection is taken over. */
export async function checkExecUser(ports: ExecPorts, container: Container, user: string): Promise<void> {
  if (user !== '' && container.task !== undefined) await identityFor(ports, container, container.task.pid, user)
}

/** How an exec is started. */
export interface ExecStart {
  readonly tty: boolean
  readonly size: readonly [number, number]
  /** Gives the client's connection; undefined when detached. */
  readonly connect: (() => Duplex) | undefined
}

/** Runs an instance. With a connection, resolves when its streams have ended. */
export async function startExec(ports: ExecPorts, id: string, start: ExecStart): Promise<void> {
  const { container, instance } = findExec(ports.store, id)
  if (instance.status !== 'created') throw new EngineError('conflict', `exec instance ${id} has already been started`)
  checkRuns(container)
  const { task } = container
  if (task === undefined) throw new EngineError('conflict', `container ${container.id} is not running`)
  instance.status = 'running'
  const identity = await identityFor(ports, container, task.pid, instance.user).catch((cause: unknown) => {
    instance.status = 'created'
    throw cause
  })
  const input = ports.specInput(container, identity)
  const spec = toSpec(input)
  const { config } = input.document
  const process = processOf(input, {
    args: instance.command,
    env: environment([...config.Env, ...instance.env], config.Hostname, instance.tty, identity.home),
    cwd: instance.workingDir === '' ? config.WorkingDir : instance.workingDir,
    terminal: instance.tty,
    size: start.size,
    privileged: instance.privileged,
  })
  const choice = { stdin: instance.openStdin, stdout: instance.attachStdout, stderr: instance.attachStderr }
  const stream = start.connect === undefined ? undefined : prepareStream(ports.streams, choice)
  ports.emit(container, `exec_start: ${eventCommand(instance.command)}`, { execID: id })
  const client = start.connect?.()
  try {
    const exec = await task.exec(process, spec, { openStdin: instance.openStdin && stream !== undefined, stdinOnce: true, streams: stream === undefined ? [] : [stream.plan] })
    instance.process = exec
    instance.begun.resolve()
    void exec.exited.then((exit) => ended(ports, container, instance, exit.code))
  } catch (error) {
    const described = describeStartFailure(error)
    stream?.expected.cancel('the process did not start')
    const code = described?.exitCode ?? 126
    ended(ports, container, instance, code)
    const message = `OCI runtime exec failed: exec failed: unable to start container process: ${described?.message ?? messageOf(error)}`
    if (client === undefined) throw new EngineError(described === undefined ? 'internal' : 'invalid', message, { cause: error })
    const text = Buffer.from(`${message}\r\n`)
    client.end(instance.tty ? text : encodeStreamFrame('stdout', text))
    return
  }
  if (client === undefined || stream === undefined) return
  await joinStreams(client, stream.expected, { choice, detachKeys: instance.tty ? parseDetachKeys(instance.detachKeys) : undefined, onDetach: () => ports.emit(container, 'exec_detach', { execID: id }) })
}

/** Sets the size of its terminal; clients ask for that as soon as they are connected, which may be before the process runs. */
export async function resizeExec(instance: ExecInstance, rows: number, columns: number): Promise<void> {
  const gone = (): EngineError => new EngineError('internal', `exec process ${instance.id} is not started or has ended`)
  if (instance.status !== 'running') throw gone()
  await instance.begun.promise
  if (instance.process === undefined) throw gone()
  await instance.process.resize(rows, columns)
}

function ended(ports: ExecPorts, container: Container, instance: ExecInstance, code: number): void {
  instance.begun.resolve()
  instance.status = 'exited'
  instance.exitCode = code
  ports.emit(container, 'exec_die', { execID: instance.id, exitCode: String(code) })
  setTimeout(() => container.execs.delete(instance.id), KEPT_AFTER_EXIT_MS).unref()
}
