import {
  chmodSync, chownSync, closeSync, fchmodSync, fchownSync, ftruncateSync, futimesSync, lchownSync, linkSync, lutimesSync, mkdirSync, openSync, rmSync, symlinkSync, utimesSync, writeSync, constants,
} from 'node:fs'
import { encodeTreeEnd, encodeTreeEntry, type TreeEntry } from '@gantry/linux'
import { EngineError } from '@gantry/std'
import type { TarEntry } from '../tar-header.ts'
import { toTreeEntries } from '../whiteout.ts'
import { treeMap } from './tree-map.ts'

/** Fills an empty directory with the members of a layer, for overlayfs. */
export interface DirectorySink {
  entry(entry: TarEntry): void
  data(chunk: Buffer): void
  hole(length: number): void
  finish(): void
  /** Sets the times of directories. Gives what plain file calls cannot make (devices, whiteouts, attributes, times between microseconds), as entries for the helper; undefined when that is nothing. */
  close(): Buffer | undefined
  /** Lets go of an open file after a failure. */
  abort(): void
}

const CREATE = constants.O_CREAT | constants.O_EXCL | constants.O_WRONLY | constants.O_NOFOLLOW
/** Plain calls take times as doubles: whole seconds of these years are exact. A time before 1970 means "now" to them. */
const isPlainTime = (entry: { readonly mtimeSeconds: number; readonly mtimeNanos: number }): boolean => entry.mtimeNanos === 0 && entry.mtimeSeconds >= 0 && entry.mtimeSeconds < 2 ** 40
const parentOf = (path: string): string => path.slice(0, Math.max(0, path.lastIndexOf('/')))

