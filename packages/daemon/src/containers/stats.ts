import { cpus } from 'node:os'
import { readFileSync } from 'node:fs'
import type { BlockCounter, CgroupStats, ExecDriver } from '@gantry/runtime'
import { formatNanos, hasCode, nowNanos } from '@gantry/std'
import type { Container } from './container.ts'
import { hostMemoryBytes } from './spec/resources.ts'
import { timeText } from './timeline.ts'

const TICK_NANOS = 10_000_000
const PERIOD_MS = 1000

/** Processor time of the whole host, nanoseconds (proc(5), /proc/stat: the first seven columns). */
function systemCpu(): number {
  const [, ...columns] = (readFileSync('/proc/stat', 'utf8').split('\n')[0] ?? '').split(/\s+/)
  return columns.slice(0, 7).reduce((sum, value) => sum + Number(value), 0) * TICK_NANOS
}

/** Counters of one network interface, as the API has them. */
export interface InterfaceCounters {
  readonly rx_bytes: number
  readonly rx_packets: number
  readonly rx_errors: number
  readonly rx_dropped: number
  readonly tx_bytes: number
  readonly tx_packets: number
  readonly tx_errors: number
  readonly tx_dropped: number
}

/** Counters of a process's network interfaces but loopback, by name. */
export function parseNetDev(text: string): Readonly<Record<string, InterfaceCounters>> {
  const networks: Record<string, InterfaceCounters> = {}
  for (const line of text.split('\n').slice(2)) {
    const [name = '', rest = ''] = line.split(':')
    const values = rest.trim().split(/\s+/).map(Number)
    if (rest === '' || name.trim() === 'lo') continue
    const [rxBytes = 0, rxPackets = 0, rxErrors = 0, rxDropped = 0] = values
    const [txBytes = 0, txPackets = 0, txErrors = 0, txDropped = 0] = values.slice(8)
    networks[name.trim()] = { rx_bytes: rxBytes, rx_packets: rxPackets, rx_errors: rxErrors, rx_dropped: rxDropped, tx_bytes: txBytes, tx_packets: txPackets, tx_errors: txErrors, tx_dropped: txDropped }
  }
  return networks
}

/** Counters of a container that has a network of its own. */
export function networkCounters(container: Container): readonly (readonly [string, InterfaceCounters])[] {
  return Object.entries(networksOf(container) ?? {})
}

function networksOf(container: Container): Readonly<Record<string, InterfaceCounters>> | undefined {
  const pid = container.task?.pid
  if (pid === undefined || container.document.networkMode === 'host' || container.document.networkMode.startsWith('container:')) return undefined
  try {
    return parseNetDev(readFileSync(`/proc/${pid}/net/dev`, 'utf8'))
  } catch (error) {
    // The process has just ended.
    if (hasCode(error, 'ENOENT', 'ESRCH', 'EINVAL')) return undefined
    throw error
  }
}

/** One reading and when it was taken. */
interface Sample {
  readonly at: bigint
  readonly system: number
  readonly stats: CgroupStats
}

function cpuView(sample: Sample | undefined): unknown {
  if (sample === undefined) return { cpu_usage: { total_usage: 0, usage_in_kernelmode: 0, usage_in_usermode: 0 }, throttling_data: { periods: 0, throttled_periods: 0, throttled_time: 0 } }
  const { cpu } = sample.stats
  return {
    cpu_usage: { total_usage: cpu.total, ...(cpu.perCpu && { percpu_usage: cpu.perCpu }), usage_in_kernelmode: cpu.kernel, usage_in_usermode: cpu.user },
    system_cpu_usage: sample.system,
    online_cpus: cpus().length,
    throttling_data: { periods: cpu.periods, throttled_periods: cpu.throttledPeriods, throttled_time: cpu.throttled },
  }
}

const counters = (list: readonly BlockCounter[]): readonly BlockCounter[] | null => (list.length === 0 ? null : list)

/** One line of `GET /containers/{id}/stats`. */
export function statsView(container: Container, now: Sample, before: Sample | undefined): unknown {
  const { memory, pids, blockBytes, blockOperations } = now.stats
  const networks = networksOf(container)
  return {
    name: `/${container.name}`,
    id: container.id,
    os_type: 'linux',
    read: formatNanos(now.at),
    preread: before === undefined ? timeText('') : formatNanos(before.at),
    num_procs: 0,
    pids_stats: { ...(pids.current > 0 && { current: pids.current, ...(Number.isFinite(pids.limit) && { limit: pids.limit }) }) },
    cpu_stats: cpuView(now),
    precpu_stats: cpuView(before),
    memory_stats: {
      usage: memory.usage,
      ...(memory.maxUsage !== undefined && { max_usage: memory.maxUsage }),
      stats: memory.details,
      ...(memory.failures !== undefined && { failcnt: memory.failures }),
      limit: Math.min(memory.limit, hostMemoryBytes()),
    },
    blkio_stats: { io_service_bytes_recursive: counters(blockBytes), io_serviced_recursive: counters(blockOperations), io_queue_recursive: null, io_service_time_recursive: null, io_wait_time_recursive: null, io_merged_recursive: null, io_time_recursive: null, sectors_recursive: null },
    storage_stats: {},
    ...(networks && { networks }),
  }
}

/** What a container that does not run has used: nothing is known. */
function nothing(container: Container): unknown {
  return { name: `/${container.name}`, id: container.id, os_type: 'linux', read: timeText(''), preread: timeText(''), num_procs: 0, pids_stats: {}, cpu_stats: cpuView(undefined), precpu_stats: cpuView(undefined), memory_stats: {}, blkio_stats: { io_service_bytes_recursive: null, io_serviced_recursive: null, io_queue_recursive: null, io_service_time_recursive: null, io_wait_time_recursive: null, io_merged_recursive: null, io_time_recursive: null, sectors_recursive: null }, storage_stats: {} }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer)
      signal.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, ms)
    signal.addEventListener('abort', done)
    if (signal.aborted) done()
  })
}

/** Gives one reading a second until the client or the container has gone; just one, after a first that it is held against, without `stream`. */
export async function streamStats(driver: ExecDriver, container: Container, options: { readonly stream: boolean; readonly oneShot: boolean }, write: (view: unknown) => Promise<void>, signal: AbortSignal): Promise<void> {
  const take = async (): Promise<Sample> => {
    const stats = await driver.stats(container.id)
    return { at: nowNanos(), system: systemCpu(), stats }
  }
  if (container.task === undefined) return write(nothing(container))
  let before: Sample | undefined
  if (!options.stream && !options.oneShot) {
    before = await take()
    await pause(PERIOD_MS, signal)
  }
  while (!signal.aborted) {
    if (container.task === undefined) return options.stream ? undefined : write(nothing(container))
    const now = await take()
    await write(statsView(container, now, before))
    before = now
    if (!options.stream) return
    await pause(PERIOD_MS, signal)
  }
}
