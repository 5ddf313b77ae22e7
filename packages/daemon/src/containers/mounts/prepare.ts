import { mkdirSync, statSync } from 'node:fs'
import type { Image } from '@gantry/graph'
import type { UndoStack } from '@gantry/std'
import type { VolumeUse } from '../../volumes/use.ts'
import type { Container } from '../container.ts'
import type { SettledMount } from '../record.ts'
import { checkPropagation } from './parse.ts'

/** What mounts need of the rest of the house before a start. */
export interface StartMountPorts {
  readonly volumeUse: VolumeUse
  /** Tells that a container has its volumes, or has them no more. */
  emitVolumes(container: Container, action: 'mount' | 'unmount'): void
  fillVolume(container: Container, mount: SettledMount, image: Image | undefined): Promise<void>
}

/** Names of the volumes that it has. */
export function volumesOf(container: Container): readonly string[] {
  return container.document.mounts.filter((mount) => mount.type === 'volume').map((mount) => mount.name)
}

/** A bind source that is missing is made, as Docker does for `-v`. */
export function makeSource(mount: SettledMount): void {
  if (mount.type === 'bind' && statSync(mount.source, { throwIfNoEntry: false }) === undefined) mkdirSync(mount.source, { recursive: true })
}

/** Sources that are there, volumes that are mounted and, where they are new, filled. */
export async function prepareMounts(ports: StartMountPorts, container: Container, image: Image | undefined, undo: UndoStack): Promise<void> {
  const { mounts } = container.document
  mounts.forEach(makeSource)
  checkPropagation(mounts)
  undo.add('let go of its volumes', () => {
    container.state.starting = false
    return ports.volumeUse.release(volumesOf(container))
  })
  const volumes = mounts.filter((mount) => mount.type === 'volume')
  for (const mount of volumes) await ports.volumeUse.take(mount.name)
  ports.emitVolumes(container, 'mount')
  for (const mount of volumes) if (!mount.noCopy) await ports.fillVolume(container, mount, image)
}
