import { mkdirSync } from 'node:fs'
import { linkOnce, makeInitPaths } from '../init-layer.ts'

/** Names of file systems by their magic (`linux/magic.h`). */
export const BACKING: Readonly<Record<number, string>> = { 0xef53: 'extfs', 0x58465342: 'xfs', 0x9123683e: 'btrfs', 0x01021994: 'tmpfs' }
/** Longest options of mount(2), in bytes. */
export const MOUNT_DATA_LIMIT = 4095
/** The link, beside those of layers, to what every container finds in place. */
export const INIT_LINK = 'init'

/** The layer just below a container's own, shared by all. */
export function makeInitLayer(home: string): void {
  mkdirSync(`${home}/init/diff`, { recursive: true, mode: 0o755 })
  makeInitPaths(`${home}/init/diff`)
  linkOnce('../init/diff', `${home}/l/${INIT_LINK}`)
}
