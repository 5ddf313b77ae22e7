import { mkdirSync, rmSync } from 'node:fs'
import type { Trees } from '@gantry/linux'
import type { SizeLimit } from '../driver.ts'
import { linkOnce, makeInitPaths } from '../init-layer.ts'

/** Names of file systems by their magic (`linux/magic.h`). */
export const BACKING: Readonly<Record<number, string>> = { 0xef53: 'extfs', 0x58465342: 'xfs', 0x9123683e: 'btrfs', 0x01021994: 'tmpfs' }
/** Longest options of mount(2), in bytes. */
export const MOUNT_DATA_LIMIT = 4095
/** The link, beside those of layers, to what every container finds in place. */
export const INIT_LINK = 'init'

/** The link to a directory with nothing in it: overlayfs wants two layers where nothing is writable. */
export const EMPTY_LINK = 'none'

/** The layer just below a container's own, shared by all. */
export function makeInitLayer(home: string): void {
  mkdirSync(`${home}/init/diff`, { recursive: true, mode: 0o755 })
  makeInitPaths(`${home}/init/diff`)
  linkOnce('../init/diff', `${home}/l/${INIT_LINK}`)
  mkdirSync(`${home}/init/none`, { recursive: true, mode: 0o755 })
  linkOnce('../init/none', `${home}/l/${EMPTY_LINK}`)
}

/** A container's own directories; with a limit, all that comes into them counts. */
export async function makeUpper(trees: Trees, directory: string, limit: SizeLimit | undefined): Promise<void> {
  mkdirSync(directory, { mode: 0o710 })
  try {
    if (limit !== undefined) await trees.limit(directory, { kind: 'project', ...limit })
    mkdirSync(`${directory}/diff`, { mode: 0o755 })
    mkdirSync(`${directory}/work`, { mode: 0o700 })
  } catch (error) {
    rmSync(directory, { recursive: true })
    throw error
  }
}
