import { readTreeEntry, type Trees } from '@gantry/linux'
import type { ByteReader } from '@gantry/std'
import { INIT_PATHS } from './init-layer.ts'
import { type LayerView, layeredFs } from './layered-fs.ts'
import { isWhiteout } from './whiteout.ts'

/** What happened to a path: 0 modified, 1 added, 2 deleted (Engine API, ContainerChanges). */
export interface Change {
  readonly path: string
  readonly kind: 0 | 1 | 2
}

/** The changes in an overlay's upper directory, held against what lies below it. */
export async function overlayChanges(trees: Trees, upper: string, lowers: readonly LayerView[]): Promise<readonly Change[]> {
  const below = layeredFs(lowers)
  return trees.read({ kind: 'directory', path: upper }, '/', { data: false, oneFilesystem: false }, async (reader) => {
    const changes: Change[] = []
    for (;;) {
      const entry = await readTreeEntry(reader)
      if (entry === undefined) break
      if (entry.path === '.') continue
      const path = `/${Buffer.from(entry.path, 'latin1').toString('utf8')}`
      changes.push({ path, kind: isWhiteout(entry) ? 2 : below.find(path) === undefined ? 1 : 0 })
    }
    return changes.sort((a, b) => (a.path < b.path ? -1 : 1))
  })
}

interface Known {
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly size: number
  readonly mtime: string
  readonly link: string
}

async function snapshot(reader: ByteReader): Promise<ReadonlyMap<string, Known>> {
  const files = new Map<string, Known>()
  for (;;) {
    const entry = await readTreeEntry(reader)
    if (entry === undefined) return files
    const directory = (entry.mode & 0o170000) === 0o040000
    files.set(entry.path, { mode: entry.mode, uid: entry.uid, gid: entry.gid, size: directory ? 0 : entry.size, mtime: directory ? '' : `${entry.mtimeSeconds}.${entry.mtimeNanos}`, link: entry.link })
  }
}

/** The changes between two whole trees. */
export async function comparedChanges(trees: Trees, before: string | undefined, after: string): Promise<readonly Change[]> {
  const read = (path: string): Promise<ReadonlyMap<string, Known>> => trees.read({ kind: 'directory', path }, '/', { data: false, oneFilesystem: false }, snapshot)
  const [old, now] = [before === undefined ? new Map<string, Known>() : await read(before), await read(after)]
  const changes: Change[] = []
  const utf8 = (path: string): string => `/${Buffer.from(path, 'latin1').toString('utf8')}`
  for (const [path, known] of now) {
    const was = old.get(path)
    if (path === '.' || (INIT_PATHS.has(path) && (was === undefined || was.mode >> 12 === 4))) continue
    if (was === undefined) changes.push({ path: utf8(path), kind: 1 })
    else if (JSON.stringify(was) !== JSON.stringify(known)) changes.push({ path: utf8(path), kind: 0 })
  }
  for (const path of old.keys()) if (!now.has(path) && now.has(parentOf(path))) changes.push({ path: utf8(path), kind: 2 })
  const listed = new Set(changes.map((change) => change.path))
  // A directory in which something happened has changed itself.
  for (const { path } of [...changes]) {
    for (let parent = parentOf(path); parent !== '' && parent !== '.' && !listed.has(parent); parent = parentOf(parent)) {
      listed.add(parent)
      changes.push({ path: parent, kind: 0 })
    }
  }
  return changes.sort((a, b) => (a.path < b.path ? -1 : 1))
}

const parentOf = (path: string): string => (path.includes('/') ? path.slice(0, path.lastIndexOf('/')) : '.')

/** Bytes of the files in a tree; one that has several names counts once. */
export async function treeBytes(trees: Trees, path: string): Promise<number> {
  return trees.read({ kind: 'directory', path }, '/', { data: false, oneFilesystem: false }, async (reader) => {
    const seen = new Set<string>()
    let bytes = 0
    for (;;) {
      const entry = await readTreeEntry(reader)
      if (entry === undefined) return bytes
      const inode = `${entry.device}:${entry.inode}`
      if ((entry.mode & 0o170000) !== 0o100000 || seen.has(inode)) continue
      if (entry.links > 1) seen.add(inode)
      bytes += entry.size
    }
  })
}
