import { EngineError } from '@gantry/std'
import type { OciDeviceRule, OciResources, OciThrottle } from '../spec/oci.ts'
import type { CgroupWrite } from './manager.ts'

/** The rule as `devices.allow` and `devices.deny` read it (kernel Documentation/admin-guide/cgroup-v1/devices.rst). */
export function deviceRuleText(rule: OciDeviceRule): string {
  if (rule.type === 'a') return 'a'
  const part = (value: number | undefined): string => (value === undefined || value < 0 ? '*' : String(value))
  return `${rule.type} ${part(rule.major)}:${part(rule.minor)} ${rule.access}`
}

const throttles = (file: string, list: readonly OciThrottle[] | undefined): readonly CgroupWrite[] =>
  (list ?? []).map((one) => ({ file, value: `${one.major}:${one.minor} ${one.rate}` }))

const when = (file: string, value: number | string | undefined): readonly CgroupWrite[] => (value === undefined || value === '' ? [] : [{ file, value: String(value) }])

function memory(resources: OciResources): readonly CgroupWrite[] {
  const limits = resources.memory ?? {}
  return [
    ...when('memory.limit_in_bytes', limits.limit),
    ...when('memory.memsw.limit_in_bytes', limits.swap),
    ...when('memory.soft_limit_in_bytes', limits.reservation),
    ...when('memory.swappiness', limits.swappiness),
    ...when('memory.kmem.tcp.limit_in_bytes', limits.kernelTCP),
    ...(limits.disableOOMKiller === true ? when('memory.oom_control', 1) : []),
  ]
}

function cpu(resources: OciResources): readonly CgroupWrite[] {
  const limits = resources.cpu ?? {}
  return [
    ...when('cpu.shares', limits.shares),
    ...when('cpu.cfs_period_us', limits.period),
    ...when('cpu.cfs_quota_us', limits.quota),
    ...when('cpu.cfs_burst_us', limits.burst),
    ...when('cpu.idle', limits.idle),
    ...when('cpu.rt_period_us', limits.realtimePeriod),
    ...when('cpu.rt_runtime_us', limits.realtimeRuntime),
  ]
}

function blkio(resources: OciResources, exists: (file: string) => boolean): readonly CgroupWrite[] {
  const limits = resources.blockIO ?? {}
  const weight = exists('blkio.weight') ? 'blkio.weight' : 'blkio.bfq.weight'
  return [
    ...when(weight, limits.weight),
    ...(limits.weightDevice ?? []).map((one) => ({ file: 'blkio.weight_device', value: `${one.major}:${one.minor} ${one.weight}` })),
    ...throttles('blkio.throttle.read_bps_device', limits.throttleReadBpsDevice),
    ...throttles('blkio.throttle.write_bps_device', limits.throttleWriteBpsDevice),
    ...throttles('blkio.throttle.read_iops_device', limits.throttleReadIOPSDevice),
    ...throttles('blkio.throttle.write_iops_device', limits.throttleWriteIOPSDevice),
  ]
}

/** `rdma.max`, the same in both versions (kernel Documentation/admin-guide/cgroup-v1/rdma.rst). */
export function rdmaWrites(resources: OciResources): readonly CgroupWrite[] {
  return Object.entries(resources.rdma ?? {}).map(([device, { hcaHandles, hcaObjects }]) => ({ file: 'rdma.max', value: [device, ...(hcaHandles === undefined ? [] : [`hca_handle=${hcaHandles}`]), ...(hcaObjects === undefined ? [] : [`hca_object=${hcaObjects}`])].join(' ') }))
}

/** What is written into the directory of one hierarchy (kernel Documentation/admin-guide/cgroup-v1/). */
export function v1Files(controllers: readonly string[], resources: OciResources, exists: (file: string) => boolean): readonly CgroupWrite[] {
  if (Object.keys(resources.unified ?? {}).length > 0) throw new EngineError('unsupported', 'linux.resources.unified: files of cgroup version 2, but this host has version 1')
  const writes: CgroupWrite[] = []
  if (controllers.includes('devices')) writes.push(...resources.devices.map((rule) => ({ file: rule.allow ? 'devices.allow' : 'devices.deny', value: deviceRuleText(rule) })))
  if (controllers.includes('memory')) writes.push(...memory(resources))
  if (controllers.includes('cpu')) writes.push(...cpu(resources))
  if (controllers.includes('cpuset')) writes.push(...when('cpuset.cpus', resources.cpu?.cpus), ...when('cpuset.mems', resources.cpu?.mems))
  if (controllers.includes('pids') && resources.pids !== undefined) writes.push({ file: 'pids.max', value: resources.pids.limit > 0 ? String(resources.pids.limit) : 'max' })
  if (controllers.includes('hugetlb')) writes.push(...(resources.hugepageLimits ?? []).map((one) => ({ file: `hugetlb.${one.pageSize}.limit_in_bytes`, value: String(one.limit) })))
  if (controllers.includes('net_cls')) writes.push(...when('net_cls.classid', resources.network?.classID))
  if (controllers.includes('net_prio')) writes.push(...(resources.network?.priorities ?? []).map((one) => ({ file: 'net_prio.ifpriomap', value: `${one.name} ${one.priority}` })))
  if (controllers.includes('rdma')) writes.push(...rdmaWrites(resources))
  if (controllers.includes('blkio')) writes.push(...blkio(resources, exists))
  return writes
}
