import { jsonLines } from '@gantry/api'
import { EngineError, humanSize } from '@gantry/std'
import { type Command, type Context, each } from '../command.ts'
import type { Flag, Parsed } from '../flags.ts'
import { listing, short } from '../output.ts'
import { resourcesBody, restartPolicy, parsePublish } from './create-body.ts'
import { CREATE_FLAGS } from './create-flags.ts'
import { parseMountOrBind } from './mount-flag.ts'

const UPDATABLE: ReadonlySet<string> = new Set(['blkio-weight', 'cpu-period', 'cpu-quota', 'cpu-rt-period', 'cpu-rt-runtime', 'cpu-shares', 'cpus', 'cpuset-cpus', 'cpuset-mems', 'memory', 'memory-reservation', 'memory-swap', 'pids-limit', 'restart'])

/** One line of `GET /containers/{id}/stats`, as far as it is shown. */
interface Stats {
  readonly id: string
  readonly name: string
  readonly cpu_stats: Cpu
  readonly precpu_stats: Cpu
  readonly memory_stats: { readonly usage?: number; readonly limit?: number; readonly stats?: Readonly<Record<string, number>> }
  readonly pids_stats: { readonly current?: number }
  readonly networks?: Readonly<Record<string, { readonly rx_bytes: number; readonly tx_bytes: number }>>
  readonly blkio_stats: { readonly io_service_bytes_recursive: readonly { readonly op: string; readonly value: number }[] | null }
}
interface Cpu {
  readonly cpu_usage: { readonly total_usage: number }
  readonly system_cpu_usage?: number
  readonly online_cpus?: number
}

/** One container as `--format` sees it; the formulas are those of the Engine API's ContainerStats. */
function view(stats: Stats, full: boolean) {
  const cpu = stats.cpu_stats.cpu_usage.total_usage - stats.precpu_stats.cpu_usage.total_usage
  const system = (stats.cpu_stats.system_cpu_usage ?? 0) - (stats.precpu_stats.system_cpu_usage ?? 0)
  const details = stats.memory_stats.stats ?? {}
  const used = Math.max(0, (stats.memory_stats.usage ?? 0) - (details['total_inactive_file'] ?? details['inactive_file'] ?? 0))
  const limit = stats.memory_stats.limit ?? 0
  const sum = (values: readonly number[]): string => humanSize(values.reduce((total, value) => total + value, 0), 3)
  const networks = Object.values(stats.networks ?? {})
  const block = stats.blkio_stats.io_service_bytes_recursive ?? []
  const bytes = (op: string): string => sum(block.filter((one) => one.op.toLowerCase() === op).map((one) => one.value))
  return {
    ID: short(stats.id, full), Container: short(stats.id, full), Name: stats.name.slice(1),
    CPUPerc: `${(system > 0 && cpu > 0 ? (cpu / system) * (stats.cpu_stats.online_cpus ?? 1) * 100 : 0).toFixed(2)}%`,
    MemUsage: `${(used / 2 ** 20).toFixed(2)}MiB / ${(limit / 2 ** 20).toFixed(2)}MiB`,
    MemPerc: `${(limit > 0 ? (used / limit) * 100 : 0).toFixed(2)}%`,
    NetIO: `${sum(networks.map((one) => one.rx_bytes))} / ${sum(networks.map((one) => one.tx_bytes))}`,
    BlockIO: `${bytes('read')} / ${bytes('write')}`,
    PIDs: String(stats.pids_stats.current ?? 0),
  }
}

type View = ReturnType<typeof view>
const HEADS = { ID: 'CONTAINER ID', Container: 'CONTAINER', Name: 'NAME', CPUPerc: 'CPU %', MemUsage: 'MEM USAGE / LIMIT', MemPerc: 'MEM %', NetIO: 'NET I/O', BlockIO: 'BLOCK I/O', PIDs: 'PIDS' }

