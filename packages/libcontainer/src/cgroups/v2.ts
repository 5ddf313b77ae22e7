import type { OciResources, OciThrottle } from '../spec/oci.ts'
import type { CgroupWrite } from './manager.ts'
import { rdmaWrites } from './v1.ts'

/** cpu.shares 2…262144 as cpu.weight 1…10000, the mapping that all runtimes use. */
export function sharesToWeight(shares: number): number {
  return shares === 0 ? 0 : 1 + Math.floor(((shares - 2) * 9999) / 262142)
}

/** blkio.weight 10…1000 as io.weight 1…10000. */
export function blkioToWeight(weight: number): number {
  return 1 + Math.floor(((weight - 10) * 9999) / 990)
}

const limitText = (value: number): string => (value < 0 ? 'max' : String(value))

function memory(limits: NonNullable<OciResources['memory']>): readonly CgroupWrite[] {
  const writes: CgroupWrite[] = []
  if (limits.limit !== undefined) writes.push({ file: 'memory.max', value: limitText(limits.limit) })
  if (limits.swap !== undefined) writes.push({ file: 'memory.swap.max', value: limits.swap < 0 ? 'max' : String(Math.max(0, limits.swap - (limits.limit ?? 0))) })
  if (limits.reservation !== undefined) writes.push({ file: 'memory.low', value: limitText(limits.reservation) })
  return writes
}

function cpu(limits: NonNullable<OciResources['cpu']>): readonly CgroupWrite[] {
  const writes: CgroupWrite[] = []
  if (limits.shares !== undefined) writes.push({ file: 'cpu.weight', value: String(sharesToWeight(limits.shares)) })
  if (limits.quota !== undefined || limits.period !== undefined) writes.push({ file: 'cpu.max', value: `${(limits.quota ?? -1) > 0 ? limits.quota : 'max'} ${limits.period ?? 100000}` })
  if (limits.burst !== undefined) writes.push({ file: 'cpu.max.burst', value: String(limits.burst) })
  if (limits.idle !== undefined) writes.push({ file: 'cpu.idle', value: String(limits.idle) })
  if (limits.cpus) writes.push({ file: 'cpuset.cpus', value: limits.cpus })
  if (limits.mems) writes.push({ file: 'cpuset.mems', value: limits.mems })
  return writes
}

function io(limits: NonNullable<OciResources['blockIO']>, exists: (file: string) => boolean): readonly CgroupWrite[] {
  const rates = (key: string, list: readonly OciThrottle[] | undefined): readonly CgroupWrite[] => (list ?? []).map((one) => ({ file: 'io.max', value: `${one.major}:${one.minor} ${key}=${one.rate}` }))
  return [
    ...(limits.weight === undefined ? [] : [exists('io.bfq.weight') ? { file: 'io.bfq.weight', value: String(limits.weight) } : { file: 'io.weight', value: `default ${blkioToWeight(limits.weight)}` }]),
    ...(limits.weightDevice ?? []).map((one) => ({ file: 'io.bfq.weight', value: `${one.major}:${one.minor} ${one.weight}` })),
    ...rates('rbps', limits.throttleReadBpsDevice),
    ...rates('wbps', limits.throttleWriteBpsDevice),
    ...rates('riops', limits.throttleReadIOPSDevice),
    ...rates('wiops', limits.throttleWriteIOPSDevice),
  ]
}

/** What is written into the container's directory (kernel Documentation/admin-guide/cgroup-v2.rst). Devices are a BPF program. */
export function v2Files(resources: OciResources, exists: (file: string) => boolean): readonly CgroupWrite[] {
  return [
    ...memory(resources.memory ?? {}),
    ...cpu(resources.cpu ?? {}),
    ...(resources.pids === undefined ? [] : [{ file: 'pids.max', value: resources.pids.limit > 0 ? String(resources.pids.limit) : 'max' }]),
    ...io(resources.blockIO ?? {}, exists),
    ...(resources.hugepageLimits ?? []).map((one) => ({ file: `hugetlb.${one.pageSize}.max`, value: limitText(one.limit) })),
    ...rdmaWrites(resources),
    // Last: whoever names a file knows best what is to be in it.
    ...Object.entries(resources.unified ?? {}).map(([file, value]) => ({ file, value })),
  ]
}
