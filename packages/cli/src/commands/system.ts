import { createReadStream, createWriteStream } from 'node:fs'
import { createConnection, type Socket } from 'node:net'
import { createInterface } from 'node:readline'
import { pipeline } from 'node:stream/promises'
import { placeOf, unreachable } from '@gantry/api'
import { EngineError } from '@gantry/std'
import { type Command, each, filterQuery } from '../command.ts'
import { listing, short, table } from '../output.ts'
import { compileTemplate, sortKeys } from '../template.ts'
import { inspectAll } from './containers.ts'
import { keyValues } from './create-body.ts'
import { stopDaemon } from '../daemon.ts'

const FORMAT = { name: 'format', short: 'f', kind: 'text', help: 'Format output using a custom template' } as const
const FILTER = { name: 'filter', short: 'f', kind: 'list', help: 'Provide filter values' } as const
const QUIET = { name: 'quiet', short: 'q', kind: 'bool', help: 'Only display names' } as const

const print = (value: unknown, format: string, plain: string): number => {
  process.stdout.write(format === '' ? plain : format === 'json' ? `${JSON.stringify(value)}\n` : `${compileTemplate(format)(value)}\n`)
  return 0
}

/** Nested facts, indented. */
function facts(value: Readonly<Record<string, unknown>>): string {
  return Object.entries(value)
    .filter(([, one]) => one !== null && one !== '' && !(typeof one === 'object' && Object.keys(one as object).length === 0))
    .map(([key, one]) => ` ${key}: ${typeof one === 'object' ? JSON.stringify(one) : String(one)}\n`)
    .join('')
}

interface Event {
  readonly Type: string
  readonly Action: string
  readonly Actor: { readonly ID: string; readonly Attributes: Readonly<Record<string, string>> }
  readonly timeNano: number
}

function eventLine(event: Event): string {
  const attributes = Object.entries(event.Actor.Attributes).sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, value]) => `${key}=${value}`).join(', ')
  return `${new Date(event.timeNano / 1e6).toISOString()} ${event.Type} ${event.Action} ${event.Actor.ID}${attributes === '' ? '' : ` (${attributes})`}`
}

/** A plain connection to a daemon on this host. */
function dial(host: string): Promise<Socket> {
  const place = placeOf(host)
  if (!('path' in place) && place.port === undefined) throw new EngineError('invalid', `system dial-stdio: cannot connect to ${host}`)
  return new Promise((resolve, reject) => {
    const socket = createConnection({ ...('path' in place ? place : { host: place.host, port: place.port ?? 0 }), allowHalfOpen: true }, () => resolve(socket))
    socket.once('error', (cause) => reject(unreachable(host, cause)))
  })
}

