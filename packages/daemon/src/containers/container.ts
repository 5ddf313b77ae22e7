import type { Sandbox } from '@gantry/libnetwork'
import type { StreamPlan, Task, TaskProcess } from '@gantry/runtime'
import type { ExpectedStream } from '@gantry/runtime'
import type { Health } from './health.ts'
import type { ContainerDocument, ContainerState, KeptStep } from './record.ts'

/** A stream that was asked for before the container ran. */
export interface WaitingStream {
  readonly plan: StreamPlan
  readonly expected: ExpectedStream
}

/** An exec instance. */
export interface ExecInstance {
  readonly id: string
  readonly containerId: string
  readonly command: readonly string[]
  readonly tty: boolean
  readonly openStdin: boolean
  readonly attachStdout: boolean
  readonly attachStderr: boolean
  readonly env: readonly string[]
  readonly user: string
  readonly workingDir: string
  readonly privileged: boolean
  readonly detachKeys: string
  status: 'created' | 'running' | 'exited'
  exitCode: number | undefined
  process: TaskProcess | undefined
  /** Settles when its process runs, or has failed to. */
  readonly begun: PromiseWithResolvers<void>
}

/** Who waits for what. */
export interface Waiters {
  /** Hears of the next exit. */
  readonly exit: Set<(code: number, error: string) => void>
  /** Hears of the removal. */
  readonly removal: Set<(code: number, error: string) => void>
}

/** A container in the daemon's memory. */
export interface Container {
  readonly id: string
  name: string
  /** As it was settled at create; an update puts another in its place. */
  document: ContainerDocument
  readonly state: ContainerState
  task: Task | undefined
  sandbox: Sandbox | undefined
  /** Of the running process; undefined: it has no health check. */
  health: Health | undefined
  /** Streams that the next start wires. */
  waiting: WaitingStream[]
  readonly execs: Map<string, ExecInstance>
  readonly waiters: Waiters
  /** Make those who read its log take hold of the file. */
  readonly logReaders: Set<() => void>
  removing: boolean
  /** The running process's lack of memory has been told of. */
  oomHeard: boolean
  /** Between the stop and the start of a restart: what would remove it at its end leaves it alone. */
  restarting: boolean
  /** Timings of the last start. */
  trace: () => readonly KeptStep[]
  /** Settles when what the last process left on the host has been tidied. */
  tidy: Promise<void>
  /** Ends the running stop's patience, for kill. */
  restartTimer: NodeJS.Timeout | undefined
}

/** True while a process of it runs. */
export function isRunning(container: Container): boolean {
  return container.task !== undefined
}

/** Images that it stands on or has mounted. */
export function imagesOf({ document }: Container): readonly string[] {
  return [document.imageId, ...document.mounts.flatMap((mount) => mount.imageId ?? [])]
}

/** Makes the live part of a record. */
export function liveContainer(document: ContainerDocument, name: string, state: ContainerState): Container {
  return {
    id: document.id, name, document, state, task: undefined, sandbox: undefined, health: undefined, waiting: [], execs: new Map(), waiters: { exit: new Set(), removal: new Set() }, logReaders: new Set(), removing: false, oomHeard: false, restarting: false, trace: () => [], tidy: Promise.resolve(), restartTimer: undefined,
  }
}