/** Opens a directory that is empty and private to the caller. With an umask of 0 it takes fewer calls. */
export function directorySink(root: string): DirectorySink {
  const tree = treeMap()
  /** For the helper, by path, in the order of their coming. */
  const rest = new Map<string, TreeEntry[]>()
  const directories = new Map<string, TreeEntry>()
  let open: { readonly fd: number; readonly entry: TreeEntry; position: number; end: number } | undefined
  const ascii = /^[\x01-\x7f]*$/
  /** Names are bytes: those beyond ASCII must not become UTF-8 twice. */
  const at = (path: string): string | Buffer => (path === '' ? root : ascii.test(path) ? `${root}/${path}` : Buffer.concat([Buffer.from(`${root}/`), Buffer.from(path, 'latin1')]))
  const make = (directory: string): void => {
    mkdirSync(at(directory), { mode: 0o755 })
    if (masked) chmodSync(at(directory), 0o755)
  }
  const later = (path: string, entry: TreeEntry): void => {
    const list = rest.get(path)
    if (list === undefined) rest.set(path, [entry])
    else list.push(entry)
  }
  const remove = (path: string): void => {
    rmSync(at(path), { recursive: true, force: true })
    tree.delete(path)
    for (const known of [...rest.keys(), ...directories.keys()]) {
      if (known !== path && !known.startsWith(`${path}/`)) continue
      rest.delete(known)
      directories.delete(known)
    }
  }
  const own = (change: TreeEntry): boolean => change.uid !== 0 || change.gid !== 0
  const masked = process.umask() !== 0
  /** After a change of owner, which takes special bits away. */
  const wantsMode = (change: TreeEntry): boolean => masked || own(change) || (change.mode & 0o7000) !== 0

  const makeDirectory = (path: string, change: TreeEntry): void => {
    const there = path === '' ? { kind: 'directory' } : tree.get(path)
    if (there !== undefined && there.kind !== 'directory') remove(path)
    if (there?.kind !== 'directory') mkdirSync(at(path), { mode: change.mode & 0o777 })
    if (own(change)) chownSync(at(path), change.uid, change.gid)
    if (there?.kind === 'directory' || wantsMode(change)) chmodSync(at(path), change.mode & 0o7777)
    if (path !== '') tree.set(path, { kind: 'directory' })
    directories.set(path, { ...change, path: path === '' ? '.' : path, action: 'attributes' })
  }
  const makeFile = (path: string, change: TreeEntry): void => {
    const fd = openSync(at(path), CREATE, change.mode & 0o777)
    open = { fd, entry: change, position: 0, end: 0 }
    if (own(change)) fchownSync(fd, change.uid, change.gid)
    if (wantsMode(change)) fchmodSync(fd, change.mode & 0o7777)
    tree.set(path, { kind: 'other' })
    if (change.xattrs.size > 0 || !isPlainTime(change)) later(path, { ...change, path, size: 0, action: 'attributes' })
  }
  const makeLink = (path: string, change: TreeEntry): void => {
    symlinkSync(ascii.test(change.link) ? change.link : Buffer.from(change.link, 'latin1'), at(path))
    if (own(change)) lchownSync(at(path), change.uid, change.gid)
    if (isPlainTime(change)) lutimesSync(at(path), change.mtimeSeconds, change.mtimeSeconds)
    if (change.xattrs.size > 0 || !isPlainTime(change)) later(path, { ...change, path, action: 'attributes' })
    tree.set(path, { kind: 'link', target: change.link })
  }
  const makeHardlink = (path: string, change: TreeEntry): void => {
    const { path: target } = tree.resolve(change.link, make)
    const node = tree.get(target)
    if (node === undefined || node.kind === 'directory') throw new EngineError('invalid', `tar: ${path}: hard link to ${change.link}, which is ${node === undefined ? 'not in the layer' : 'a directory'}`)
    if (rest.get(target)?.some((entry) => entry.action !== 'attributes') === true) later(path, { ...change, path, link: target })
    else linkSync(at(target), at(path))
    tree.set(path, node)
  }
  const apply = (entry: TarEntry, change: TreeEntry): void => {
    const wanted = change.path === '.' ? '' : change.path
    const { path } = wanted === '' ? { path: '' } : tree.resolve(wanted, make)
    if (change.action === 'attributes') return makeDirectory(path, change)
    if (change.action === 'xattrs') {
      if (tree.get(path)?.kind !== 'directory') {
        tree.resolve(`${path}/x`, make)
      }
      return later(path, { ...change, path })
    }
    const whiteout = change.action === 'make' && entry.type === 'file' && (change.mode & 0o170000) === 0o020000
    const there = tree.get(path)
    if (whiteout && there !== undefined) return undefined
    if (entry.type === 'directory' && change.action === 'make') return makeDirectory(path, change)
    if (there !== undefined) remove(path)
    if (change.action === 'hardlink') return makeHardlink(path, change)
    if (whiteout || (entry.type !== 'file' && entry.type !== 'link')) {
      later(path, { ...change, path })
      if (!whiteout) tree.set(path, { kind: 'other' })
      return undefined
    }
    return entry.type === 'link' ? makeLink(path, change) : makeFile(path, change)
  }
  return {
    entry(entry) {
      for (const change of toTreeEntries(entry, 'overlay')) apply(entry, change)
    },
    data(chunk) {
      if (open === undefined) return
      for (let from = 0; from < chunk.length; ) {
        const written = writeSync(open.fd, chunk, from, chunk.length - from, open.position)
        from += written
        open.position += written
      }
      open.end = open.position
    },
    hole(length) {
      if (open !== undefined) open.position += length
    },
    finish() {
      if (open === undefined) return
      const { fd, entry, position, end } = open
      open = undefined
      if (position > end) ftruncateSync(fd, position)
      if (isPlainTime(entry)) futimesSync(fd, entry.mtimeSeconds, entry.mtimeSeconds)
      closeSync(fd)
    },
    close() {
      const disturbed = new Set([...rest.keys()].flatMap((path) => [path, parentOf(path)]))
      const parts = [...rest.values()].flat().map(encodeTreeEntry)
      for (const [path, entry] of [...directories].sort(([a], [b]) => depth(b) - depth(a))) {
        if (isPlainTime(entry) && entry.xattrs.size === 0 && !disturbed.has(path)) utimesSync(at(path), entry.mtimeSeconds, entry.mtimeSeconds)
        else parts.push(encodeTreeEntry(entry))
      }
      return parts.length === 0 ? undefined : Buffer.concat([...parts, encodeTreeEnd()])
    },
    abort() {
      if (open !== undefined) closeSync(open.fd)
      open = undefined
    },
  }
}

const depth = (path: string): number => (path === '' ? 0 : path.split('/').length)
