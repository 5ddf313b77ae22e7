import { closeSync, mkdirSync, openSync, symlinkSync } from 'node:fs'
import { hasCode } from '@gantry/std'

const DIRECTORIES = ['dev', 'dev/pts', 'dev/shm', 'proc', 'sys', 'etc'] as const
const FILES = ['.dockerenv', 'dev/console', 'etc/hosts', 'etc/hostname', 'etc/resolv.conf'] as const
const MTAB = 'etc/mtab'

/** What every container finds in place, whatever its image: mount points and files that are bound over. Not a change of the container's. */
export const INIT_PATHS: ReadonlySet<string> = new Set([...DIRECTORIES, ...FILES, MTAB])

/** Makes a symbolic link; one that is there stays. */
export function linkOnce(target: string, path: string): void {
  try {
    symlinkSync(target, path)
  } catch (error) {
    if (!hasCode(error, 'EEXIST')) throw error
  }
}

/** Puts them into a directory; what is there stays. */
export function makeInitPaths(root: string): void {
  for (const directory of DIRECTORIES) mkdirSync(`${root}/${directory}`, { recursive: true, mode: 0o755 })
  for (const file of FILES) closeSync(openSync(`${root}/${file}`, 'a', 0o644))
  linkOnce('/proc/mounts', `${root}/${MTAB}`)
}
