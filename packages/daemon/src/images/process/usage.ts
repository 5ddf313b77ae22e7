import { lstatSync, readdirSync } from 'node:fs'
import { hasCode } from '@gantry/std'
import type { UsageRequest } from './protocol.ts'

/** Bytes of the unit in which stat(2) counts blocks. */
const BLOCK = 512

/** Counts what a directory takes on the disk. What goes away meanwhile does not count. */
export function countUsage({ root, groups, rest }: UsageRequest): Readonly<Record<string, number>> {
  const bytes: Record<string, number> = { [rest]: 0 }
  for (const group of Object.values(groups)) bytes[group] = 0
  const seen = new Set<string>()
  const visit = (path: string, inherited: string): void => {
    const group = groups[path] ?? inherited
    try {
      const stats = lstatSync(path)
      const inode = `${stats.dev}:${stats.ino}`
      if (stats.nlink > 1 && !stats.isDirectory()) {
        if (seen.has(inode)) return
        seen.add(inode)
      }
      bytes[group] = (bytes[group] ?? 0) + stats.blocks * BLOCK
      if (stats.isDirectory()) for (const name of readdirSync(path)) visit(`${path}/${name}`, group)
    } catch (error) {
      if (!hasCode(error, 'ENOENT', 'ENOTDIR')) throw error
    }
  }
  visit(root, rest)
  return bytes
}
