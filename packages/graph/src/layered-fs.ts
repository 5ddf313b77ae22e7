import { lstatSync, readdirSync, readFileSync, readlinkSync, type Stats } from 'node:fs'
import { hasCode } from '@gantry/std'

/** Looks into a root file system through its layers, without mounting it. Links are resolved inside it. */
export interface LayeredFs {
  /** The file's status and where it lies; a last link is followed. */
  find(path: string): { readonly stats: Stats; readonly path: string } | undefined
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

const isWhiteout = (stats: Stats): boolean => stats.isCharacterDevice() && stats.rdev === 0

/** Opens the union of these directories, topmost first. */
export function layeredFs(directories: readonly string[]): LayeredFs {
  /** One name below a path that is known to hold no links. */
  const look = (path: string): { readonly stats: Stats; readonly path: string } | undefined => {
    for (const directory of directories) {
      const stats = lstat(`${directory}${path}`)
      if (stats === undefined) {
        if (hidden(directory, path)) return undefined
        continue
      }
      return isWhiteout(stats) ? undefined : { stats, path: `${directory}${path}` }
    }
    return undefined
  }
  /** A parent that this layer removed or replaced by something else hides all layers below. */
  const hidden = (directory: string, path: string): boolean => {
    for (let slash = path.lastIndexOf('/'); slash > 0; slash = path.lastIndexOf('/', slash - 1)) {
      const stats = lstat(`${directory}${path.slice(0, slash)}`)
      if (stats !== undefined) return !stats.isDirectory()
    }
    return false
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
      if (found?.stats.isSymbolicLink() === true) {
        links++
        if (links > LINK_LIMIT) return undefined
        const target = readlinkSync(found.path)
        if (target.startsWith('/')) at = ''
        todo.unshift(...target.split('/').filter((one) => one !== '' && one !== '.'))
      } else if (found === undefined) return undefined
      else at = `${at}/${part}`
    }
    return at === '' ? '/' : at
  }
  const find: LayeredFs['find'] = (path) => {
    const at = resolve(path)
    return at === undefined ? undefined : look(at === '/' ? '/.' : at)
  }
  return {
    find,
    readText(path, limitBytes = 1 << 20) {
      const found = find(path)
      if (found === undefined || !found.stats.isFile() || found.stats.size > limitBytes) return undefined
      return readFileSync(found.path, 'utf8')
    },
    names(path) {
      const at = resolve(path)
      if (at === undefined) return []
      const names = new Set<string>()
      const gone = new Set<string>()
      for (const directory of directories) {
        const stats = lstat(`${directory}${at}`)
        if (stats?.isDirectory() !== true) {
          if (stats !== undefined || hidden(directory, at)) break
          continue
        }
        for (const name of readdirSync(`${directory}${at}`)) {
          const entry = lstat(`${directory}${at === '/' ? '' : at}/${name}`)
          if (entry === undefined || gone.has(name)) continue
          if (isWhiteout(entry)) gone.add(name)
          else names.add(name)
        }
      }
      return [...names]
    },
  }
}
