import { mkdirSync, readFileSync } from 'node:fs'
import { type Discarder, EngineError, exists, messageOf, readText } from '@gantry/std'
import { type Exit, type Launcher, nextFrameId, ProgramError, type Step, type SyscallProgram } from '@gantry/linux'
import type { CgroupManager } from './cgroups/manager.ts'
import { execProgram } from './init/exec.ts'
import { checkpoint, type CheckpointOptions, fromCheckpoint, restoreFailure } from './criu.ts'
import { externalSide } from './external-side.ts'
import type { ExternalRuntime } from './init/external.ts'
import { type LxcRuntime, lxcSide } from './lxc-side.ts'
import type { LogPlan, NetworkPlan, RootMount, StdioPlan, StreamPlan } from './init/plan.ts'
import { startProgram } from './init/start.ts'
import { connectShim, type ShimClient } from './shim-client.ts'
import type { OciProcess, OciResources, OciSpec } from './spec/oci.ts'

/** What a start needs beside the specification. */
export interface StartOptions {
  readonly spec: OciSpec
  readonly root: RootMount
  readonly network: NetworkPlan
  readonly stdio: StdioPlan
  readonly log?: LogPlan
  readonly init: boolean
  /** A directory of a checkpoint: the start goes on where that ended. */
  readonly restoreFrom?: string
}

/** One step of a start and when it ended, nanoseconds after the program was taken up. */
export interface Timing {
  readonly step: Step
  readonly at: number
}

/** A running container's first process, and the shim above it. */
export interface InitProcess {
  readonly pid: number
  readonly shimPid: number
  readonly timings: readonly Timing[]
  /** Never rejects. */
  readonly exited: Promise<Exit>
  /** The host side has been tidied. */
  readonly clean: Promise<void>
  /** Hears of every kill by lack of memory while it runs. */
  onOom(heard: () => void): void
  signal(signal: number): Promise<void>
  resize(rows: number, columns: number): Promise<void>
  attach(stream: StreamPlan): Promise<void>
  exec(options: ExecOptions): Promise<ExecProcess>
}

/** What an exec needs. */
export interface ExecOptions {
  readonly process: OciProcess
  readonly spec: OciSpec
  readonly stdio: StdioPlan
}

/** A further process. */
export interface ExecProcess {
  readonly pid: number
  readonly exited: Promise<Exit>
  signal(signal: number): Promise<void>
  resize(rows: number, columns: number): Promise<void>
}

/** Containers below one directory, without any daemon. */
export interface Factory {
  readonly cgroups: CgroupManager
  /** The program of a start, not carried out. */
  program(id: string, options: StartOptions): SyscallProgram
  start(id: string, options: StartOptions, signal?: AbortSignal): Promise<InitProcess>
  /** Finds a container again that an earlier daemon started; `ended` when its shim has left only the exit status. */
  adopt(id: string, cgroupsPath?: string): Promise<Adopted>
  /** Writes its processes into a directory (CRIU). */
  checkpoint(id: string, options: CheckpointOptions): Promise<void>
  /** Pauses, goes on, or takes other limits; with another runtime that does it. */
  pause(id: string, paused: boolean): Promise<void>
  update(id: string, resources: OciResources): Promise<void>
  /** Forgets what a container left in the exec root. */
  forget(id: string): void
}

/** What adoption found. */
export type Adopted = { readonly status: 'running'; readonly process: InitProcess } | { readonly status: 'ended'; readonly exit: Exit } | { readonly status: 'lost' }

/** What a factory stands on. */
export interface FactoryOptions {
  /** The exec root, best on tmpfs. */
  readonly root: string
  readonly launcher: Launcher
  readonly cgroups: CgroupManager
  /** Where removed directories go. */
  readonly discarder: Discarder
  /** Builds the inside of containers instead of this library. */
  readonly external?: ExternalRuntime | LxcRuntime
}

/** Waits between looks at the counter of kills. */
const LACK_LOOKS_MS = [10, 50, 200, 1000] as const

const OCI_VERSION = '1.2.0'
const LOST: Exit = { waitStatus: 9, at: 0n, oom: '' }
const SHIM_LOST_MESSAGE = 'the shim has ended'

