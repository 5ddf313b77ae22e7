import { cgroupManager, cgroupStats } from '@gantry/libcontainer'
import type { OciRuntime } from './runtime.ts'

const bounded = (value: number): number => (Number.isFinite(value) ? value : 0)

function managerOf(runtime: OciRuntime, id: string) {
  const cgroups = cgroupManager('/')
  cgroups.place(id, runtime.store.load(id).cgroupsPath)
  return cgroups
}

/** One `stats` event in runc's shape. */
export function statsEvent(runtime: OciRuntime, id: string): unknown {
  const { cpu, memory, pids } = cgroupStats(managerOf(runtime, id), id)
  return {
    type: 'stats', id,
    data: {
      cpu: { usage: { total: cpu.total, kernel: cpu.kernel, user: cpu.user, ...(cpu.perCpu && { percpu: cpu.perCpu }) }, throttling: { periods: cpu.periods, throttledPeriods: cpu.throttledPeriods, throttledTime: cpu.throttled } },
      memory: { usage: { limit: bounded(memory.limit), usage: memory.usage, max: memory.maxUsage ?? 0, failcnt: memory.failures ?? 0 }, raw: memory.details },
      pids: { current: pids.current, limit: bounded(pids.limit) },
    },
  }
}

/** Tells of statistics at every interval and of kills by lack of memory, until the container has stopped. */
export async function watchEvents(runtime: OciRuntime, id: string, intervalMs: number, tell: (event: unknown) => void): Promise<void> {
  const cgroups = managerOf(runtime, id)
  const file = cgroups.layout.version === 2 ? 'memory.events' : 'memory.oom_control'
  const kills = (): number => Number(/^oom_kill (\d+)/m.exec(cgroups.read(id, 'memory', file) ?? '')?.[1] ?? 0)
  let seen = kills()
  while (runtime.store.status(runtime.store.load(id)) !== 'stopped') {
    tell(statsEvent(runtime, id))
    await new Promise((resolve) => setTimeout(resolve, intervalMs))
    for (const now = kills(); seen < now; seen++) tell({ type: 'oom', id })
  }
}
