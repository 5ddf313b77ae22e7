import { existsSync, mkdirSync, readdirSync } from 'node:fs'
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

/** Every layer is a whole copy. Slow and large, but works on any file system. */
export function vfsDriver(root: string, trash: Discarder, trees: Trees): GraphDriver {
  const home = `${root}/vfs/dir`
  mkdirSync(home, { recursive: true, mode: 0o700 })
  const make = async (id: string, parent: LayerPlace | undefined): Promise<string> => {
    const path = `${home}/${id}`
    mkdirSync(path, { mode: 0o755 })
    if (parent !== undefined) await copyTree(trees, `${home}/${parent.cacheId}`, path)
    return path
  }
  const tree = (id: string | undefined, parents: readonly LayerPlace[]): string => `${home}/${id ?? parents[0]?.cacheId ?? ''}`
  return {
    name: 'vfs',
    stacked: true,
    status: () => [],
    create: async (place, parents) => ({ kind: 'tree', path: await make(place.cacheId, parents[0]) }),
    async createContainer(id, parents) {
      makeInitPaths(await make(id, parents[0]))
    },
    recipe: (id) => ({ type: 'bind', source: `${home}/${id}`, data: '', directory: '/' }),
    mountAgain: () => undefined,
    imageRecipe: (parents) => ({ type: 'bind', source: `${home}/${parents[0]?.cacheId ?? ''}`, data: '', directory: '/' }),
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
