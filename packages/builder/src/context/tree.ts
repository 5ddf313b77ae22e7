import { createHash } from 'node:crypto'
import { EngineError } from '@gantry/std'

/** What stands at a path of a context. */
export interface ContextNode {
  readonly type: 'file' | 'directory' | 'link' | 'fifo' | 'character' | 'block'
  /** Permission bits, with set-user-id and its like. */
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly size: number
  readonly mtimeSeconds: number
  readonly mtimeNanos: number
  /** Target of a link. */
  readonly link: string
  /** Numbers of a device. */
  readonly device?: { readonly major: number; readonly minor: number }
  /** Digest of a file's content; empty for the rest. */
  readonly digest: string
  readonly xattrs: ReadonlyMap<string, Buffer>
}

/** Files below a root, by their paths: no slash at the beginning, `''` for the root; Latin-1 text that keeps every byte. */
export interface ContextTree {
  readonly root: ContextNode
  get(path: string): ContextNode | undefined
  /** Names in a directory, sorted. */
  names(path: string): readonly string[]
  /** Paths of all that is below a directory, each after its parent, sorted within it. */
  below(path: string): Iterable<readonly [path: string, node: ContextNode]>
  /** The path with all links followed inside the root; undefined where nothing is. The last part is followed as `follow` says. */
  resolve(path: string, follow: boolean): string | undefined
  /** The same tree without some paths. */
  without(paths: ReadonlySet<string>): ContextTree
  /** Digest of what a path holds: names, types, modes, links and content; neither owners nor times. */
  digest(path: string): string
}

const LINK_LIMIT = 255
const EMPTY_ROOT: ContextNode = { type: 'directory', mode: 0o755, uid: 0, gid: 0, size: 0, mtimeSeconds: 0, mtimeNanos: 0, link: '', digest: '', xattrs: new Map() }

/** True for a directory that nobody mentioned. */
export const isImplied = (node: ContextNode): boolean => node === EMPTY_ROOT

export const parentOf = (path: string): string => (path.includes('/') ? path.slice(0, path.lastIndexOf('/')) : '')
export const joined = (parent: string, name: string): string => (parent === '' ? name : `${parent}/${name}`)

/** Makes a tree of its files; directories that nobody mentioned are there all the same. */
export function contextTree(files: ReadonlyMap<string, ContextNode>): ContextTree {
  const children = new Map<string, string[]>([['', []]])
  const nodes = new Map<string, ContextNode>(files)
  const root = nodes.get('') ?? EMPTY_ROOT
  nodes.set('', root)
  const listed = new Set<string>([''])
  const list = (path: string): void => {
    if (listed.has(path)) return
    listed.add(path)
    const parent = parentOf(path)
    list(parent)
    const above = nodes.get(parent)
    if (above === undefined) nodes.set(parent, EMPTY_ROOT)
    else if (above.type !== 'directory') throw new EngineError('invalid', `${path}: ${parent} is not a directory`)
    const siblings = children.get(parent)
    if (siblings === undefined) children.set(parent, [path])
    else siblings.push(path)
  }
  for (const path of files.keys()) list(path)
  for (const names of children.values()) names.sort()
  const below = function* (path: string): Generator<readonly [string, ContextNode]> {
    for (const child of children.get(path) ?? []) {
      const node = nodes.get(child)
      if (node === undefined) continue
      yield [child, node]
      if (node.type === 'directory') yield* below(child)
    }
  }
  const resolve = (path: string, follow: boolean): string | undefined => {
    const todo = path.split('/').reverse()
    let at = ''
    let links = 0
    for (let part = todo.pop(); part !== undefined; part = todo.pop()) {
      if (part === '' || part === '.') continue
      if (part === '..') {
        at = parentOf(at)
        continue
      }
      if (nodes.get(at)?.type !== 'directory') return undefined
      const next = joined(at, part)
      const node = nodes.get(next)
      if (node === undefined) return undefined
      if (node.type === 'link' && (follow || todo.length > 0)) {
        if (++links > LINK_LIMIT) throw new EngineError('invalid', `${path}: too many links`)
        if (node.link.startsWith('/')) at = ''
        todo.push(...node.link.split('/').reverse())
      } else at = next
    }
    return at
  }
  const digests = new Map<string, string>()
  const own = (node: ContextNode): string => `${node.type}\0${node.mode.toString(8)}\0${node.link}\0${node.digest}\0${[...node.xattrs].map(([name, value]) => `${name}=${value.toString('base64')}`).join(',')}${node.device === undefined ? '' : `\0${node.device.major}:${node.device.minor}`}\n`
  return {
    root,
    get: (path) => nodes.get(path),
    names: (path) => (children.get(path) ?? []).map((child) => child.slice(path === '' ? 0 : path.length + 1)),
    below,
    resolve,
    without: (paths) => contextTree(new Map([...nodes].filter(([path]) => !paths.has(path)))),
    digest(path) {
      const known = digests.get(path)
      if (known !== undefined) return known
      const node = nodes.get(path)
      if (node === undefined) throw new EngineError('not-found', `${path} is not in the context`)
      const hash = createHash('sha256').update(own(node))
      let text = ''
      if (node.type === 'directory') for (const [child, one] of below(path)) text += `${child.slice(path.length)}\0${own(one)}`
      const digest = hash.update(text, 'latin1').digest('hex')
      digests.set(path, digest)
      return digest
    },
  }
}
