import { readdirSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { hasCode, logger, readText } from '@gantry/std'

const log = logger('runtime.state')

/** What is kept of a running container beside its shim's socket, for a supervisor that comes back without being told. */
export interface TaskState {
  readonly id: string
  readonly runtime: string
  readonly pid: number
  readonly shimPid: number
  /** Empty: below the manager's parent. */
  readonly cgroupsPath: string
  /** Milliseconds since 1970. */
  readonly startedAt: number
}

/** Writes `state.json` into the container's directory; a start does not wait for it. */
export function keepState(directory: string, state: TaskState): void {
  writeFile(`${directory}/${state.id}/state.json`, JSON.stringify(state), { mode: 0o600 }).catch((cause: unknown) => {
    // A short-lived container is gone with its directory.
    if (!hasCode(cause, 'ENOENT')) log.warn('cannot keep the state of a container', { id: state.id, cause })
  })
}

/** Finds them again; one that cannot be read is left to whoever asks for its container. */
export function keptStates(directory: string): readonly TaskState[] {
  return names(directory).flatMap((id) => {
    const text = readText(`${directory}/${id}/state.json`)
    if (text === undefined) return []
    try {
      return [JSON.parse(text) as TaskState]
    } catch (cause) {
      if (!(cause instanceof SyntaxError)) throw cause
      log.warn('the state of a container cannot be read', { id, cause })
      return []
    }
  })
}

function names(directory: string): readonly string[] {
  try {
    return readdirSync(directory)
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return []
    throw error
  }
}
