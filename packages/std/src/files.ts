import { readFileSync, renameSync, statSync, writeFileSync } from 'node:fs'
import { hasCode } from './errors.ts'

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
