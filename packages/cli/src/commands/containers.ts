import { createWriteStream } from 'node:fs'
import { pipeline } from 'node:stream/promises'
import { EngineError, humanDuration, humanSize } from '@gantry/std'
import { checkName, type Command, type Context, each, filterQuery, told } from '../command.ts'
import type { Parsed } from '../flags.ts'
import { listing, short, table } from '../output.ts'
import { compileTemplate } from '../template.ts'
import { copyIn, copyOut } from './copy.ts'
import { confirm, FORCE } from './prune.ts'

interface Row {
  readonly Id: string
  readonly Names: readonly string[]
  readonly Image: string
  readonly Command: string
  readonly Created: number
  readonly Ports: readonly { readonly IP?: string; readonly PrivatePort: number; readonly PublicPort?: number; readonly Type: string }[]
  readonly Labels: Readonly<Record<string, string>>
  readonly State: string
  readonly Status: string
  /** Only when asked for. */
  readonly SizeRw?: number
  readonly SizeRootFs?: number
  readonly Mounts: readonly { readonly Name?: string; readonly Source: string }[]
  readonly NetworkSettings: { readonly Networks: Readonly<Record<string, unknown>> }
}

const clip = (text: string, length: number): string => (text.length <= length ? text : `${text.slice(0, length - 1)}…`)

type Port = Row['Ports'][number]

const bracketed = (ip: string): string => (ip.includes(':') ? `[${ip}]` : ip)

/** Ports as `ps` shows them: neighbours together (`0.0.0.0:90-92->90-92/tcp`), then those that are published under another number. */
function portList(ports: readonly Port[]): string {
  const sorted = ports.toSorted((a, b) => a.PrivatePort - b.PrivatePort || Number((a.IP ?? '').includes(':')) - Number((b.IP ?? '').includes(':')) || (a.PublicPort ?? 0) - (b.PublicPort ?? 0))
  const isPlain = (port: Port): boolean => port.PublicPort === undefined || port.PublicPort === port.PrivatePort
  const outside = (port: Port, numbers: string | number): string => (port.PublicPort === undefined ? '' : `${bracketed(port.IP ?? '')}:${numbers}->`)
  const runs: { first: Port; last: number }[] = []
  for (const port of sorted.filter(isPlain)) {
    const run = runs.find(({ first, last }) => first.IP === port.IP && first.Type === port.Type && last + 1 === port.PrivatePort)
    if (run === undefined) runs.push({ first: port, last: port.PrivatePort })
    else run.last = port.PrivatePort
  }
  const span = ({ first, last }: { readonly first: Port; readonly last: number }): string => (first.PrivatePort === last ? String(last) : `${first.PrivatePort}-${last}`)
  return [...runs.map((run) => `${outside(run.first, span(run))}${span(run)}/${run.first.Type}`), ...sorted.filter((port) => !isPlain(port)).map((port) => `${outside(port, port.PublicPort ?? 0)}${port.PrivatePort}/${port.Type}`)].join(', ')
}

/** One container as `--format` sees it. */
function view(row: Row, full: boolean) {
  const created = new Date(row.Created * 1000)
  return {
    ID: short(row.Id, full),
    Names: row.Names.map((name) => name.slice(1)).filter((name) => full || !name.includes('/')).join(','),
    Image: row.Image.startsWith('sha256:') ? short(row.Image, full) : row.Image,
    Command: `"${full ? row.Command : clip(row.Command, 20)}"`,
    CreatedAt: created.toISOString().replace('T', ' ').replace(/\..*/, ' +0000 UTC'),
    RunningFor: `${humanDuration(Date.now() - created.getTime())} ago`,
    Ports: portList(row.Ports),
    Status: row.Status,
    State: row.State,
    Size: row.SizeRw === undefined ? '' : `${humanSize(row.SizeRw, 3)} (virtual ${humanSize(row.SizeRootFs ?? 0, 3)})`,
    Labels: Object.entries(row.Labels).map(([key, value]) => `${key}=${value}`).join(','),
    Mounts: row.Mounts.map((mount) => mount.Name ?? mount.Source).join(','),
    Networks: Object.keys(row.NetworkSettings.Networks).join(','),
    LocalVolumes: String(row.Mounts.length),
  }
}

type View = ReturnType<typeof view>

