import { copyDown, type Graph, type Image } from '@gantry/graph'
import type { Trees } from '@gantry/runtime'
import type { Volumes } from '../../volumes/volumes.ts'
import type { Container } from '../container.ts'
import type { SettledMount } from '../record.ts'

/** What filling a volume stands on. */
export interface FillPorts {
  readonly graph: Graph
  readonly trees: Trees
  readonly volumes: Volumes
  readonly execRoot: string
}

/** Copies what the image has at the mount point into a volume, only while the volume is new and empty (CVE-2020-1726). */
export async function fillVolume(ports: FillPorts, container: Container, mount: SettledMount, image: Image | undefined): Promise<void> {
  const volume = ports.volumes.get(mount.name)
  if (volume === undefined) {
    ports.volumes.create({ name: mount.name, labels: {}, options: {}, anonymous: mount.anonymous })
    return
  }
  if (image === undefined || container.state.startedAt !== '' || !ports.volumes.isEmpty(volume)) return
  const look = ports.graph.look(undefined, image)
  const found = look.find(mount.destination)
  if (found?.kind !== 'directory') return
  const root = { kind: 'mount' as const, root: ports.graph.driver.imageRecipe(ports.graph.places(image)), mountPoint: `${ports.execRoot}/rootfs`, binds: [] }
  await copyDown(ports.trees, root, mount.destination, volume.mountPoint, { oneFilesystem: true })
}
