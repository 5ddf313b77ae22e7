import { EngineError } from '@gantry/std'

/** What stands at a path of a layer: a directory, a link with its target, or something else. */
export type Node = { readonly kind: 'directory' } | { readonly kind: 'link'; readonly target: string } | { readonly kind: 'other' }

/**
 * The tree of a layer as it grows. Whoever fills an empty directory from this knows all that is in it, and so never has to
 * ask the disk whether a parent is a link that leads elsewhere: every path is resolved here, inside the layer.
 */
export interface TreeMap {
  get(path: string): Node | undefined
  set(path: string, node: Node): void
  /** Forgets a path and all below it. */
  delete(path: string): void
  /** The directory (no link in it) that a path's last part stands in, '' for the top, and the whole path. `make` is called for directories that nobody mentioned. */
  resolve(path: string, make: (directory: string) => void): { readonly parent: string; readonly path: string }
}

const LINK_LIMIT = 40
const DIRECTORY: Node = { kind: 'directory' }

/** Makes the tree of a layer without anything in it. */
export function treeMap(): TreeMap {
  const nodes = new Map<string, Node>()
  const follow = (parts: readonly string[], make: (directory: string) => void): string => {
    const todo = [...parts].reverse()
    let at = ''
    let links = 0
    for (let part = todo.pop(); part !== undefined; part = todo.pop()) {
      if (part === '' || part === '.') continue
      if (part === '..') {
        at = at.slice(0, Math.max(0, at.lastIndexOf('/')))
        continue
      }
      const next = at === '' ? part : `${at}/${part}`
      const node = nodes.get(next)
      if (node === undefined) {
        make(next)
        nodes.set(next, DIRECTORY)
        at = next
      } else if (node.kind === 'directory') at = next
      else if (node.kind === 'link') {
        if (++links > LINK_LIMIT) throw new EngineError('invalid', `tar: ${parts.join('/')}: too many links`)
        if (node.target.startsWith('/')) at = ''
        todo.push(...node.target.split('/').reverse())
      } else throw new EngineError('invalid', `tar: ${parts.join('/')}: ${next} is not a directory`)
    }
    return at
  }
  return {
    get: (path) => nodes.get(path),
    set: (path, node) => void nodes.set(path, node),
    delete(path) {
      nodes.delete(path)
      for (const other of nodes.keys()) if (other.startsWith(`${path}/`)) nodes.delete(other)
    },
    resolve(path, make) {
      const slash = path.lastIndexOf('/')
      if (slash < 0) return { parent: '', path }
      const given = path.slice(0, slash)
      if (nodes.get(given)?.kind === 'directory') return { parent: given, path }
      const parent = follow(given.split('/'), make)
      const name = path.slice(slash + 1)
      return { parent, path: parent === '' ? name : `${parent}/${name}` }
    },
  }
}