/** Reads the exit file: status, nanoseconds, then the counters. */
export function parseExitFile(text: string): Exit {
  const [first = '', ...rest] = text.split('\n')
  const [status = '', at = ''] = first.split(' ')
  if (!/^\d+$/.test(status) || !/^\d+$/.test(at)) throw new EngineError('internal', `unreadable exit file: ${JSON.stringify(first)}`)
  return { waitStatus: Number(status), at: BigInt(at), oom: rest.join('\n') }
}

/** Makes a factory. */
export function createFactory({ root, launcher, cgroups, discarder, external }: FactoryOptions): Factory {
  const lastCapability = Number(readFileSync('/proc/sys/kernel/cap_last_cap', 'utf8'))
  const mountPoint = `${root}/rootfs`
  mkdirSync(mountPoint, { recursive: true, mode: 0o700 })
  const directory = (id: string): string => `${root}/c/${id}`
  const outside = external === undefined ? undefined : 'lxcStart' in external ? lxcSide(external, { mountPoint, directory, cgroups }) : externalSide(external, { launcher, mountPoint, directory, cgroups })
  const program = (id: string, options: StartOptions): SyscallProgram => {
    const plan = { ...options, mountPoint, cgroup: cgroups.plan(id, options.spec.linux.resources), socketPath: `${directory(id)}/s`, exitPath: `${directory(id)}/exit`, hookState: { ociVersion: OCI_VERSION, id, bundle: directory(id) }, lastCapability }
    if (options.restoreFrom !== undefined) {
      if (outside !== undefined) throw new EngineError('unsupported', 'restore: only with the runtime gantry')
      return fromCheckpoint(plan, options.restoreFrom)
    }
    return outside === undefined ? startProgram(plan) : outside.program(id, plan)
  }
  const readExit = (id: string): Exit | undefined => {
    const text = readText(`${directory(id)}/exit`)
    return text === undefined ? undefined : parseExitFile(text)
  }

  interface Ends {
    readonly exited: PromiseWithResolvers<Exit>
    readonly clean: PromiseWithResolvers<void>
    readonly execs: Map<number, (exit: Exit) => void>
    readonly oom: Set<() => void>
    kills: number
    gone: boolean
    tidy: boolean
  }
  const ends = (): Ends => ({ exited: Promise.withResolvers<Exit>(), clean: Promise.withResolvers<void>(), execs: new Map(), oom: new Set(), kills: 0, gone: false, tidy: false })

  /** The shim is gone: whatever it did not say is read from its exit file, or it was killed. */
  const settle = async (id: string, state: Ends): Promise<void> => {
    if (state.gone) return
    state.gone = true
    const lost = { ...LOST, at: BigInt(Date.now()) * 1_000_000n }
    for (const exited of state.execs.values()) exited(lost)
    state.execs.clear()
    state.exited.resolve(readExit(id) ?? lost)
    if (!state.tidy) {
      await outside?.forget(id)
      await cgroups.destroy(id)
    }
    state.clean.resolve()
  }

  /**
   * The shim has heard from the cgroup; its counter tells whether somebody was killed. Version 1 tells of the lack before it kills
   * (mm/memcontrol-v1.c, mem_cgroup_oom_notify), so the counter is looked at again for a while.
   */
  const lacking = (id: string, state: Ends): void => {
    const look = (again: readonly number[]): void => {
      const kills = Number(/^oom_kill (\d+)/m.exec(cgroups.read(id, 'memory', cgroups.layout.version === 2 ? 'memory.events' : 'memory.oom_control') ?? '')?.[1] ?? 0)
      const [delay, ...rest] = again
      if (kills === state.kills && delay !== undefined) setTimeout(() => look(rest), delay).unref()
      for (; state.kills < kills; state.kills++) for (const heard of state.oom) heard()
    }
    look(LACK_LOOKS_MS)
  }

  const process = (id: string, pid: number, shimPid: number, timings: () => readonly Timing[], state: Ends, connected?: ShimClient): InitProcess => {
    let client: Promise<ShimClient> | undefined = connected === undefined ? undefined : Promise.resolve(connected)
    const shim = (): Promise<ShimClient> => {
      client ??= connectShim(`${directory(id)}/s`, {
        exited: () => undefined,
        clean: () => undefined,
        closed: () => {
          client = undefined
        },
      }).catch((error: unknown) => {
        client = undefined
        throw error
      })
      return client
    }
    const exec = async (options: ExecOptions): Promise<ExecProcess> => {
      const execId = nextFrameId()
      const plan = outside?.exec?.(id, execId, options) ?? execProgram({ ...options, execId, cgroup: cgroups.plan(id, options.spec.linux.resources), lastCapability })
      const exited = Promise.withResolvers<Exit>()
      state.execs.set(execId, exited.resolve)
      if (connected === undefined) {
        launcher.expectExit(execId, (exit) => {
          state.execs.delete(execId)
          exited.resolve(exit)
        })
      }
      try {
        const result = await (await shim()).exec(plan, execId)
        return {
          pid: Number(result.output.readBigUInt64LE(0)),
          exited: exited.promise,
          signal: async (signal) => (await shim()).signal(execId, signal),
          resize: async (rows, columns) => (await shim()).resize(execId, rows, columns),
        }
      } catch (error) {
        state.execs.delete(execId)
        throw outside?.explain(id, error) ?? error
      }
    }
    return {
      pid,
      shimPid,
      get timings() {
        return timings()
      },
      exited: state.exited.promise,
      clean: state.clean.promise,
      onOom: (heard) => void state.oom.add(heard),
      signal: async (signal) => (await shim()).signal(0, signal),
      resize: async (rows, columns) => (await shim()).resize(0, rows, columns),
      attach: async (stream) => (await shim()).attach(0, stream),
      exec,
    }
  }

  return {
    cgroups,
    program,
    async start(id, options, signal) {
      cgroups.place(id, options.spec.linux.cgroupsPath)
      const compiled = program(id, options)
      if (exists(directory(id))) discarder.discard(directory(id))
      mkdirSync(directory(id), { recursive: true, mode: 0o700 })
      const state = ends()
      outside?.writeConfig(id, options.spec)
      const launched = await launcher.launch(compiled, {
        exited: (exit) => state.exited.resolve(exit),
        clean: () => {
          void afterClean(id, state)
        },
        lacking: () => lacking(id, state),
        gone: () => {
          void settle(id, state)
        },
      }, signal).catch(async (error: unknown) => {
        if (outside !== undefined || signal?.aborted === true) await cgroups.destroy(id)
        if (options.restoreFrom !== undefined && error instanceof ProgramError) throw restoreFailure(options.restoreFrom, error)
        throw outside?.explain(id, error) ?? error
      })
      // Only the names of the steps stay: the program itself is 100 KB a container.
      const { steps } = compiled
      const timings = (): readonly Timing[] => {
        const { stamps } = launched
        return steps.map((step, index) => ({ step, at: stamps[index] ?? 0 })).filter((timing) => timing.at > 0)
      }
      return process(id, launched.pid, launched.shimPid, timings, state)
    },
    async adopt(id, cgroupsPath) {
      cgroups.place(id, cgroupsPath)
      const state = ends()
      try {
        const client = await connectShim(`${directory(id)}/s`, {
          exited: (frameId, exit) => {
            const waiting = state.execs.get(frameId)
            state.execs.delete(frameId)
            if (waiting === undefined) state.exited.resolve(exit)
            else waiting(exit)
          },
          clean: () => {
            void afterClean(id, state)
          },
          lacking: () => lacking(id, state),
          closed: () => {
            void settle(id, state)
          },
        })
        const shim = await client.subscribe()
        const exit = shim.ended ? readExit(id) : undefined
        if (exit !== undefined) return { status: 'ended', exit }
        return { status: 'running', process: process(id, shim.pid, 0, () => [], state, client) }
      } catch (error) {
        if (!(error instanceof EngineError) || (error.kind !== 'not-found' && messageOf(error) !== SHIM_LOST_MESSAGE)) throw error
        const exit = readExit(id)
        await outside?.forget(id)
        return exit === undefined ? { status: 'lost' } : { status: 'ended', exit }
      }
    },
    async checkpoint(id, options) {
      if (outside !== undefined) throw new EngineError('unsupported', 'checkpoint: only with the runtime gantry')
      await checkpoint(launcher, cgroups.plan(id, options.spec.linux.resources), options)
    },
    pause: (id, paused) => outside?.pause?.(id, paused) ?? cgroups.freeze(id, paused),
    update: async (id, resources) => (outside?.update === undefined ? cgroups.update(id, resources) : outside.update(id, resources)),
    forget: (id) => discarder.discard(directory(id)),
  }

  async function afterClean(id: string, state: Ends): Promise<void> {
    state.tidy = true
    if (cgroups.exists(id)) await cgroups.destroy(id)
    state.clean.resolve()
  }
}
