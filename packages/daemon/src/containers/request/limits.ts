import type { HostConfig } from '@gantry/api'
import { EngineError } from '@gantry/std'

/** What the kernel's cgroups can limit. */
export interface CgroupLimits {
  readonly version: 1 | 2
  /** Whether containers' directories have a file of this name in any hierarchy. */
  supports(file: string): boolean
}

interface Limit {
  readonly field: keyof HostConfig
  /** Files of version 1 and 2; any of them will do, none means that the version has no such limit. */
  readonly files: { readonly 1: readonly string[]; readonly 2: readonly string[] }
  /** What the field is worth when it is not set. */
  readonly unset: null | 0 | readonly never[]
  readonly warning: string
}

const limit = (field: keyof HostConfig, first: readonly string[], second: readonly string[], unset: Limit['unset'], warning: string): Limit => ({ field, files: { 1: first, 2: second }, unset, warning: `Your kernel does not support ${warning}` })

/** Docker goes on without these where the kernel lacks them, and says so. */
const DISCARDED: readonly Limit[] = [
  limit('OomKillDisable', ['memory.oom_control'], [], null, 'OomKillDisable. OomKillDisable discarded.'),
  limit('MemorySwappiness', ['memory.swappiness'], [], null, 'memory swappiness capabilities or the cgroup is not mounted. Memory swappiness discarded.'),
  limit('MemorySwap', ['memory.memsw.limit_in_bytes'], ['memory.swap.max'], 0, 'swap limit capabilities or the cgroup is not mounted. Memory limited without swap.'),
  limit('MemoryReservation', ['memory.soft_limit_in_bytes'], ['memory.low'], 0, 'memory soft limit capabilities or the cgroup is not mounted. Limitation discarded.'),
  limit('KernelMemoryTCP', ['memory.kmem.tcp.limit_in_bytes'], [], 0, 'kernel memory TCP limits or the cgroup is not mounted. Kernel memory TCP limit discarded.'),
  limit('PidsLimit', ['pids.max'], ['pids.max'], null, 'PIDs limit capabilities or the cgroup is not mounted. PIDs limit discarded.'),
  limit('CpuShares', ['cpu.shares'], ['cpu.weight'], 0, 'CPU shares or the cgroup is not mounted. Shares discarded.'),
  limit('CpuPeriod', ['cpu.cfs_period_us'], ['cpu.max'], 0, 'CPU CFS scheduler. Period discarded.'),
  limit('CpuQuota', ['cpu.cfs_quota_us'], ['cpu.max'], 0, 'CPU CFS scheduler. Quota discarded.'),
  limit('BlkioWeight', ['blkio.weight', 'blkio.bfq.weight'], ['io.weight', 'io.bfq.weight'], 0, 'Block I/O weight or the cgroup is not mounted. Weight discarded.'),
  limit('BlkioWeightDevice', ['blkio.weight_device'], ['io.bfq.weight'], [], 'Block I/O weight_device or the cgroup is not mounted. Weight-device discarded.'),
]

const isSet = (value: unknown): boolean => !(value === null || value === undefined || value === 0 || value === false || (Array.isArray(value) && value.length === 0))

/** Takes out of a request what this kernel cannot limit. What a container would not be safe without is an error. */
export function withoutUnsupported(hostConfig: HostConfig, kernel: CgroupLimits): { readonly hostConfig: HostConfig; readonly warnings: readonly string[] } {
  const supports = (one: Pick<Limit, 'files'>): boolean => one.files[kernel.version].some((file) => kernel.supports(file))
  if ((hostConfig.CpuRealtimePeriod > 0 || hostConfig.CpuRealtimeRuntime > 0) && !(kernel.version === 1 && kernel.supports('cpu.rt_runtime_us'))) throw new EngineError('invalid', 'Your kernel does not support CPU real-time scheduler')
  if (hostConfig.NanoCpus > 0 && !supports({ files: { 1: ['cpu.cfs_quota_us'], 2: ['cpu.max'] } })) throw new EngineError('invalid', 'NanoCPUs can not be set, as your kernel does not support CPU CFS scheduler or the cgroup is not mounted')
  if (hostConfig.Memory > 0 && !supports({ files: { 1: ['memory.limit_in_bytes'], 2: ['memory.max'] } })) throw new EngineError('invalid', 'Memory can not be set, as your kernel does not support memory limit capabilities or the cgroup is not mounted')
  const dropped = DISCARDED.filter((one) => isSet(hostConfig[one.field]) && !supports(one))
  const fields = Object.fromEntries(dropped.map((one) => [one.field, one.unset]))
  return { hostConfig: { ...hostConfig, ...fields }, warnings: dropped.map((one) => one.warning) }
}
