import { createServer, type Server } from 'node:http'
import { cpus, release, totalmem } from 'node:os'
import type { ExecDriver } from '@gantry/runtime'
import { EngineError, logger } from '@gantry/std'
import type { Container } from '../containers/container.ts'
import { healthStatus } from '../containers/health.ts'
import { networkCounters } from '../containers/stats.ts'
import type { Events } from './events.ts'

const log = logger('daemon.metrics')
const NANOS = 1_000_000_000

/** What metrics need of the rest of the house. */
export interface MetricsPorts {
  readonly driver: ExecDriver
  readonly events: Events
  readonly version: string
  readonly graphDriver: string
  readonly daemonId: string
  containers(): readonly Container[]
}

type Labels = Readonly<Record<string, string>>

/** Lines of one metric (Prometheus text format 0.0.4). */
interface Metric {
  readonly name: string
  readonly kind: 'counter' | 'gauge'
  readonly help: string
  readonly samples: readonly (readonly [Labels, number])[]
}

const escaped = (text: string): string => text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')

function lines({ name, kind, help, samples }: Metric): string {
  const shown = samples.map(([labels, value]) => {
    const pairs = Object.entries(labels).map(([key, text]) => `${key}="${escaped(text)}"`)
    return `${name}${pairs.length === 0 ? '' : `{${pairs.join(',')}}`} ${value}\n`
  })
  return `# HELP ${name} ${help}\n# TYPE ${name} ${kind}\n${shown.join('')}`
}

/** One container's readings, by metric. */
type Readings = Readonly<Record<string, readonly (readonly [Labels, number])[]>>

/** What is told of each container, and what it means. */
const OF_CONTAINERS: Readonly<Record<string, readonly [Metric['kind'], string]>> = {
  cpu_usage_seconds_total: ['counter', 'Processor time used'],
  cpu_throttled_seconds_total: ['counter', 'Time for which processes were held back by a limit of processor time'],
  memory_usage_bytes: ['gauge', 'Memory used, with the page cache'],
  memory_limit_bytes: ['gauge', 'Limit of memory; without one, there is no sample'],
  processes: ['gauge', 'Processes and threads'],
  block_bytes_total: ['counter', 'Bytes read from and written to block devices'],
  network_receive_bytes_total: ['counter', 'Bytes received'],
  network_transmit_bytes_total: ['counter', 'Bytes sent'],
  restarts_total: ['counter', 'Restarts by the restart policy'],
  start_time_seconds: ['gauge', 'Time of the last start since 1970'],
  healthy: ['gauge', '1 when its health check passes; without one, there is no sample'],
}

async function readingsOf(ports: MetricsPorts, container: Container): Promise<Readings> {
  const { cpu, memory, pids, blockBytes } = await ports.driver.stats(container.id)
  const own: Labels = { id: container.id, name: container.name, image: container.document.config.Image }
  const health = healthStatus(container)
  const blocks = Map.groupBy(blockBytes, (one) => one.op.toLowerCase())
  return {
    cpu_usage_seconds_total: [[own, cpu.total / NANOS]],
    cpu_throttled_seconds_total: [[own, cpu.throttled / NANOS]],
    memory_usage_bytes: [[own, memory.usage]],
    memory_limit_bytes: memory.limit < totalmem() ? [[own, memory.limit]] : [],
    processes: [[own, pids.current]],
    block_bytes_total: ['read', 'write'].map((operation) => [{ ...own, operation }, (blocks.get(operation) ?? []).reduce((sum, one) => sum + one.value, 0)]),
    network_receive_bytes_total: networkCounters(container).map(([name, one]) => [{ ...own, interface: name }, one.rx_bytes]),
    network_transmit_bytes_total: networkCounters(container).map(([name, one]) => [{ ...own, interface: name }, one.tx_bytes]),
    restarts_total: [[own, container.state.restartCount]],
    start_time_seconds: [[own, Number(BigInt(container.state.startedAt === '' ? '0' : container.state.startedAt) / 1_000_000n) / 1000]],
    healthy: health === 'none' ? [] : [[own, health === 'healthy' ? 1 : 0]],
  }
}

/** The whole page. A container that ends while it is read is left out. */
async function page(ports: MetricsPorts, eventsSeen: number): Promise<string> {
  const all = ports.containers()
  const running = all.filter((container) => container.task !== undefined)
  const paused = running.filter((container) => container.state.paused).length
  const readings = (await Promise.all(
    running.map((container) =>
      readingsOf(ports, container).catch((error: unknown) => {
        if (container.task === undefined || error instanceof EngineError) return undefined
        throw error
      }),
    ),
  )).filter((one) => one !== undefined)
  const daemon: readonly Metric[] = [
    { name: 'engine_daemon_engine_info', kind: 'gauge', help: 'The engine that is running', samples: [[{ version: ports.version, architecture: process.arch, graphdriver: ports.graphDriver, kernel: release(), os_type: 'linux', daemon_id: ports.daemonId }, 1]] },
    { name: 'engine_daemon_engine_cpus_cpus', kind: 'gauge', help: 'Processors of the host', samples: [[{}, cpus().length]] },
    { name: 'engine_daemon_engine_memory_bytes', kind: 'gauge', help: 'Memory of the host', samples: [[{}, totalmem()]] },
    { name: 'engine_daemon_container_states_containers', kind: 'gauge', help: 'Containers in various states', samples: [[{ state: 'paused' }, paused], [{ state: 'running' }, running.length - paused], [{ state: 'stopped' }, all.length - running.length]] },
    { name: 'engine_daemon_events_total', kind: 'counter', help: 'Events that were told', samples: [[{}, eventsSeen]] },
    { name: 'engine_daemon_events_subscribers_total', kind: 'gauge', help: 'Clients that listen to events', samples: [[{}, ports.events.subscribers - 1]] },
    { name: 'process_resident_memory_bytes', kind: 'gauge', help: 'Memory of the daemon', samples: [[{}, process.memoryUsage.rss()]] },
  ]
  const containers = Object.entries(OF_CONTAINERS).map(([name, [kind, help]]): Metric => ({ name: `gantry_container_${name}`, kind, help, samples: readings.flatMap((one) => one[name] ?? []) }))
  return [...daemon, ...containers].map(lines).join('')
}

/** Serves `/metrics` on `host:port`, for whoever reaches that address. */
export async function serveMetrics(ports: MetricsPorts, address: string): Promise<Server> {
  const match = /^(?:\[([^\]]+)\]|([^:]*)):(\d{1,5})$/.exec(address)
  if (match === null) throw new EngineError('invalid', `--metrics-addr: expected HOST:PORT, got "${address}"`)
  let seen = 0
  ports.events.subscribe(() => {
    seen++
  })
  const server = createServer({ headersTimeout: 10_000, requestTimeout: 10_000 }, (request, response) => {
    if (request.method !== 'GET' || request.url?.split('?', 1)[0] !== '/metrics') return void response.writeHead(404).end('404 page not found\n')
    page(ports, seen).then(
      (text) => response.writeHead(200, { 'Content-Type': 'text/plain; version=0.0.4; charset=utf-8' }).end(text),
      (cause: unknown) => {
        log.error('cannot read the metrics', { cause })
        response.writeHead(500).end()
      },
    )
  })
  server.maxConnections = 64
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) => reject(new EngineError('unavailable', `--metrics-addr ${address}: ${cause.message}`, { cause })))
    server.listen({ host: match[1] ?? (match[2] === '' ? '::' : match[2]), port: Number(match[3]) }, resolve)
  })
  return server
}