const HEADS = { ID: 'CONTAINER ID', Names: 'NAMES', Image: 'IMAGE', Command: 'COMMAND', CreatedAt: 'CREATED AT', RunningFor: 'CREATED', Ports: 'PORTS', Status: 'STATUS', State: 'STATE', Size: 'SIZE', Labels: 'LABELS', Mounts: 'MOUNTS', Networks: 'NETWORKS', LocalVolumes: 'LOCAL VOLUMES' }

async function ps(context: Context, parsed: Parsed): Promise<number> {
  const limit = parsed.bool('latest') ? 1 : (parsed.number('last') ?? 0)
  const format = parsed.text('format') || (parsed.bool('quiet') ? '' : context.setting('psFormat'))
  const size = parsed.bool('size') || format.includes('.Size')
  const rows = await context.api.json<readonly Row[]>('GET', '/containers/json', { query: { all: parsed.bool('all'), size, limit: limit > 0 ? limit : undefined, filters: filterQuery(parsed.list('filter')) } })
  const full = parsed.bool('no-trunc')
  if (parsed.bool('quiet')) {
    process.stdout.write(rows.map((row) => `${short(row.Id, full)}\n`).join(''))
    return 0
  }
  const items = rows.map((row) => view(row, full))
  process.stdout.write(listing(items, format, [['CONTAINER ID', (i) => i.ID], ['IMAGE', (i) => i.Image], ['COMMAND', (i) => i.Command], ['CREATED', (i) => i.RunningFor], ['STATUS', (i) => i.Status], ['PORTS', (i) => i.Ports], ['NAMES', (i) => i.Names], ...(size ? [['SIZE', (i: View) => i.Size] as const] : [])], HEADS, { full }))
  return 0
}

/** Prints objects as JSON or by template; what is missing is told, and makes the exit code 1. `order`: how keys are ordered. */
export async function inspectAll(names: readonly string[], format: string, find: (name: string) => Promise<unknown>, order?: (found: unknown) => unknown): Promise<number> {
  const found: unknown[] = []
  const errors: string[] = []
  for (const name of names) {
    try {
      found.push(await find(name))
    } catch (error) {
      if (!(error instanceof EngineError) || error.kind !== 'not-found') throw error
      errors.push(told(error))
    }
  }
  if (format === '') process.stdout.write(`${JSON.stringify(order?.(found) ?? found, null, 4)}\n`)
  else if (format === 'json') process.stdout.write(found.map((item) => `${JSON.stringify(item)}\n`).join(''))
  else {
    const render = compileTemplate(format)
    process.stdout.write(found.map((item) => `${render(item)}\n`).join(''))
  }
  process.stderr.write(errors.map((error) => `${error}\n`).join(''))
  return errors.length === 0 ? 0 : 1
}

async function inspect(context: Context, parsed: Parsed): Promise<number> {
  const kinds = [['container', 'containers'], ['image', 'images'], ['volume', 'volumes'], ['network', 'networks']] as const
  const wanted = parsed.text('type')
  const find = async (name: string): Promise<unknown> => {
    for (const [kind, path] of kinds) {
      if (wanted !== '' && wanted !== kind) continue
      try {
        return await context.api.json('GET', `/${path}/${name}${kind === 'container' || kind === 'image' ? '/json' : ''}`, { query: { size: kind === 'container' && parsed.bool('size') } })
      } catch (error) {
        if (wanted !== '' || !(error instanceof EngineError) || (error.kind !== 'not-found' && error.kind !== 'invalid')) throw error
      }
    }
    throw new EngineError('not-found', `Error: No such object: ${name}`)
  }
  return inspectAll(parsed.rest, parsed.text('format'), find)
}

/** A command that does one thing to each container. */
function forEach(name: string, help: string, act: (context: Context, container: string, parsed: Parsed) => Promise<unknown>, flags: Command['flags'] = [], aliases: readonly string[] = []): Command {
  return {
    names: [name, `container ${name}`, ...aliases], usage: `${name} [OPTIONS] CONTAINER [CONTAINER...]`, help, flags,
    run: (context, parsed) =>
      each(parsed.rest, async (container) => {
        const line = await act(context, container, parsed)
        return line === false ? undefined : typeof line === 'string' ? line : container
      }),
  }
}

const post = (path: string, query: (parsed: Parsed) => Readonly<Record<string, string | number | boolean | undefined>> = () => ({})) => (context: Context, container: string, parsed: Parsed): Promise<unknown> => context.api.send('POST', `/containers/${container}/${path}`, { query: query(parsed) })

