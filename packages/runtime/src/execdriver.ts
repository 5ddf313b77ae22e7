import type { CgroupStats, CheckpointOptions, OciProcess, OciResources, OciSpec, RootMount, StdioPlan, StreamPlan } from '@gantry/libcontainer'
import type { NetlinkBatch, ResolverPlan } from '@gantry/linux'

/** A container as a command to run. */
export interface Bundle {
  readonly id: string
  /** Name of the driver that is to run it; empty: the house's own. */
  readonly runtime: string
  readonly spec: OciSpec
  readonly root: RootMount
  readonly network: { readonly host: readonly NetlinkBatch[]; readonly inside: readonly NetlinkBatch[]; readonly sysctls: readonly (readonly [string, string])[]; readonly resolver?: ResolverPlan }
  readonly stdio: StdioPlan
  readonly log: { readonly path: string; readonly maxBytes: number; readonly maxFiles: number; readonly format: 'json' | 'journal'; /** A full disk loses lines instead of holding the container back. */ readonly lossy?: boolean; readonly attributes: string } | undefined
  readonly init: boolean
  /** Directory of a checkpoint to go on from. */
  readonly restoreFrom?: string
}

/** How a process ended, in the words of a shell. */
export interface TaskExit {
  /** 0–255; 128 + n for signal n. */
  readonly code: number
  readonly oomKilled: boolean
  /** Nanoseconds since 1970. */
  readonly at: bigint
}

/** One step of a start; times in nanoseconds since its beginning. */
export interface StartStep {
  readonly phase: string
  readonly what: string
  readonly side: 'shim' | 'init'
  readonly endedAt: number
}

/** A process of a running container. */
export interface TaskProcess {
  readonly pid: number
  readonly exited: Promise<TaskExit>
  signal(signal: number): Promise<void>
  resize(rows: number, columns: number): Promise<void>
}

/** A running container. */
export interface Task extends TaskProcess {
  readonly shimPid: number
  readonly steps: readonly StartStep[]
  /** The host's side has been tidied. */
  readonly clean: Promise<void>
  /** Hears of every kill by lack of memory while it runs. */
  onOom(heard: () => void): void
  attach(stream: StreamPlan): Promise<void>
  exec(process: OciProcess, spec: OciSpec, stdio: StdioPlan): Promise<TaskProcess>
}

/** What adoption found of a container that an earlier daemon started. */
export type AdoptedTask = { readonly status: 'running'; readonly task: Task } | { readonly status: 'ended'; readonly exit: TaskExit } | { readonly status: 'lost' }

/** Runs containers. */
export interface ExecDriver {
  readonly name: string
  start(bundle: Bundle, signal?: AbortSignal): Promise<Task>
  /** What a start would do, one operation a line. */
  explain(bundle: Bundle): Promise<string>
  adopt(id: string, cgroupsPath?: string): Promise<AdoptedTask>
  forget(id: string): void
  /** Writes a container's processes into a directory; `spec` is what it was started with. */
  checkpoint(id: string, options: CheckpointOptions): Promise<void>
  pause(id: string, paused: boolean): Promise<void>
  update(id: string, resources: OciResources): Promise<void>
  processes(id: string): Promise<readonly number[]>
  stats(id: string): Promise<CgroupStats>
}
