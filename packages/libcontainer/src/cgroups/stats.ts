import type { CgroupManager } from './manager.ts'

/** One counter of one block device. */
export interface BlockCounter {
  readonly major: number
  readonly minor: number
  /** `read`, `write`, `sync`, `async`, `discard`, `total` */
  readonly op: string
  readonly value: number
}

/** What a container has used, in the kernel's own counters. Times in nanoseconds, sizes in bytes. */
export interface CgroupStats {
  readonly cpu: {
    readonly total: number
    readonly user: number
    readonly kernel: number
    /** Version 1 only. */
    readonly perCpu: readonly number[] | undefined
    readonly periods: number
    readonly throttledPeriods: number
    readonly throttled: number
  }
  readonly memory: {
    readonly usage: number
    /** Version 1 only. */
    readonly maxUsage: number | undefined
    readonly failures: number | undefined
    /** Infinity: no limit. */
    readonly limit: number
    /** `memory.stat`, key by key. */
    readonly details: Readonly<Record<string, number>>
  }
  readonly pids: { readonly current: number; readonly limit: number }
  readonly blockBytes: readonly BlockCounter[]
  readonly blockOperations: readonly BlockCounter[]
}

/** USER_HZ, the unit of cpuacct.stat and /proc/stat: always 100 for programs on x86-64 and arm64. */
const TICK_NANOS = 10_000_000
/** What version 1 shows where there is no limit: LONG_MAX, rounded down to a page. */
const NO_LIMIT = 2 ** 62

function keyed(text: string | undefined): Readonly<Record<string, number>> {
  const values: Record<string, number> = {}
  for (const line of (text ?? '').split('\n')) {
    const [key = '', value] = line.split(' ')
    if (value !== undefined && key !== '') values[key] = Number(value)
  }
  return values
}

const number = (text: string | undefined): number => (text === undefined || text.trim() === '' ? 0 : text.trim() === 'max' ? Number.POSITIVE_INFINITY : Number(text.trim()))
const limit = (text: string | undefined): number => {
  const value = number(text)
  return value >= NO_LIMIT ? Number.POSITIVE_INFINITY : value
}

/** `8:0 Read 4096` lines of version 1. */
export function parseBlkio(text: string | undefined): readonly BlockCounter[] {
  return (text ?? '').split('\n').flatMap((line) => {
    const match = /^(\d+):(\d+) (\w+) (\d+)$/.exec(line)
    return match === null ? [] : [{ major: Number(match[1]), minor: Number(match[2]), op: (match[3] ?? '').toLowerCase(), value: Number(match[4]) }]
  })
}

/** `8:0 rbytes=1 wbytes=2 rios=3 …` lines of version 2. */
export function parseIoStat(text: string | undefined, keys: Readonly<Record<string, string>>): readonly BlockCounter[] {
  return (text ?? '').split('\n').flatMap((line) => {
    const [device = '', ...pairs] = line.split(' ')
    const [major, minor] = device.split(':').map(Number)
    if (major === undefined || minor === undefined || Number.isNaN(major)) return []
    return pairs.flatMap((pair) => {
      const [key = '', value = '0'] = pair.split('=')
      const op = keys[key]
      return op === undefined ? [] : [{ major, minor, op, value: Number(value) }]
    })
  })
}

function first(cgroups: CgroupManager, id: string): CgroupStats {
  const read = (controller: string, file: string): string | undefined => cgroups.read(id, controller, file)
  const times = keyed(read('cpuacct', 'cpuacct.stat'))
  const throttling = keyed(read('cpu', 'cpu.stat'))
  const perCpu = read('cpuacct', 'cpuacct.usage_percpu')?.trim()
  return {
    cpu: {
      total: number(read('cpuacct', 'cpuacct.usage')), user: (times['user'] ?? 0) * TICK_NANOS, kernel: (times['system'] ?? 0) * TICK_NANOS, perCpu: perCpu === undefined || perCpu === '' ? undefined : perCpu.split(/\s+/).map(Number),
      periods: throttling['nr_periods'] ?? 0, throttledPeriods: throttling['nr_throttled'] ?? 0, throttled: throttling['throttled_time'] ?? 0,
    },
    memory: { usage: number(read('memory', 'memory.usage_in_bytes')), maxUsage: number(read('memory', 'memory.max_usage_in_bytes')), failures: number(read('memory', 'memory.failcnt')), limit: limit(read('memory', 'memory.limit_in_bytes')), details: keyed(read('memory', 'memory.stat')) },
    pids: { current: number(read('pids', 'pids.current')), limit: limit(read('pids', 'pids.max')) },
    blockBytes: parseBlkio(read('blkio', 'blkio.throttle.io_service_bytes_recursive') ?? read('blkio', 'blkio.throttle.io_service_bytes')),
    blockOperations: parseBlkio(read('blkio', 'blkio.throttle.io_serviced_recursive') ?? read('blkio', 'blkio.throttle.io_serviced')),
  }
}

function second(cgroups: CgroupManager, id: string): CgroupStats {
  const read = (file: string): string | undefined => cgroups.read(id, 'memory', file)
  const cpu = keyed(read('cpu.stat'))
  const nanos = (key: string): number => (cpu[key] ?? 0) * 1000
  const io = read('io.stat')
  return {
    cpu: { total: nanos('usage_usec'), user: nanos('user_usec'), kernel: nanos('system_usec'), perCpu: undefined, periods: cpu['nr_periods'] ?? 0, throttledPeriods: cpu['nr_throttled'] ?? 0, throttled: nanos('throttled_usec') },
    memory: { usage: number(read('memory.current')), maxUsage: undefined, failures: undefined, limit: limit(read('memory.max')), details: keyed(read('memory.stat')) },
    pids: { current: number(read('pids.current')), limit: limit(read('pids.max')) },
    blockBytes: parseIoStat(io, { rbytes: 'read', wbytes: 'write' }),
    blockOperations: parseIoStat(io, { rios: 'read', wios: 'write' }),
  }
}

/** Reads the counters of a container (kernel Documentation/admin-guide/cgroup-v1/ and cgroup-v2.rst). */
export function cgroupStats(cgroups: CgroupManager, id: string): CgroupStats {
  return cgroups.layout.version === 1 ? first(cgroups, id) : second(cgroups, id)
}
