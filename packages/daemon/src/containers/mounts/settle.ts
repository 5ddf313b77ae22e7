import type { Image } from '@gantry/graph'
import type { UndoStack } from '@gantry/std'
import { type MakePorts, makeVolume, unmakeVolume } from '../../volumes/make.ts'
import type { SettledMount } from '../record.ts'
import type { WantedMount } from './parse.ts'

/** What settling mounts needs of the rest of the house. */
export interface SettleMountPorts extends MakePorts {
  resolveImage(name: string): Image
}

/** Makes the volumes that are not there; finds the images that are mounted. */
export async function settleMounts(ports: SettleMountPorts, wanted: readonly WantedMount[], undo: UndoStack): Promise<readonly SettledMount[]> {
  const mounts: SettledMount[] = []
  for (const { mount, volume: request } of wanted) {
    if (mount.type === 'volume') {
      const labels = { ...(mount.anonymous && { 'com.docker.volume.anonymous': '' }), ...request?.labels }
      const { volume, made } = await makeVolume(ports, { name: mount.name, driver: request?.driver ?? '', labels, options: request?.options ?? {}, anonymous: mount.anonymous })
      if (made && mount.anonymous) undo.add('remove its volume', () => unmakeVolume(ports, volume))
      mounts.push({ ...mount, name: volume.name, source: volume.mountPoint, ...(volume.driver !== 'local' && { driver: volume.driver }) })
    } else if (mount.type === 'image') {
      const { id } = ports.resolveImage(mount.name)
      mounts.push({ ...mount, source: id, imageId: id })
    } else mounts.push(mount)
  }
  return mounts
}
