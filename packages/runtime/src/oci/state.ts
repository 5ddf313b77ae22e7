import { mkdirSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { startTimeOf } from '@gantry/linux'
import { EngineError, hasCode, readText, replaceFile } from '@gantry/std'

/** What is kept of a container between two calls. */
export interface KeptContainer {
  readonly id: string
  readonly bundle: string
  readonly rootfs: string
  /** The init on the host, and its start time: a number alone may have been given to another. */
  readonly pid: number
  readonly startTime: string
  /** RFC 3339 */
  readonly created: string
  readonly cgroupsPath: string
  readonly annotations: Readonly<Record<string, string>>
}

/** Containers of one `--root`, a directory each. */
export interface StateStore {
  directory(id: string): string
  gate(id: string): string
  /** Takes the name; one that is taken is an error. */
  reserve(id: string): void
  save(container: KeptContainer): void
  load(id: string): KeptContainer
  list(): readonly KeptContainer[]
  remove(id: string): void
  status(container: KeptContainer): 'created' | 'running' | 'paused' | 'stopped'
}

const ID = /^[\w+.-]{1,1024}$/

/** Opens the store below a directory. `isPaused` asks the container's cgroup. */
export function stateStore(root: string, isPaused: (container: KeptContainer) => boolean): StateStore {
  const directory = (id: string): string => {
    if (!ID.test(id) || id === '.' || id === '..') throw new EngineError('invalid', `invalid container id: "${id}"`)
    return `${root}/${id}`
  }
  const gate = (id: string): string => `${directory(id)}/gate`
  return {
    directory,
    gate,
    reserve(id) {
      mkdirSync(root, { recursive: true, mode: 0o711 })
      try {
        mkdirSync(directory(id), { mode: 0o711 })
      } catch (cause) {
        if (hasCode(cause, 'EEXIST')) throw new EngineError('conflict', `container with given ID already exists: ${id}`, { cause })
        throw cause
      }
    },
    save: (container) => replaceFile(`${directory(container.id)}/state.json`, JSON.stringify(container)),
    load(id) {
      try {
        return JSON.parse(readFileSync(`${directory(id)}/state.json`, 'utf8')) as KeptContainer
      } catch (cause) {
        if (hasCode(cause, 'ENOENT')) throw new EngineError('not-found', `container does not exist: ${id}`, { cause })
        throw cause
      }
    },
    list() {
      const names = statSync(root, { throwIfNoEntry: false }) === undefined ? [] : readdirSync(root)
      return names.flatMap((id) => {
        const text = readText(`${root}/${id}/state.json`)
        return text === undefined ? [] : [JSON.parse(text) as KeptContainer]
      })
    },
    remove: (id) => rmSync(directory(id), { recursive: true, force: true }),
    status(container) {
      if (startTimeOf(container.pid) !== container.startTime) return 'stopped'
      if (statSync(gate(container.id), { throwIfNoEntry: false }) !== undefined) return 'created'
      return isPaused(container) ? 'paused' : 'running'
    },
  }
}
