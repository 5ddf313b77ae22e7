import { FILE_TYPE } from '@gantry/linux'
import { EngineError } from '@gantry/std'
import { treeMap } from '../apply/tree-map.ts'
import type { TarEntry } from '../tar-header.ts'
import { toTreeEntries } from '../whiteout.ts'
import type { LayerIndex } from './layer-index.ts'

/** A file of the merged tree. Hard links share it. */
export interface Inode {
  /** st_mode */
  mode: number
  uid: number
  gid: number
  mtimeSeconds: number
  mtimeNanos: number
  size: number
  major: number
  minor: number
  link: string
  xattrs: ReadonlyMap<string, Buffer>
  /** Which layer has the content, from 0 for the lowest; and its block there. */
  layer: number
  block: number
  /** Of a directory: names are Latin-1 text that keeps every byte. */
  readonly children: Map<string, Inode> | undefined
}

/** A layer by itself: its files, and what it takes away from those below. */
interface LayerTree {
  readonly root: Inode
  /** Directories that are told of, and so give their attributes to those below them. */
  readonly explicit: Set<Inode>
  /** Directories that hide what lies below. */
  readonly opaque: Set<Inode>
  /** Names that are gone, by directory. */
  readonly gone: Map<Inode, Set<string>>
}

const NONE: ReadonlyMap<string, Buffer> = new Map()

function directory(): Inode {
  return { mode: FILE_TYPE.directory | 0o755, uid: 0, gid: 0, mtimeSeconds: 0, mtimeNanos: 0, size: 0, major: 0, minor: 0, link: '', xattrs: NONE, layer: 0, block: 0, children: new Map() }
}

const parentOf = (path: string): string => path.slice(0, Math.max(0, path.lastIndexOf('/')))
const nameOf = (path: string): string => path.slice(path.lastIndexOf('/') + 1)

/** Builds the tree of one layer, by the same rules as `directorySink` fills a directory. */
function layerTree(index: LayerIndex, layer: number): LayerTree {
  const root = directory()
  const [explicit, opaque, gone] = [new Set<Inode>(), new Set<Inode>(), new Map<Inode, Set<string>>()]
  const map = treeMap()
  const inodes = new Map<string, Inode>([['', root]])
  const add = (path: string, inode: Inode): void => {
    inodes.get(parentOf(path))?.children?.set(nameOf(path), inode)
    inodes.set(path, inode)
    map.set(path, inode.children !== undefined ? { kind: 'directory' } : (inode.mode & FILE_TYPE.mask) === FILE_TYPE.link ? { kind: 'link', target: inode.link } : { kind: 'other' })
  }
  const make = (path: string): void => add(path, directory())
  const remove = (path: string): void => {
    map.delete(path)
    inodes.get(parentOf(path))?.children?.delete(nameOf(path))
    for (const known of inodes.keys()) if (known === path || known.startsWith(`${path}/`)) inodes.delete(known)
  }
  const place = (entry: TarEntry, block: number): void => {
    for (const change of toTreeEntries(entry, 'overlay')) {
      const path = change.path === '.' ? '' : map.resolve(change.path, make).path
      if (change.action === 'xattrs') {
        map.resolve(`${path}/x`, make)
        const there = inodes.get(path)
        if (there !== undefined) opaque.add(there)
        continue
      }
      const isWhiteout = entry.type === 'file' && (change.mode & FILE_TYPE.mask) === FILE_TYPE.character
      const there = inodes.get(path)
      if (isWhiteout) {
        const parent = inodes.get(parentOf(path))
        if (parent !== undefined) gone.set(parent, (gone.get(parent) ?? new Set()).add(nameOf(path)))
        continue
      }
      if (change.action === 'hardlink') {
        const target = inodes.get(map.resolve(change.link, make).path)
        if (target === undefined || target.children !== undefined) throw new EngineError('invalid', `tar: ${path}: hard link to ${change.link}, which is ${target === undefined ? 'not in the layer' : 'a directory'}`)
        if (there !== undefined) remove(path)
        add(path, target)
        continue
      }
      const isDirectory = (change.mode & FILE_TYPE.mask) === FILE_TYPE.directory
      if (there !== undefined && !(isDirectory && there.children !== undefined)) remove(path)
      const inode = isDirectory && there?.children !== undefined ? there : { ...directory(), children: isDirectory ? new Map<string, Inode>() : undefined }
      const { mode, uid, gid, mtimeSeconds, mtimeNanos, major, minor, link, xattrs } = change
      Object.assign(inode, { mode, uid, gid, mtimeSeconds, mtimeNanos, major, minor, link, xattrs, layer, block, size: isDirectory ? 0 : entry.type === 'link' ? link.length : entry.size })
      if (isDirectory) explicit.add(inode)
      if (path !== '') add(path, inode)
    }
  }
  for (const { entry, block } of index.entries) place(entry, block)
  return { root, explicit, opaque, gone }
}

/** Lays a layer over what is there. A directory that the layer only implies keeps the attributes that it had. */
function lay(below: Inode, above: Inode, layer: LayerTree): void {
  const [into, from] = [below.children, above.children]
  if (into === undefined || from === undefined) return
  if (layer.explicit.has(above)) {
    const { mode, uid, gid, mtimeSeconds, mtimeNanos, xattrs } = above
    Object.assign(below, { mode, uid, gid, mtimeSeconds, mtimeNanos, xattrs })
  }
  if (layer.opaque.has(above)) into.clear()
  for (const name of layer.gone.get(above) ?? []) into.delete(name)
  for (const [name, inode] of from) {
    const there = into.get(name)
    if (inode.children !== undefined && there?.children !== undefined) lay(there, inode, layer)
    else {
      // A directory of a layer may hold marks of its own: it is laid over an empty one.
      const fresh = inode.children === undefined ? inode : { ...inode, children: new Map<string, Inode>() }
      into.set(name, fresh)
      if (inode.children !== undefined) lay(fresh, inode, layer)
    }
  }
}

/** The union of layers, the lowest first: whiteouts are carried out, none are left. */
export function mergeLayers(layers: readonly LayerIndex[]): Inode {
  const root = directory()
  for (const [number, index] of layers.entries()) {
    const tree = layerTree(index, number)
    lay(root, tree.root, tree)
  }
  return root
}
