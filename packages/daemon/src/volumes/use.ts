import { keyedLock, logger } from '@gantry/std'
import type { Volumes } from './volumes.ts'

const log = logger('daemon.volumes')

/** Keeps what volumes' options say mounted, from their first user to their last. */
export interface VolumeUse {
  /** For a container that is about to have it. */
  take(name: string): Promise<void>
  /** Unmounts those that nobody has any more. */
  release(names: readonly string[]): Promise<void>
  /** For as long as its files are read or written. */
  during(name: string, work: () => Promise<void>): Promise<void>
  /** After a boot: what a killed daemon has left mounted. */
  sweep(): Promise<void>
}

/** `users`: names of the volumes that containers have, or are about to have. */
export function createVolumeUse(volumes: Volumes, users: () => ReadonlySet<string>): VolumeUse {
  // One change of one volume at a time: two starts at once would mount it twice.
  const lock = keyedLock()
  const busy: string[] = []
  const take = (name: string): Promise<void> => lock.run(name, () => volumes.mount(name))
  const leave = (name: string): Promise<void> => lock.run(name, async () => (busy.includes(name) || users().has(name) ? undefined : volumes.unmount(name)))
  return {
    take,
    async release(names) {
      for (const name of new Set(names)) await leave(name)
    },
    async during(name, work) {
      busy.push(name)
      try {
        await take(name)
        await work()
      } finally {
        busy.splice(busy.indexOf(name), 1)
        await leave(name)
      }
    },
    async sweep() {
      for (const { name } of volumes.list()) await leave(name).catch((cause: unknown) => log.warn('cannot unmount a volume that nobody has', { name, cause }))
    },
  }
}
