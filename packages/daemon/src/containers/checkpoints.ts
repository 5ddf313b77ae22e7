import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs'
import { EngineError } from '@gantry/std'
import { bundleOf } from './bundle.ts'
import type { Container } from './container.ts'
import type { StartPorts } from './start.ts'

/** What checkpoints need of the rest of the house. */
export interface CheckpointPorts {
  readonly start: Omit<StartPorts, 'watch'>
  containerDirectory(id: string): string
}

const NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$/

/** Where a container's checkpoint of this name lies; `directory` is another place for all of them. */
export function checkpointPath(ports: Pick<CheckpointPorts, 'containerDirectory'>, container: Container, name: string, directory = ''): string {
  if (!NAME.test(name)) throw new EngineError('invalid', `Invalid checkpoint ID (${name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed`)
  if (directory !== '' && !directory.startsWith('/')) throw new EngineError('invalid', `checkpoint directory: expected an absolute path, got "${directory}"`)
  return `${directory === '' ? `${ports.containerDirectory(container.id)}/checkpoints` : directory}/${name}`
}

/** `GET /containers/{id}/checkpoints` */
export function listCheckpoints(ports: CheckpointPorts, container: Container, directory: string): readonly { readonly Name: string }[] {
  const above = checkpointPath(ports, container, 'x', directory).slice(0, -2)
  return existsSync(above) ? readdirSync(above, { withFileTypes: true }).filter((entry) => entry.isDirectory()).map((entry) => ({ Name: entry.name })) : []
}

/** `POST /containers/{id}/checkpoints`: with `exit` the container ends, and can be started from there. */
export async function createCheckpoint(ports: CheckpointPorts, container: Container, request: { readonly name: string; readonly directory: string; readonly exit: boolean }): Promise<void> {
  const { task, sandbox } = container
  if (task === undefined || sandbox === undefined) throw new EngineError('conflict', `container ${container.id} is not running`)
  if (container.state.paused) throw new EngineError('conflict', `container ${container.id} is paused, unpause it before a checkpoint`)
  const path = checkpointPath(ports, container, request.name, request.directory)
  if (existsSync(path)) throw new EngineError('conflict', `checkpoint with name ${request.name} already exists for container ${container.name}`)
  mkdirSync(path.slice(0, path.lastIndexOf('/')), { recursive: true, mode: 0o700 })
  const { spec } = await bundleOf(ports.start, container, ports.start.graph.images.get(container.document.imageId), sandbox)
  await ports.start.supervisor.driver.checkpoint(container.id, { pid: task.pid, spec, directory: path, leaveRunning: !request.exit })
  ports.start.emit(container, 'checkpoint')
}

/** `DELETE /containers/{id}/checkpoints/{checkpoint}` */
export function removeCheckpoint(ports: CheckpointPorts, container: Container, name: string, directory: string): void {
  const path = checkpointPath(ports, container, name, directory)
  if (!existsSync(path)) throw new EngineError('not-found', `checkpoint ${name} does not exist for container ${container.name}`)
  rmSync(path, { recursive: true })
}
