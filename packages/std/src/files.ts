import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { hasCode } from './errors.ts'
import { randomHex } from './ids.ts'

/** The text of a file, or undefined when it is not there. */
export function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ENOTDIR')) return undefined
    throw error
  }
}

/** Writes beside the file, then renames over it: a reader sees the old or the new text. */
export function replaceFile(path: string, text: string, mode = 0o600): void {
  const temporary = `${path}.new`
  writeFileSync(temporary, text, { mode })
  renameSync(temporary, path)
}

/** True when something is there. */
export function exists(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false }) !== undefined
}

const QUIET_MS = 500

/** Removes directories off the request path: out of the way at once, from the disk when it is quiet. */
export interface Discarder {
  discard(path: string): void
  /** Removes at once what waits; for a clean stop. */
  flush(): void
}

/** Makes a discarder whose heap lies in `directory`, on the same file system as what is discarded. */
export function createDiscarder(directory: string, onError: (cause: unknown) => void): Discarder {
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  let timer: NodeJS.Timeout | undefined
  const sweep = async (): Promise<void> => {
    timer = undefined
    for (const name of readdirSync(directory)) await rm(`${directory}/${name}`, { recursive: true, force: true })
  }
  return {
    discard(path) {
      try {
        renameSync(path, `${directory}/${randomHex(8)}`)
      } catch (error) {
        if (!hasCode(error, 'ENOENT')) throw error
        return
      }
      if (timer !== undefined) clearTimeout(timer)
      timer = setTimeout(() => void sweep().catch(onError), QUIET_MS)
      timer.unref()
    },
    flush() {
      if (timer !== undefined) clearTimeout(timer)
      rmSync(directory, { recursive: true, force: true })
    },
  }
}
