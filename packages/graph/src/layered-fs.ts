import { lstatSync, readdirSync, readFileSync, readlinkSync, type Stats } from 'node:fs'
import { hasCode } from '@gantry/std'

/** A file as a layer has it. */
export interface SeenFile {
  readonly kind: 'directory' | 'file' | 'link' | 'whiteout' | 'other'
  readonly size: number
  /** Permission bits, with set-user-id and its like. */
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly mtimeSeconds: number
  readonly mtimeNanos: number
}

/** One layer of a root file system, looked into without mounting it. Paths begin with a slash and hold no links; the root is empty. */
export interface LayerView {
  look(path: string): SeenFile | undefined
  /** Target of a link. */
  link(path: string): string
  read(path: string): Buffer
  names(path: string): readonly string[]
}

/** Looks into a root file system through its layers. Links are resolved inside it. */
export interface LayeredFs {
  /** What stands there; a last link is followed. */
  find(path: string): SeenFile | undefined
  /** What stands there itself, and its path without links; a last link is not followed. */
  findEntry(path: string): { readonly path: string; readonly seen: SeenFile; /** Where a link leads, as it is written. */ readonly link: string } | undefined
  /** The path of what stands there, all links followed inside the root; the root is empty. */
  resolve(path: string): string | undefined
  readText(path: string, limitBytes?: number): string | undefined
  /** Names in a directory, over all layers. */
  names(path: string): readonly string[]
}

const LINK_LIMIT = 40

function lstat(path: string): Stats | undefined {
  try {
    return lstatSync(path)
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ENOTDIR', 'ELOOP', 'ENAMETOOLONG')) return undefined
    throw error
  }
}

function kindOf(stats: Stats): SeenFile['kind'] {
  if (stats.isDirectory()) return 'directory'
  if (stats.isFile()) return 'file'
  if (stats.isSymbolicLink()) return 'link'
  return stats.isCharacterDevice() && stats.rdev === 0 ? 'whiteout' : 'other'
}

function seenOf(stats: Stats): SeenFile {
  const seconds = Math.floor(stats.mtimeMs / 1000)
  return { kind: kindOf(stats), size: stats.size, mode: stats.mode & 0o7777, uid: stats.uid, gid: stats.gid, mtimeSeconds: seconds, mtimeNanos: Math.round((stats.mtimeMs - seconds * 1000) * 1e6) }
}

/** A layer that is a directory. */
export function directoryView(directory: string): LayerView {
  return {
    look(path) {
      const stats = lstat(`${directory}${path}`)
      return stats === undefined ? undefined : seenOf(stats)
    },
    link: (path) => readlinkSync(`${directory}${path}`),
    read: (path) => readFileSync(`${directory}${path}`),
    names: (path) => readdirSync(`${directory}${path}`),
  }
}

/** Opens the union of these layers, topmost first. */
export function layeredFs(views: readonly LayerView[]): LayeredFs {
  /** A parent that this layer removed or replaced by something else hides all layers below. */
  const hidden = (view: LayerView, path: string): boolean => {
    for (let slash = path.lastIndexOf('/'); slash > 0; slash = path.lastIndexOf('/', slash - 1)) {
      const seen = view.look(path.slice(0, slash))
      if (seen !== undefined) return seen.kind !== 'directory'
    }
    return false
  }
  /** One name below a path that is known to hold no links. */
  const look = (path: string): { readonly seen: SeenFile; readonly view: LayerView } | undefined => {
    for (const view of views) {
      const seen = view.look(path)
      if (seen === undefined) {
        if (hidden(view, path)) return undefined
        continue
      }
      return seen.kind === 'whiteout' ? undefined : { seen, view }
    }
    return undefined
  }
  const resolve = (path: string): string | undefined => {
    const todo = path.split('/').filter((part) => part !== '' && part !== '.')
    let at = ''
    let links = 0
    while (todo.length > 0) {
      const part = todo.shift() ?? ''
      if (part === '..') {
        at = at.slice(0, Math.max(0, at.lastIndexOf('/')))
        continue
      }
      const found = look(`${at}/${part}`)
      if (found?.seen.kind === 'link') {
        links++
        if (links > LINK_LIMIT) return undefined
        const target = found.view.link(`${at}/${part}`)
        if (target.startsWith('/')) at = ''
        todo.unshift(...target.split('/').filter((one) => one !== '' && one !== '.'))
      } else if (found === undefined) return undefined
      else at = `${at}/${part}`
    }
    return at
  }
  return {
    resolve,
    findEntry(path) {
      const slash = path.replace(/\/+$/, '').lastIndexOf('/')
      const parent = resolve(path.slice(0, slash))
      const name = path.replace(/\/+$/, '').slice(slash + 1)
      if (parent === undefined) return undefined
      if (name === '' || name === '.' || name === '..') {
        const at = resolve(path)
        const found = at === undefined ? undefined : look(at)
        return at === undefined || found === undefined ? undefined : { path: at, seen: found.seen, link: '' }
      }
      const found = look(`${parent}/${name}`)
      return found === undefined ? undefined : { path: `${parent}/${name}`, seen: found.seen, link: found.seen.kind === 'link' ? found.view.link(`${parent}/${name}`) : '' }
    },
    find(path) {
      const at = resolve(path)
      return at === undefined ? undefined : look(at)?.seen
    },
    readText(path, limitBytes = 1 << 20) {
      const at = resolve(path)
      const found = at === undefined ? undefined : look(at)
      if (at === undefined || found?.seen.kind !== 'file' || found.seen.size > limitBytes) return undefined
      return found.view.read(at).toString('utf8')
    },
    names(path) {
      const at = resolve(path)
      if (at === undefined) return []
      const names = new Set<string>()
      const gone = new Set<string>()
      for (const view of views) {
        const seen = view.look(at)
        if (seen?.kind !== 'directory') {
          if (seen !== undefined || hidden(view, at)) break
          continue
        }
        for (const name of view.names(at)) {
          const entry = view.look(`${at}/${name}`)
          if (entry === undefined || gone.has(name)) continue
          if (entry.kind === 'whiteout') gone.add(name)
          else names.add(name)
        }
      }
      return [...names]
    },
  }
}