interface VolumeRow {
  readonly Name: string
  readonly Driver: string
  readonly Mountpoint: string
}
/** Commands on volumes, networks and the daemon. */
export const SYSTEM_COMMANDS: readonly Command[] = [
  {
    names: ['version'], usage: 'version [OPTIONS]', help: 'Show the version information', flags: [FORMAT],
    run: async (context, parsed) => {
      const server = await context.api.json<Readonly<Record<string, unknown>>>('GET', '/version')
      const client = { Version: server['Version'], ApiVersion: server['ApiVersion'], Node: process.version }
      return print({ Client: client, Server: server }, parsed.text('format'), `Client:\n${facts(client)}\nServer:\n${facts({ ...server, Components: undefined, Platform: undefined })}`)
    },
  },
  {
    names: ['info', 'system info'], usage: 'info [OPTIONS]', help: 'Display system-wide information', flags: [FORMAT],
    run: async (context, parsed) => {
      const info = await context.api.json<Readonly<Record<string, unknown>>>('GET', '/info')
      return print(info, parsed.text('format'), facts(info))
    },
  },
  {
    names: ['ping'], usage: 'ping', help: 'Ask whether the daemon answers', flags: [],
    run: async (context) => {
      ;(await context.api.send('GET', '/_ping')).resume()
      process.stdout.write('OK\n')
      return 0
    },
  },
  {
    names: ['events', 'system events'], usage: 'events [OPTIONS]', help: 'Get real time events from the server', flags: [FILTER, { name: 'since', kind: 'text', help: 'Show all events created since timestamp' }, { name: 'until', kind: 'text', help: 'Stream events until this timestamp' }, { name: 'format', kind: 'text', help: 'Format output using a custom template' }],
    run: async (context, parsed) => {
      const response = await context.api.send('GET', '/events', { query: { since: parsed.text('since'), until: parsed.text('until'), filters: filterQuery(parsed.list('filter')) } })
      const format = parsed.text('format')
      const render = format === '' || format === 'json' ? undefined : compileTemplate(format)
      for await (const line of createInterface({ input: response })) {
        const event = JSON.parse(line) as Event
        process.stdout.write(`${render === undefined ? (format === 'json' ? line : eventLine(event)) : render(event)}\n`)
      }
      return 0
    },
  },
  {
    names: ['system dial-stdio'], usage: 'system dial-stdio', help: 'Pass the standard streams on to the daemon', hidden: true, flags: [],
    run: async (context) => {
      const socket = await dial(context.host)
      process.stdin.pipe(socket)
      await pipeline(socket, process.stdout)
      return 0
    },
  },
  {
    names: ['jobs'], usage: 'jobs', help: 'Show what the daemon is doing', flags: [],
    run: async (context) => {
      const jobs = await context.api.json<readonly { id: number; name: string; status: string; ms: number }[]>('GET', '/jobs')
      process.stdout.write(table([['JOB', 'NAME', 'STATUS', 'MS'], ...jobs.map((job) => [String(job.id), job.name, job.status, String(job.ms)])]))
      return 0
    },
  },
  {
    names: ['volume create'], usage: 'volume create [OPTIONS] [VOLUME]', help: 'Create a volume', flags: [{ name: 'driver', short: 'd', kind: 'text', help: 'Specify volume driver name' }, { name: 'label', kind: 'list', help: 'Set metadata for a volume' }, { name: 'opt', short: 'o', kind: 'list', help: 'Set driver specific options' }, { name: 'name', kind: 'text', help: 'Specify volume name' }],
    run: async (context, parsed) => {
      const { Name } = await context.api.json<VolumeRow>('POST', '/volumes/create', { json: { Name: parsed.rest[0] ?? parsed.text('name'), Driver: parsed.text('driver'), Labels: keyValues(parsed.list('label')), DriverOpts: keyValues(parsed.list('opt')) } })
      process.stdout.write(`${Name}\n`)
      return 0
    },
  },
  {
    names: ['volume ls', 'volume list'], usage: 'volume ls [OPTIONS]', help: 'List volumes', flags: [FILTER, QUIET, { name: 'format', kind: 'text', help: 'Format output using a custom template' }],
    run: async (context, parsed) => {
      const { Volumes } = await context.api.json<{ Volumes: readonly VolumeRow[] }>('GET', '/volumes', { query: { filters: filterQuery(parsed.list('filter')) } })
      process.stdout.write(parsed.bool('quiet') ? Volumes.map((volume) => `${volume.Name}\n`).join('') : listing(Volumes, parsed.text('format') || context.setting('volumesFormat'), [['DRIVER', (v) => v.Driver], ['VOLUME NAME', (v) => v.Name]], { Driver: 'DRIVER', Name: 'VOLUME NAME', Mountpoint: 'MOUNTPOINT' }))
      return 0
    },
  },
  { names: ['volume inspect'], usage: 'volume inspect [OPTIONS] VOLUME [VOLUME...]', help: 'Display detailed information on one or more volumes', flags: [FORMAT], run: (context, parsed) => inspectAll(parsed.rest, parsed.text('format'), (name) => context.api.json('GET', `/volumes/${name}`), sortKeys) },
  { names: ['volume rename'], usage: 'volume rename VOLUME NEW_NAME', help: 'Give a volume another name (ours)', flags: [], run: async (context, parsed) => ((await context.api.send('POST', `/volumes/${parsed.rest[0]}/rename`, { query: { name: parsed.rest[1] } })).resume(), 0) },
  {
    names: ['volume export'], usage: 'volume export [OPTIONS] VOLUME', help: "Write a volume's files as a tar archive (ours)", flags: [{ name: 'output', short: 'o', kind: 'text', help: 'Write to a file, instead of STDOUT' }],
    run: async (context, parsed) => (await pipeline(await context.api.send('GET', `/volumes/${parsed.rest[0]}/archive`), parsed.text('output') === '' ? process.stdout : createWriteStream(parsed.text('output'))), 0),
  },
  {
    names: ['volume import'], usage: 'volume import VOLUME [FILE]', help: 'Put the files of a tar archive into a volume (ours)', flags: [],
    run: async (context, parsed) => ((await context.api.send('PUT', `/volumes/${parsed.rest[0]}/archive`, { body: parsed.rest[1] === undefined || parsed.rest[1] === '-' ? process.stdin : createReadStream(parsed.rest[1]), contentType: 'application/x-tar' })).resume(), 0),
  },
  { names: ['volume rm', 'volume remove'], usage: 'volume rm [OPTIONS] VOLUME [VOLUME...]', help: 'Remove one or more volumes', flags: [{ name: 'force', short: 'f', kind: 'bool', help: 'Force the removal of one or more volumes' }], run: (context, parsed) => each(parsed.rest, async (name) => (await context.api.send('DELETE', `/volumes/${name}`, { query: { force: parsed.bool('force') } }), name)) },
  {
    names: ['daemon stop'], usage: 'daemon stop', help: 'End the daemon that runs in the background; containers run on', offline: true, flags: [{ name: 'pidfile', short: 'p', kind: 'text', help: 'Path of the daemon PID file' }],
    run: async (_, parsed) => stopDaemon(parsed.text('pidfile') || '/run/gantry.pid'),
  },
]
