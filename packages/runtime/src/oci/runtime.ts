import { closeSync, constants, mkdirSync, openSync, readFileSync, rmSync, statSync, writeSync } from 'node:fs'
import { resolve } from 'node:path'
import { type CgroupManager, cgroupManager, createProgram, decodeConfig, type DecodedConfig, decodeResources, describeStartFailure, execDetachedProgram, type OciHooks, type OciProcess } from '@gantry/libcontainer'
import { startLauncher, startTimeOf, type SyscallProgram } from '@gantry/linux'
import { checkDepth, EngineError, hasCode, undoStack } from '@gantry/std'
import { withDefaults, withKnownMaps } from './defaults.ts'
import { runLenient } from './hooks.ts'
import { type KeptContainer, stateStore, type StateStore } from './state.ts'

/** What a container is for somebody who asks (runtime.md, State). */
export interface OciState {
  readonly ociVersion: string
  readonly id: string
  readonly status: string
  readonly pid: number
  readonly bundle: string
  readonly rootfs: string
  readonly created: string
  readonly annotations: Readonly<Record<string, string>>
}

/** A process that was made. */
export interface Created {
  readonly pid: number
  /** Resolves with the exit code; only where it was asked to stay. */
  readonly exited: Promise<number> | undefined
}

/** What a container is made from and with. */
export interface CreateOptions {
  readonly bundle: string
  readonly consoleSocket: string | undefined
  /** Its end can be heard of. */
  readonly stay?: boolean
  readonly preserveFds?: number
  readonly noPivot?: boolean
  readonly keepKeyring?: boolean
}

/** The operations of runtime.md over one `--root`. */
export interface OciRuntime {
  readonly store: StateStore
  /** Gives the pid of the init, which waits; `stay` keeps a way to hear of its end. */
  create(id: string, options: CreateOptions): Promise<Created>
  start(id: string): Promise<void>
  state(id: string): OciState
  kill(id: string, signal: number, all: boolean): void
  delete(id: string, force: boolean): Promise<void>
  exec(id: string, process: OciProcess, options: { readonly consoleSocket: string | undefined; readonly stay?: boolean; readonly preserveFds?: number }): Promise<Created>
  pause(id: string, paused: boolean): Promise<void>
  update(id: string, resources: unknown): void
  processes(id: string): readonly number[]
}

export const OCI_VERSION = '1.2.0'
const CONFIG_LIMIT = 16 << 20
const DEPTH_LIMIT = 64
const KILL_WAIT_MS = 10_000
const sleep = (ms: number): Promise<void> => new Promise((done) => setTimeout(done, ms))

function readConfig(bundle: string): DecodedConfig {
  const path = `${bundle}/config.json`
  const { size } = statSync(path)
  if (size > CONFIG_LIMIT) throw new EngineError('invalid', `${path}: ${size} bytes are too many`)
  const text = readFileSync(path, 'utf8')
  checkDepth(text, DEPTH_LIMIT)
  try {
    return decodeConfig(JSON.parse(text))
  } catch (cause) {
    if (cause instanceof SyntaxError) throw new EngineError('invalid', `${path}: ${cause.message}`, { cause })
    throw cause
  }
}

