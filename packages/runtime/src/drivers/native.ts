import { cgroupStats, type ExecProcess, type Factory, type InitProcess } from '@gantry/libcontainer'
import type { Exit } from '@gantry/linux'
import type { Bundle, ExecDriver, Task, TaskExit, TaskProcess } from '../execdriver.ts'

/** The runtime that containers get when they ask for none. */
export const NATIVE = 'gantry'
const NANOSECONDS = 1_000_000n

/** Reads wait(2)'s status and the out-of-memory counters of the cgroup. */
export function taskExit(exit: Exit): TaskExit {
  const signal = exit.waitStatus & 0x7f
  const code = signal === 0 ? (exit.waitStatus >> 8) & 0xff : 128 + signal
  const kills = Number(/^oom_kill (\d+)/m.exec(exit.oom)?.[1] ?? 0)
  return { code, oomKilled: kills > 0, at: exit.at === 0n ? BigInt(Date.now()) * NANOSECONDS : exit.at }
}

function taskProcess(process: ExecProcess | InitProcess): TaskProcess {
  return {
    pid: process.pid,
    exited: process.exited.then(taskExit),
    signal: (signal) => process.signal(signal),
    resize: (rows, columns) => process.resize(rows, columns),
  }
}

function asTask(process: InitProcess): Task {
  return {
    ...taskProcess(process),
    shimPid: process.shimPid,
    clean: process.clean,
    onOom: (heard) => process.onOom(heard),
    get steps() {
      return process.timings.map((timing) => ({ phase: timing.step.phase, what: timing.step.what, side: timing.step.child ? ('init' as const) : ('shim' as const), endedAt: timing.at }))
    },
    attach: (stream) => process.attach(stream),
    exec: async (oci, spec, stdio) => taskProcess(await process.exec({ process: oci, spec, stdio })),
  }
}

/** The house's own driver: libcontainer. `name` is how it is asked for. */
export function nativeDriver(factory: Factory, name: string = NATIVE): ExecDriver {
  const options = (bundle: Bundle) => ({ spec: bundle.spec, root: bundle.root, network: bundle.network, stdio: bundle.stdio, init: bundle.init, ...(bundle.log && { log: bundle.log }), ...(bundle.restoreFrom !== undefined && { restoreFrom: bundle.restoreFrom }) })
  return {
    name,
    start: async (bundle, signal) => asTask(await factory.start(bundle.id, options(bundle), signal)),
    explain: async (bundle) => factory.program(bundle.id, options(bundle)).listing(),
    async adopt(id, cgroupsPath) {
      const found = await factory.adopt(id, cgroupsPath)
      if (found.status === 'running') return { status: 'running', task: asTask(found.process) }
      return found.status === 'ended' ? { status: 'ended', exit: taskExit(found.exit) } : found
    },
    forget: (id) => factory.forget(id),
    checkpoint: (id, options) => factory.checkpoint(id, options),
    pause: (id, paused) => factory.pause(id, paused),
    update: (id, resources) => factory.update(id, resources),
    stats: async (id) => cgroupStats(factory.cgroups, id),
    processes: async (id) => factory.cgroups.processes(id),
  }
}
