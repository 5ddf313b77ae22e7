import { posix } from 'node:path'
import type { HostConfig, MountRequest } from '@gantry/api'
import type { Graph } from '@gantry/graph'
import { type LiveMounts, sourceStat } from '@gantry/runtime'
import { EngineError, undoStack, type UndoStack } from '@gantry/std'
import type { VolumeUse } from '../../volumes/use.ts'
import type { Container } from '../container.ts'
import type { ContainerDocument, SettledMount } from '../record.ts'
import { settleMounts, type SettleMountPorts } from './settle.ts'
import { checkPropagation, parseBind, parseMount } from './parse.ts'
import { placeBelow, readyMounts } from './ready.ts'
import { bindOf, usersOf } from '../spec/spec.ts'
import { makeSource } from './prepare.ts'

/** What changing mounts needs of the rest of the house. */
export interface LiveMountPorts extends SettleMountPorts {
  readonly graph: Graph
  readonly liveMounts: LiveMounts
  readonly volumeUse: VolumeUse
  readonly users: Parameters<typeof usersOf>[0]['users']
  replace(container: Container, document: ContainerDocument): void
}

/** Ours: mounts that a container has from now on, and destinations of those that it has no more. */
export interface MountChange {
  readonly add: readonly MountRequest[]
  readonly remove: readonly string[]
}

const isLive = (mount: SettledMount): boolean => mount.type === 'bind' || mount.type === 'volume'
const tidyPath = (path: string): string => posix.normalize(path).replace(/(.)\/+$/, '$1')

/** Where a mount's source is on the host, its subpath included. */
const sourceOf = (mount: SettledMount): string => (mount.subpath === '' ? mount.source : placeBelow(mount.source, mount.subpath))

function goneMounts(container: Container, destinations: readonly string[]): readonly SettledMount[] {
  return destinations.map((destination) => {
    const found = container.document.mounts.find((mount) => mount.destination === tidyPath(destination))
    if (found === undefined) throw new EngineError('invalid', `nothing of container ${container.name} is mounted on ${destination}`)
    if (!isLive(found)) throw new EngineError('unsupported', `the mount on ${destination} is of type ${found.type}: only binds and volumes can be removed`)
    return found
  })
}

function withoutMounts(hostConfig: HostConfig, gone: ReadonlySet<string>): HostConfig {
  const { Mounts = [], Binds, ...rest } = hostConfig
  const mounts = Mounts.filter((one) => !gone.has(tidyPath(one.Target)))
  return { ...rest, Binds: Binds === null ? null : Binds.filter((spec) => !gone.has(parseBind(spec).destination)), ...(mounts.length > 0 && { Mounts: mounts }) }
}

/** Carries a change out in a container that runs; what has been done is undone when a part of it fails. */
async function changeLive(ports: LiveMountPorts, container: Container, pid: number, { gone, come }: { readonly gone: readonly SettledMount[]; readonly come: readonly SettledMount[] }, undo: UndoStack): Promise<void> {
  const users = usersOf({ document: container.document, users: ports.users })
  const add = async (mount: SettledMount): Promise<void> => {
    const [ready] = readyMounts(ports.graph, [mount])
    if (ready !== undefined) await ports.liveMounts.add(pid, bindOf(ready, users !== undefined), users)
  }
  const remove = (mount: SettledMount): Promise<void> => ports.liveMounts.remove(pid, mount.destination, sourceStat(sourceOf(mount)))
  for (const mount of gone) {
    await remove(mount)
    undo.add(`mount ${mount.destination} again`, () => add(mount))
  }
  for (const mount of come) {
    if (mount.type === 'volume') {
      undo.add('let go of its volume', () => ports.volumeUse.release([mount.name]))
      await ports.volumeUse.take(mount.name)
    }
    await add(mount)
    undo.add(`unmount ${mount.destination}`, () => remove(mount))
  }
}

/** Changes what is mounted in a container, now where it runs, and at each start from now on. */
export async function changeMounts(ports: LiveMountPorts, container: Container, change: MountChange): Promise<void> {
  await using undo = undoStack()
  const { document } = container
  const gone = goneMounts(container, change.remove)
  const kept = document.mounts.filter((mount) => !gone.includes(mount))
  const wanted = change.add.map(parseMount)
  for (const { mount } of wanted) {
    if (!isLive(mount)) throw new EngineError('unsupported', `mount on ${mount.destination}: only binds and volumes can be added to a container, not the type ${mount.type}`)
    if ([...kept, ...wanted.map((one) => one.mount)].some((other) => other !== mount && other.destination === mount.destination)) throw new EngineError('invalid', `Duplicate mount point: ${mount.destination}`)
  }
  const come = await settleMounts(ports, wanted, undo)
  come.forEach(makeSource)
  checkPropagation(come)
  if (container.task !== undefined) await changeLive(ports, container, container.task.pid, { gone, come }, undo)
  const hostConfig = withoutMounts(document.hostConfig, new Set(gone.map((mount) => mount.destination)))
  ports.replace(container, { ...container.document, mounts: [...kept, ...come], hostConfig: change.add.length === 0 ? hostConfig : { ...hostConfig, Mounts: [...(hostConfig.Mounts ?? []), ...change.add] } })
  undo.commit()
  await ports.volumeUse.release(gone.filter((mount) => mount.type === 'volume').map((mount) => mount.name))
}
