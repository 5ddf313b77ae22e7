import { existsSync, mkdirSync, readdirSync, statfsSync } from 'node:fs'
import { encodeTreeEnd, encodeTreeEntry, readTreeEntry, type Trees, treeEntry, type TreeEntry } from '@gantry/linux'
import { type Discarder, EngineError, writePaced } from '@gantry/std'
import type { GraphDriver, LayerPlace } from '../driver.ts'
import { directoryView } from '../layered-fs.ts'
import { makeInitPaths } from '../init-layer.ts'

/** Copies one tree into an empty directory; directories get their times last. */
async function copyTree(trees: Trees, from: string, to: string): Promise<void> {
  await trees.write({ kind: 'directory', path: to }, '/', { strict: false }, (socket) =>
    trees.read({ kind: 'directory', path: from }, '/', { data: true, oneFilesystem: false }, async (reader) => {
      const directories: TreeEntry[] = []
      const first = new Map<string, string>()
      for (;;) {
        const entry = await readTreeEntry(reader)
        if (entry === undefined) break
        const isFile = (entry.mode & 0o170000) === 0o100000
        const size = isFile ? entry.size : 0
        const inode = `${entry.device}:${entry.inode}`
        const earlier = isFile && entry.links > 1 ? first.get(inode) : undefined
        if ((entry.mode & 0o170000) === 0o040000) directories.push({ ...entry, size: 0, action: 'attributes' })
        if (entry.path === '.') continue
        if (earlier !== undefined) {
          await writePaced(socket, encodeTreeEntry(treeEntry({ path: entry.path, mode: entry.mode, link: earlier, action: 'hardlink' })))
          await reader.skip(size)
          continue
        }
        if (isFile && entry.links > 1) first.set(inode, entry.path)
        await writePaced(socket, encodeTreeEntry({ ...entry, size }))
        for (let left = size; left > 0; ) {
          const chunk = await reader.chunk(Math.min(left, 1 << 20))
          if (chunk === undefined) throw new EngineError('internal', `copy of ${entry.path} ended early`)
          left -= chunk.length
          await writePaced(socket, chunk)
        }
      }
      for (const directory of directories.reverse()) await writePaced(socket, encodeTreeEntry(directory))
      await writePaced(socket, encodeTreeEnd())
    }),
  )
}

/** Makes a whole tree: empty, or like another one. */
type MakeTree = (home: string, id: string, parent: string | undefined) => Promise<void>

/** A driver whose layers are whole trees, made one from another. */
function wholeTrees(name: string, home: string, trash: Discarder, make: MakeTree): GraphDriver {
  mkdirSync(home, { recursive: true, mode: 0o700 })
  const tree = (id: string | undefined, parents: readonly LayerPlace[]): string => `${home}/${id ?? parents[0]?.cacheId ?? ''}`
  return {
    name,
    stacked: true,
    archives: false,
    status: () => [],
    async create(place, parents) {
      await make(home, place.cacheId, parents[0]?.cacheId)
      return { kind: 'tree', path: `${home}/${place.cacheId}` }
    },
    async createContainer(id, parents, limit) {
      if (limit !== undefined) throw new EngineError('unsupported', `storage driver ${name} has no limits of size`)
      await make(home, id, parents[0]?.cacheId)
      makeInitPaths(`${home}/${id}`)
    },
    recipe: (id) => ({ type: 'bind', source: `${home}/${id}`, data: '', directory: '/' }),
    mountAgain: () => undefined,
    imageRecipe: (parents) => ({ type: 'bind', source: tree(undefined, parents), data: '', directory: '/' }),
    views: (id, parents) => [directoryView(tree(id, parents))],
    tree,
    changes: () => undefined,
    source: (place, skeleton) => ({ kind: 'skeleton', skeleton, directory: `${home}/${place.cacheId}` }),
    remove: (id) => trash.discard(`${home}/${id}`),
    exists: (id) => existsSync(`${home}/${id}`),
    pathOf: (id) => `${home}/${id}`,
    list: () => readdirSync(home),
    describeImage: () => ({}),
    describe: () => ({}),
  }
}

/** Every layer is a whole copy. Slow and large, but works on any file system. */
export function vfsDriver(root: string, trash: Discarder, trees: Trees): GraphDriver {
  return wholeTrees('vfs', `${root}/vfs/dir`, trash, async (home, id, parent) => {
    mkdirSync(`${home}/${id}`, { mode: 0o755 })
    if (parent !== undefined) await copyTree(trees, `${home}/${parent}`, `${home}/${id}`)
  })
}

/** `linux/magic.h` */
const BTRFS_MAGIC = 0x9123683e

/** Every layer is a subvolume, a snapshot of its parent: a whole tree that shares what did not change (kernel Documentation/filesystems/btrfs.rst). */
export function btrfsDriver(root: string, trash: Discarder, trees: Trees): GraphDriver {
  const { type } = statfsSync(root)
  if (type !== BTRFS_MAGIC) throw new EngineError('unsupported', `${root} is not on btrfs`)
  const driver = wholeTrees('btrfs', `${root}/btrfs/subvolumes`, trash, (home, id, parent) => trees.subvolume(home, id, parent === undefined ? undefined : `${home}/${parent}`))
  return {
    ...driver,
    status: () => [['Backing Filesystem', 'btrfs']],
    async createContainer(id, parents, limit) {
      await driver.createContainer(id, parents)
      if (limit === undefined) return
      await trees.limit(driver.pathOf(id), { kind: 'subvolume', bytes: limit.bytes }).catch((error: unknown) => {
        driver.remove(id)
        throw error
      })
    },
  }
}
