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
  /** Resolves when everything that was discarded is gone. */
  empty(): Promise<void>
  /** Removes at once what waits, and the heap itself; for a clean stop. */
  flush(): void
}

/** What a discarder needs. */
export interface DiscarderOptions {
  /** The heap, on the same file system as what is discarded. What an earlier process left in it is removed too. */
  readonly directory: string
  /** Removes one name below the heap; by default file by file from here. */
  readonly remove?: (directory: string, name: string) => Promise<void>
  readonly onError: (name: string, cause: unknown) => void
}

/** Makes a discarder. */
export function createDiscarder({ directory, onError, remove = (heap, name) => rm(`${heap}/${name}`, { recursive: true, force: true }) }: DiscarderOptions): Discarder {
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  let timer: NodeJS.Timeout | undefined
  let sweeping: Promise<void> = Promise.resolve()
  const sweep = async (): Promise<void> => {
    for (const name of exists(directory) ? readdirSync(directory) : []) await remove(directory, name).catch((cause: unknown) => onError(name, cause))
  }
  const empty = (): Promise<void> => {
    if (timer !== undefined) clearTimeout(timer)
    timer = undefined
    sweeping = sweeping.then(sweep)
    return sweeping
  }
  const later = (): void => {
    if (timer !== undefined) clearTimeout(timer)
    timer = setTimeout(() => void empty(), QUIET_MS)
    timer.unref()
  }
  later()
  return {
    discard(path) {
      try {
        renameSync(path, `${directory}/${randomHex(8)}`)
      } catch (error) {
        if (!hasCode(error, 'ENOENT')) throw error
        return
      }
      later()
    },
    empty,
    flush() {
      if (timer !== undefined) clearTimeout(timer)
      rmSync(directory, { recursive: true, force: true })
    },
  }
}