const STOP_FLAGS: Command['flags'] = [{ name: 'timeout', short: 't', kind: 'number', help: 'Seconds to wait before killing the container' }, { name: 'time', kind: 'number', help: 'The same under its former name' }, { name: 'signal', short: 's', kind: 'text', help: 'Signal to send to the container' }]
const stopQuery = (parsed: Parsed): Readonly<Record<string, string | number | undefined>> => ({ t: parsed.number('time') ?? parsed.number('timeout'), signal: parsed.text('signal') })

interface TraceStep {
  readonly phase: string
  readonly what: string
  readonly side: string
  readonly from: number
  readonly to: number
}

/** Bars of a start: one line a phase and side, or a step. */
async function trace(context: Context, parsed: Parsed): Promise<number> {
  const { steps } = await context.api.json<{ steps: readonly TraceStep[] }>('GET', `/containers/${parsed.rest[0]}/trace`)
  if (steps.length === 0) throw new EngineError('not-found', 'this container has not been started by this daemon')
  const rows = (parsed.bool('all') ? [...steps] : phases(steps)).toSorted((a, b) => a.from - b.from)
  const end = Math.max(...steps.map((step) => step.to))
  const width = 48
  for (const row of rows) {
    const from = Math.floor((row.from / end) * width)
    const bar = `${' '.repeat(from)}${'█'.repeat(Math.max(1, Math.round(((row.to - row.from) / end) * width)))}`
    process.stdout.write(`${row.side.padEnd(7)}${String(row.to - row.from).padStart(7)} µs  ${bar.padEnd(width + 1).slice(0, width + 1)} ${row.what}\n`)
  }
  process.stdout.write(`total  ${String(end).padStart(7)} µs\n`)
  return 0
}

function phases(steps: readonly TraceStep[]): readonly TraceStep[] {
  const rows: TraceStep[] = []
  for (const step of steps.filter((one) => one.phase !== '')) {
    const last = rows.at(-1)
    if (step.side !== 'daemon' && last?.side === step.side && last.phase === step.phase) rows[rows.length - 1] = { ...last, to: step.to }
    else rows.push(step.side === 'daemon' ? step : { ...step, what: step.phase })
  }
  return rows
}

async function cp(context: Context, parsed: Parsed): Promise<number> {
  const [from = '', to = ''] = parsed.rest
  const split = (text: string): readonly [string, string] | undefined => (/^[^/.][^:]*:/.test(text) ? [text.slice(0, text.indexOf(':')), text.slice(text.indexOf(':') + 1)] : undefined)
  const [source, target] = [split(from), split(to)]
  if (source !== undefined && target !== undefined) throw new EngineError('invalid', 'copying between containers is not supported')
  const showing = !parsed.bool('quiet') && process.stderr.isTTY
  if (source !== undefined) await copyOut(context.api, source[0], source[1], to, { follow: parsed.bool('follow-link'), showing })
  else if (target !== undefined) await copyIn(context.api, from, target[0], target[1], { withOwners: parsed.bool('archive'), follow: parsed.bool('follow-link'), showing })
  else throw new EngineError('invalid', 'must specify at least one container source')
  return 0
}

/** `80/tcp -> …` before `443/tcp -> …`, IPv4 before IPv6. */
const byAddress = (a: string, b: string): number => Number(a.split('/')[0]) - Number(b.split('/')[0]) || Number(a.includes('[')) - Number(b.includes('[')) || a.localeCompare(b, 'en', { numeric: true })

