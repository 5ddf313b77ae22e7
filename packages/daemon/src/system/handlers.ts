import { formatNanos, EngineError } from '@gantry/std'
import type { Container } from '../containers/container.ts'
import type { Handlers, JobView } from '../engine/job.ts'
import type { SystemJobs } from '../jobs/system.ts'
import { type MakePorts, makeVolume, unmakeVolume } from '../volumes/make.ts'
import type { Volume } from '../volumes/volumes.ts'
import { diskUsage, type DiskUsagePorts } from './disk-usage.ts'
import { type Events, eventMatches } from './events.ts'

/** What the jobs of the system stand on. */
export interface SystemPorts extends MakePorts {
  readonly events: Events
  readVolume(volume: Volume, write: (chunk: Buffer) => Promise<void>): Promise<void>
  writeVolume(volume: Volume, archive: AsyncIterable<Uint8Array>): Promise<void>
  /** A container's record changes with the name of its volume. */
  renameVolume(from: string, to: string): void
  /** Bytes of the files in a directory. */
  bytesIn(path: string): Promise<number>
  containers(): readonly Container[]
  info(): unknown
  version(): unknown
  jobs(): readonly JobView[]
  readonly usage: Omit<DiskUsagePorts, 'volumeView' | 'volumeUsers'>
}

const stamp = (ms: number): string => formatNanos(BigInt(ms) * 1_000_000n)

function volumeView(volume: Volume): object {
  return { CreatedAt: stamp(volume.createdAt).replace(/\.\d+/, ''), Driver: volume.driver, Labels: Object.keys(volume.labels).length === 0 ? null : volume.labels, Mountpoint: volume.mountPoint, Name: volume.name, Options: Object.keys(volume.options).length === 0 ? null : volume.options, Scope: 'local' }
}

function volumeUsers(ports: SystemPorts, name: string): readonly string[] {
  return ports.containers().filter((container) => container.document.mounts.some((mount) => mount.type === 'volume' && mount.name === name)).map((container) => container.id)
}

function volumeHandlers(ports: SystemPorts): Pick<Handlers<SystemJobs>, 'volume.list' | 'volume.create' | 'volume.inspect' | 'volume.rename' | 'volume.export' | 'volume.import' | 'volume.remove' | 'volume.prune'> {
  const find = (name: string): Volume => {
    const volume = ports.volumes.get(name)
    if (volume === undefined) throw new EngineError('not-found', `get ${name}: no such volume`)
    return volume
  }
  return {
    'volume.list': async ({ input: { filters } }) =>
      ports.volumes
        .list()
        .filter((volume) => filters.matches('driver', volume.driver) && filters.labels('label', volume.labels) && (filters.none('name') || filters.some('name', (name) => volume.name.includes(name))) && (filters.flag('dangling') === undefined || filters.flag('dangling') === (volumeUsers(ports, volume.name).length === 0)))
        .map(volumeView),
    'volume.create': async ({ input }) => volumeView((await makeVolume(ports, input)).volume),
    'volume.inspect': async ({ input }) => volumeView(find(input.name)),
    'volume.rename': async ({ input }) => {
      find(input.name)
      const running = ports.containers().filter((container) => container.task !== undefined && volumeUsers(ports, input.name).includes(container.id))
      if (running.length > 0) throw new EngineError('conflict', `rename ${input.name}: volume is in use by a running container - [${running.map((one) => one.id).join(', ')}]`)
      ports.renameVolume(input.name, input.to)
      return undefined
    },
    'volume.export': async ({ input, stdio }) => {
      const volume = find(input.name)
      input.onReady()
      await ports.readVolume(volume, async (chunk) => stdio.write?.(chunk))
      return undefined
    },
    'volume.import': async ({ input, stdio }) => {
      const volume = find(input.name)
      if (stdio.input === undefined) throw new EngineError('invalid', 'import needs an archive')
      await ports.writeVolume(volume, stdio.input)
      return undefined
    },
    'volume.remove': async ({ input }) => {
      if (input.force && ports.volumes.get(input.name) === undefined) return undefined
      const volume = find(input.name)
      const users = volumeUsers(ports, volume.name)
      if (users.length > 0) throw new EngineError('conflict', `remove ${volume.name}: volume is in use - [${users.join(', ')}]`)
      await unmakeVolume(ports, volume)
      return undefined
    },
    'volume.prune': async ({ input }) => {
      const all = input.filters.flag('all') ?? false
      const removed = ports.volumes.list().filter((volume) => (all || volume.anonymous) && volumeUsers(ports, volume.name).length === 0 && input.filters.labels('label', volume.labels))
      let bytes = 0
      for (const volume of removed) {
        bytes += await ports.bytesIn(volume.mountPoint)
        await unmakeVolume(ports, volume)
      }
      return { removed: removed.map((volume) => volume.name), bytes }
    },
  }
}

/** All jobs of volumes and the daemon itself. */
export function systemHandlers(ports: SystemPorts): Handlers<SystemJobs> {
  return {
    ...volumeHandlers(ports),
    'system.info': async () => ports.info(),
    'system.version': async () => ports.version(),
    'system.usage': ({ input }) => {
      const usage: DiskUsagePorts = {
        ...ports.usage,
        volumeView: (name) => {
          const volume = ports.volumes.get(name)
          return volume === undefined ? {} : volumeView(volume)
        },
        volumeUsers: (name) => volumeUsers(ports, name),
      }
      return diskUsage(usage, input)
    },
    'system.jobs': async () => ports.jobs(),
    'system.events': ({ input, signal }) =>
      new Promise((resolve) => {
        const done = (): void => {
          unsubscribe()
          clearTimeout(timer)
          signal.removeEventListener('abort', done)
          resolve(undefined)
        }
        const show = (event: Parameters<typeof input.onEvent>[0]): void => {
          if (eventMatches(input.filters, event)) input.onEvent(event)
        }
        if (input.since !== undefined) for (const event of ports.events.since(input.since)) if (input.until === undefined || BigInt(event.timeNano) <= input.until) show(event)
        const leftMs = input.until === undefined ? undefined : Number(input.until / 1_000_000n) - Date.now()
        const unsubscribe = leftMs !== undefined && leftMs <= 0 ? () => undefined : ports.events.subscribe(show)
        const timer = leftMs === undefined ? undefined : setTimeout(done, Math.max(0, leftMs))
        signal.addEventListener('abort', done)
        if (signal.aborted) done()
      }),
  }
}