/** Opens a runtime. The helper is started when an operation needs it and ends with it. */
export function openOciRuntime({ root, helper, warn }: { readonly root: string; readonly helper: string; readonly warn: (message: string) => void }): OciRuntime {
  const cgroups: CgroupManager = cgroupManager('/')
  const placed = (container: KeptContainer): KeptContainer => {
    cgroups.place(container.id, container.cgroupsPath)
    return container
  }
  const isPaused = (container: KeptContainer): boolean => {
    placed(container)
    return cgroups.layout.version === 2 ? (cgroups.read(container.id, 'freezer', 'cgroup.events') ?? '').includes('frozen 1') : (cgroups.read(container.id, 'freezer', 'freezer.state') ?? '').startsWith('FROZEN')
  }
  const store = stateStore(root, isPaused)
  const lastCapability = Number(readFileSync('/proc/sys/kernel/cap_last_cap', 'utf8'))
  /** Runs a program that leaves a process behind. Without `stay` the process goes to whoever reaps above this one. */
  const leave = async (program: SyscallProgram, stay: boolean, passFds: number): Promise<Created> => {
    const launcher = await startLauncher(helper, { inheritStdio: true, passFds })
    let done = false
    try {
      if (stay) await launcher.adoptOrphans()
      const pid = Number((await launcher.fork(program)).output.readBigUInt64LE(0))
      done = stay
      if (!stay) return { pid, exited: undefined }
      const ended = launcher.orphanEnded(pid).then(async (status) => {
        await launcher[Symbol.asyncDispose]()
        return (status & 0x7f) === 0 ? (status >> 8) & 0xff : 128 + (status & 0x7f)
      })
      return { pid, exited: ended }
    } catch (error) {
      const described = describeStartFailure(error)
      throw described === undefined ? error : new EngineError('invalid', `unable to start container process: ${described.message}`, { cause: error })
    } finally {
      if (!done) await launcher[Symbol.asyncDispose]()
    }
  }
  const view = (container: KeptContainer, status: OciState['status'] = store.status(container)): OciState => ({ ociVersion: OCI_VERSION, id: container.id, status, pid: status === 'stopped' ? 0 : container.pid, bundle: container.bundle, rootfs: container.rootfs, created: container.created, annotations: container.annotations })
  const hooksOf = (container: KeptContainer): OciHooks => readConfig(container.bundle).spec.hooks ?? {}
  const signalInit = (container: KeptContainer, signal: number): void => {
    try {
      process.kill(container.pid, signal)
    } catch (error) {
      if (!hasCode(error, 'ESRCH')) throw error
    }
  }
  return {
    store,
    async create(id, options) {
      await using undo = undoStack()
      const bundle = resolve(options.bundle)
      const { spec, rootPath } = readConfig(bundle)
      const rootfs = resolve(bundle, rootPath)
      if (statSync(rootfs, { throwIfNoEntry: false })?.isDirectory() !== true) throw new EngineError('invalid', `root.path: ${rootfs} is not a directory`)
      store.reserve(id)
      undo.add('forget the container', () => store.remove(id))
      const mountPoint = `${store.directory(id)}/rootfs`
      mkdirSync(mountPoint, { mode: 0o711 })
      const cgroupsPath = spec.linux.cgroupsPath ?? `/${id}`
      cgroups.place(id, cgroupsPath)
      const settled = await withKnownMaps(withDefaults(spec), helper)
      const hookState = { ociVersion: OCI_VERSION, id, bundle, ...(spec.annotations && { annotations: spec.annotations }) }
      const passed = { hookState, preserveFds: options.preserveFds ?? 0, noPivot: options.noPivot === true, keepKeyring: options.keepKeyring === true }
      const plan = { ...passed, spec: settled, root: { type: 'bind', source: rootfs, data: '', directory: '/', ownIds: true }, mountPoint, cgroup: cgroups.plan(id, settled.linux.resources), gatePath: store.gate(id), consoleSocket: options.consoleSocket, lastCapability } as const
      undo.add('remove its cgroups', () => cgroups.destroy(id))
      const made = await leave(createProgram(plan), options.stay === true, passed.preserveFds)
      const { pid } = made
      const container: KeptContainer = { id, bundle, rootfs, pid, startTime: startTimeOf(pid), created: new Date().toISOString(), cgroupsPath, annotations: spec.annotations ?? {} }
      undo.add('end its process', () => signalInit(container, 9))
      store.save(container)
      undo.commit()
      return made
    },
    async start(id) {
      const container = placed(store.load(id))
      const status = store.status(container)
      if (status !== 'created') throw new EngineError('conflict', status === 'stopped' ? 'cannot start a container that has stopped' : `cannot start an already running container`)
      const gate = openSync(store.gate(id), constants.O_WRONLY | constants.O_NONBLOCK)
      rmSync(store.gate(id))
      try {
        writeSync(gate, 'g')
      } finally {
        closeSync(gate)
      }
      await runLenient('poststart', hooksOf(container).poststart ?? [], view(container, 'running'), warn)
    },
    state: (id) => view(store.load(id)),
    kill(id, signal, all) {
      const container = placed(store.load(id))
      if (all) {
        for (const pid of cgroups.processes(id)) signalInit({ ...container, pid }, signal)
        return
      }
      if (store.status(container) === 'stopped') throw new EngineError('conflict', 'container not running')
      signalInit(container, signal)
    },
    async delete(id, force) {
      const container = placed(store.load(id))
      const status = store.status(container)
      if (status !== 'stopped') {
        if (!force && status !== 'created') throw new EngineError('conflict', `cannot delete container ${id} that is not stopped: ${status}`)
        signalInit(container, 9)
        for (const until = Date.now() + KILL_WAIT_MS; startTimeOf(container.pid) === container.startTime; await sleep(10)) if (Date.now() > until) throw new EngineError('internal', `container init still running: ${container.pid}`)
      }
      await cgroups.destroy(id)
      const { poststop = [] } = statSync(`${container.bundle}/config.json`, { throwIfNoEntry: false }) === undefined ? {} : hooksOf(container)
      store.remove(id)
      await runLenient('poststop', poststop, view(container, 'stopped'), warn)
    },
    async exec(id, oci, options) {
      const container = placed(store.load(id))
      const status = store.status(container)
      if (status === 'stopped') throw new EngineError('conflict', 'cannot exec in a stopped container')
      if (status === 'paused') throw new EngineError('conflict', 'cannot exec in a paused container')
      const { spec } = readConfig(container.bundle)
      const plan = { spec, process: oci, initPid: container.pid, cgroup: cgroups.plan(id, spec.linux.resources), consoleSocket: options.consoleSocket, preserveFds: options.preserveFds ?? 0, lastCapability }
      return leave(execDetachedProgram(plan), options.stay === true, plan.preserveFds)
    },
    async pause(id, paused) {
      const container = placed(store.load(id))
      const status = store.status(container)
      if (paused ? status !== 'running' && status !== 'created' : status !== 'paused') throw new EngineError('conflict', paused ? 'container not running' : 'container not paused')
      await cgroups.freeze(id, paused)
    },
    update(id, resources) {
      const container = placed(store.load(id))
      if (store.status(container) === 'stopped') throw new EngineError('conflict', 'container not running')
      cgroups.update(id, decodeResources(resources))
    },
    processes(id) {
      placed(store.load(id))
      return cgroups.processes(id)
    },
  }
}
