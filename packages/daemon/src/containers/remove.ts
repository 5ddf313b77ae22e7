import type { Graph } from '@gantry/graph'
import type { Supervisor } from '@gantry/runtime'
import { EngineError, logger } from '@gantry/std'
import { type MakePorts, unmakeVolume } from '../volumes/make.ts'
import type { Container } from './container.ts'
import type { ContainerStore } from './store.ts'

const log = logger('daemon.remove')

/** What removal needs of the rest of the house. */
export interface RemovePorts extends MakePorts {
  readonly store: ContainerStore
  readonly graph: Graph
  readonly supervisor: Supervisor
  containerDirectory(id: string): string
  kill(container: Container): Promise<void>
  emit(container: Container, action: string): void
}

/** Takes a container that does not run out of the world. */
export async function removeContainer(ports: RemovePorts, container: Container, options: { readonly volumes: boolean }): Promise<void> {
  container.removing = true
  if (container.restartTimer !== undefined) clearTimeout(container.restartTimer)
  ports.graph.removeContainer(container.id)
  for (const hold of container.logReaders) hold()
  ports.graph.discard(ports.containerDirectory(container.id))
  ports.store.remove(container)
  if (options.volumes) await removeAnonymous(ports, container)
  for (const one of container.waiting) one.expected.cancel('the container has been removed')
  ports.emit(container, 'destroy')
  for (const heard of [...container.waiters.removal]) heard(container.state.exitCode, '')
  container.waiters.removal.clear()
  for (const heard of [...container.waiters.exit]) heard(container.state.exitCode, '')
  container.waiters.exit.clear()
  void container.tidy.then(() => ports.supervisor.driver.forget(container.id))
}

async function removeAnonymous(ports: RemovePorts, container: Container): Promise<void> {
  for (const mount of container.document.mounts) {
    if (mount.type !== 'volume' || !mount.anonymous) continue
    const used = ports.store.list().some((other) => other.document.mounts.some((one) => one.type === 'volume' && one.name === mount.name))
    const volume = used ? undefined : ports.volumes.get(mount.name)
    if (volume !== undefined) await unmakeVolume(ports, volume).catch((cause: unknown) => log.warn('cannot remove a volume of its own', { id: container.id, volume: volume.name, cause }))
  }
}

/** `DELETE /containers/{id}`: refuses what runs, unless forced. */
export async function removeOnRequest(ports: RemovePorts, container: Container, options: { readonly volumes: boolean; readonly force: boolean }): Promise<void> {
  if (container.removing) throw new EngineError('conflict', `removal of container ${container.name} is already in progress`)
  if (container.task !== undefined || container.state.starting) {
    if (!options.force) {
      const what = container.state.paused ? 'container is paused and must be unpaused first' : 'container is running: stop the container before removing or force remove'
      throw new EngineError('conflict', `cannot remove container "${container.name}": ${what}`)
    }
    container.removing = true
    await ports.kill(container)
    await container.tidy
  }
  // An auto-removed container may have gone while it was being killed.
  if (ports.store.get(container.id) !== undefined) await removeContainer(ports, container, options)
}