function print(views: readonly View[], format: string): string {
  return listing(views, format, [['CONTAINER ID', (i) => i.ID], ['NAME', (i) => i.Name], ['CPU %', (i) => i.CPUPerc], ['MEM USAGE / LIMIT', (i) => i.MemUsage], ['MEM %', (i) => i.MemPerc], ['NET I/O', (i) => i.NetIO], ['BLOCK I/O', (i) => i.BlockIO], ['PIDS', (i) => i.PIDs]], HEADS)
}

async function names(context: Context, parsed: Parsed): Promise<readonly string[]> {
  if (parsed.rest.length > 0) return parsed.rest
  return (await context.api.json<readonly { readonly Id: string }[]>('GET', '/containers/json', { query: { all: parsed.bool('all') } })).map((row) => row.Id)
}

async function stats(context: Context, parsed: Parsed): Promise<number> {
  const format = parsed.text('format') || context.setting('statsFormat')
  const full = parsed.bool('no-trunc')
  const all = await names(context, parsed)
  if (parsed.bool('no-stream')) {
    const views = await Promise.all(all.map(async (name) => view(await context.api.json<Stats>('GET', `/containers/${name}/stats`, { query: { stream: '0' } }), full)))
    process.stdout.write(print(views, format))
    return 0
  }
  const latest = new Map<string, View>()
  const show = (): void => void process.stdout.write(`${process.stdout.isTTY ? '\u001b[H\u001b[J' : ''}${print([...latest.values()], format)}`)
  const timer = setInterval(show, 1000)
  await Promise.all(all.map(async (name) => {
    const response = await context.api.send('GET', `/containers/${name}/stats`)
    for await (const line of jsonLines<Stats>(response)) latest.set(name, view(line, full))
    latest.delete(name)
  }))
  clearInterval(timer)
  return 0
}

const UPDATE_FLAGS: readonly Flag[] = [...CREATE_FLAGS.filter((flag) => UPDATABLE.has(flag.name)), { name: 'publish-add', kind: 'list', help: 'Publish another port, also while it runs (ours)' }, { name: 'publish-rm', kind: 'list', help: 'Publish a port (80/tcp) no more (ours)' }, { name: 'mount-add', kind: 'list', help: 'Mount a bind or a volume, also while it runs; as --mount or -v take it (ours)' }, { name: 'mount-rm', kind: 'list', help: 'Unmount what is mounted on a path inside (ours)' }]

/** What containers use, and what they may. */
export const RESOURCE_COMMANDS: readonly Command[] = [
  {
    names: ['stats', 'container stats'], usage: 'stats [OPTIONS] [CONTAINER...]', help: 'Display a live stream of container(s) resource usage statistics', run: stats,
    flags: [{ name: 'all', short: 'a', kind: 'bool', help: 'Show all containers (default shows just running)' }, { name: 'no-stream', kind: 'bool', help: 'Disable streaming stats and only pull the first result' }, { name: 'no-trunc', kind: 'bool', help: "Don't truncate output" }, { name: 'format', kind: 'text', help: 'Format output using a custom template' }],
  },
  {
    names: ['update', 'container update'], usage: 'update [OPTIONS] CONTAINER [CONTAINER...]', help: 'Update configuration of one or more containers', flags: UPDATE_FLAGS,
    run: (context, parsed) => {
      if (!UPDATE_FLAGS.some((flag) => parsed.has(flag.name))) throw new EngineError('invalid', 'you must provide one or more flags when using this command')
      return each(parsed.rest, async (one) => {
        const { Warnings } = await context.api.json<{ Warnings: readonly string[] | null }>('POST', `/containers/${one}/update`, { json: { ...resourcesBody(parsed), ...(parsed.has('restart') && { RestartPolicy: restartPolicy(parsed.text('restart')) }), ...((parsed.has('publish-add') || parsed.has('publish-rm')) && { GantryPublish: { Add: parsePublish(parsed.list('publish-add')), Remove: parsed.list('publish-rm') } }), ...((parsed.has('mount-add') || parsed.has('mount-rm')) && { GantryMounts: { Add: parsed.list('mount-add').map(parseMountOrBind), Remove: parsed.list('mount-rm') } }) } })
        for (const warning of Warnings ?? []) process.stderr.write(`WARNING: ${warning}\n`)
        return one
      })
    },
  },
]