/** Commands on containers that are there. */
export const CONTAINER_COMMANDS: readonly Command[] = [
  {
    names: ['ps', 'container ls', 'container ps', 'container list'], usage: 'ps [OPTIONS]', help: 'List containers', run: ps,
    flags: [{ name: 'all', short: 'a', kind: 'bool', help: 'Show all containers (default shows just running)' }, { name: 'quiet', short: 'q', kind: 'bool', help: 'Only display container IDs' }, { name: 'filter', short: 'f', kind: 'list', help: 'Filter output based on conditions provided' }, { name: 'format', kind: 'text', help: 'Format output using a custom template' }, { name: 'no-trunc', kind: 'bool', help: "Don't truncate output" }, { name: 'latest', short: 'l', kind: 'bool', help: 'Show the latest created container' }, { name: 'last', short: 'n', kind: 'number', help: 'Show n last created containers' }, { name: 'size', short: 's', kind: 'bool', help: 'Display total file sizes' }],
  },
  { names: ['container inspect'], usage: 'container inspect [OPTIONS] CONTAINER [CONTAINER...]', help: 'Display detailed information on one or more containers', run: (context, parsed) => inspectAll(parsed.rest, parsed.text('format'), (name) => context.api.json('GET', `/containers/${name}/json`, { query: { size: parsed.bool('size') } })), flags: [{ name: 'format', short: 'f', kind: 'text', help: 'Format output using a custom template' }, { name: 'size', short: 's', kind: 'bool', help: 'Display total file sizes' }] },
  { names: ['inspect'], usage: 'inspect [OPTIONS] NAME|ID [NAME|ID...]', help: 'Return low-level information on objects', run: inspect, flags: [{ name: 'format', short: 'f', kind: 'text', help: 'Format output using a custom template' }, { name: 'type', kind: 'text', help: 'Return JSON for specified type' }, { name: 'size', short: 's', kind: 'bool', help: 'Display total file sizes if the type is container' }] },
  forEach('stop', 'Stop one or more running containers', post('stop', stopQuery), STOP_FLAGS),
  forEach('restart', 'Restart one or more containers', post('restart', stopQuery), STOP_FLAGS),
  forEach('kill', 'Kill one or more running containers', post('kill', (parsed) => ({ signal: parsed.text('signal') })), [{ name: 'signal', short: 's', kind: 'text', help: 'Signal to send to the container' }]),
  forEach('pause', 'Pause all processes within one or more containers', post('pause')),
  forEach('unpause', 'Unpause all processes within one or more containers', post('unpause')),
  forEach('wait', 'Block until one or more containers stop, then print their exit codes', async (context, container) => String((await context.api.json<{ StatusCode: number }>('POST', `/containers/${container}/wait`)).StatusCode)),
  forEach('rm', 'Remove one or more containers', async (context, container, parsed) => {
    try {
      await context.api.send('DELETE', `/containers/${container}`, { query: { force: parsed.bool('force'), v: parsed.bool('volumes'), link: parsed.bool('link') } })
      return container
    } catch (error) {
      if (!parsed.bool('force') || !(error instanceof EngineError) || error.kind !== 'not-found') throw error
      // What is to be gone is gone.
      process.stderr.write(`${told(error)}\n`)
      return false
    }
  }, [{ name: 'link', short: 'l', kind: 'bool', help: 'Remove the specified link' }, { name: 'force', short: 'f', kind: 'bool', help: 'Force the removal of a running container' }, { name: 'volumes', short: 'v', kind: 'bool', help: 'Remove anonymous volumes associated with the container' }], ['container remove']),
  {
    names: ['rename', 'container rename'], usage: 'rename CONTAINER NEW_NAME', help: 'Rename a container', flags: [],
    run: async (context, parsed) => {
      const [from = '', name = ''] = parsed.rest
      try {
        await context.api.send('POST', `/containers/${from}/rename`, { query: { name } })
        return 0
      } catch (error) {
        process.stderr.write(`${told(error)}\nError: failed to rename container named ${from}\n`)
        return 1
      }
    },
  },
  {
    names: ['top', 'container top'], usage: 'top CONTAINER [ps OPTIONS]', help: 'Display the running processes of a container', stop: true, flags: [],
    run: async (context, parsed) => {
      const { Titles, Processes } = await context.api.json<{ Titles: readonly string[]; Processes: readonly (readonly string[])[] }>('GET', `/containers/${parsed.rest[0]}/top`, { query: { ps_args: parsed.rest.slice(1).join(' ') } })
      process.stdout.write(table([Titles, ...Processes], { least: 20, full: true }))
      return 0
    },
  },
  {
    names: ['port', 'container port'], usage: 'port CONTAINER [PRIVATE_PORT[/PROTO]]', help: 'List port mappings or a specific mapping for the container', flags: [],
    run: async (context, parsed) => {
      const { NetworkSettings } = await context.api.json<{ NetworkSettings: { Ports: Record<string, readonly { HostIp: string; HostPort: string }[] | null> } }>('GET', `/containers/${parsed.rest[0]}/json`)
      const [name = '', wanted = ''] = parsed.rest
      const key = wanted === '' || wanted.includes('/') ? wanted : `${wanted}/tcp`
      const shown = Object.entries(NetworkSettings.Ports).flatMap(([port, bindings]) => (bindings ?? []).filter(() => key === '' || port === key).map((one) => `${key === '' ? `${port} -> ` : ''}${bracketed(one.HostIp)}:${one.HostPort}`))
      if (wanted !== '' && shown.length === 0) throw new EngineError('not-found', `Error: No public port '${wanted}' published for ${name}`)
      process.stdout.write(shown.toSorted(byAddress).map((line) => `${line}\n`).join(''))
      return 0
    },
  },
  {
    names: ['diff', 'container diff'], usage: 'diff CONTAINER', help: "Inspect changes to files or directories on a container's filesystem", flags: [],
    run: async (context, parsed) => {
      const changes = await context.api.json<readonly { Path: string; Kind: number }[] | null>('GET', `/containers/${parsed.rest[0]}/changes`)
      process.stdout.write((changes ?? []).map((change) => `${'CAD'[change.Kind]} ${change.Path}\n`).join(''))
      return 0
    },
  },
  {
    names: ['export', 'container export'], usage: 'export [OPTIONS] CONTAINER', help: "Export a container's filesystem as a tar archive", flags: [{ name: 'output', short: 'o', kind: 'text', help: 'Write to a file, instead of STDOUT' }],
    run: async (context, parsed) => {
      const response = await context.api.send('GET', `/containers/${parsed.rest[0]}/export`)
      await pipeline(response, parsed.text('output') === '' ? process.stdout : createWriteStream(parsed.text('output')))
      return 0
    },
  },
  { names: ['cp', 'container cp'], usage: 'cp [OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\ncp [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH', help: 'Copy files/folders between a container and the local filesystem', flags: [{ name: 'archive', short: 'a', kind: 'bool', help: 'Copy all uid/gid information' }, { name: 'follow-link', short: 'L', kind: 'bool', help: 'Always follow symbol link in SRC_PATH' }, { name: 'quiet', short: 'q', kind: 'bool', help: 'Suppress progress output during copy' }], run: cp },
  {
    names: ['commit', 'container commit'], usage: 'commit [OPTIONS] CONTAINER [REPOSITORY[:TAG]]', help: "Create a new image from a container's changes",
    flags: [{ name: 'author', short: 'a', kind: 'text', help: 'Author' }, { name: 'message', short: 'm', kind: 'text', help: 'Commit message' }, { name: 'change', short: 'c', kind: 'list', help: 'Apply Dockerfile instruction to the created image' }, { name: 'pause', short: 'p', kind: 'bool', help: 'Pause container during commit' }],
    run: async (context, parsed) => {
      const [container, name = ''] = parsed.rest
      if (name !== '') checkName(name)
      const colon = name.lastIndexOf(':') > name.lastIndexOf('/') ? name.lastIndexOf(':') : name.length
      const { Id } = await context.api.json<{ Id: string }>('POST', '/commit', { query: { container, repo: name.slice(0, colon), tag: name.slice(colon + 1), author: parsed.text('author'), comment: parsed.text('message'), changes: parsed.list('change'), pause: parsed.has('pause') && !parsed.bool('pause') ? '0' : '1' }, json: {} })
      process.stdout.write(`${Id}\n`)
      return 0
    },
  },
  { names: ['trace'], usage: 'trace [OPTIONS] CONTAINER', help: 'Show where the time of the last start went', flags: [{ name: 'all', short: 'a', kind: 'bool', help: 'One line for every operation' }], run: trace },
  {
    names: ['container prune'], usage: 'container prune [OPTIONS]', help: 'Remove all stopped containers', flags: [FORCE, { name: 'filter', kind: 'list', help: 'Provide filter values' }],
    run: async (context, parsed) => {
      await confirm(parsed, 'This will remove all stopped containers.')
      const { ContainersDeleted, SpaceReclaimed } = await context.api.json<{ ContainersDeleted: readonly string[] | null; SpaceReclaimed: number }>('POST', '/containers/prune', { query: { filters: filterQuery(parsed.list('filter')) } })
      const ids = ContainersDeleted ?? []
      process.stdout.write(`${ids.length === 0 ? '' : `Deleted Containers:\n${ids.map((id) => `${id}\n`).join('')}\n`}Total reclaimed space: ${humanSize(SpaceReclaimed)}\n`)
      return 0
    },
  },
]

