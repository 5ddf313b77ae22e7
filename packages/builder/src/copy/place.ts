import { posix } from 'node:path'
import type { LayeredFs, TarEntry } from '@gantry/graph'
import { EngineError } from '@gantry/std'
import { type ContextNode, isImplied } from '../context/tree.ts'
import { type Selected, toBytes, toText } from './select.ts'

/** An entry of the layer that a copy makes. Its path has no slash at the beginning. */
export interface Placement {
  readonly path: string
  readonly node: ContextNode
  /** Where its content comes from: a path of the tree that it was selected from, and the part that the tree belongs to. */
  readonly from: string
  readonly part: number
}

/** Who a file belongs to. */
export interface Owner {
  readonly uid: number
  readonly gid: number
}

/** How files are copied. */
export interface PlaceOptions {
  /** What is below the target's root now; undefined: nothing. */
  readonly root: LayeredFs | undefined
  /** Links of the root lead nowhere: a directory takes their place (`--link`). */
  readonly replacesLinks?: boolean
  /** As it is written, absolute. A slash at its end says that it is a directory. */
  readonly target: string
  /** Who owns what comes of a part; undefined: whoever does there. */
  readonly owner: (part: number) => Owner | undefined
  /** A part whose directories put theirs upon what is there: an archive that is unpacked. */
  readonly overlays: (part: number) => boolean
  /** What permissions come of those that a file has. */
  readonly mode: (node: ContextNode) => number
  /** Permissions of directories that come into being. */
  readonly newMode: number
  readonly excluded: (path: string) => boolean
  /** Seconds since 1970 for directories that come into being. */
  readonly now: number
  /** Names keep their directories (`--parents`). */
  readonly parents: boolean
  /** No file is later than this (`SOURCE_DATE_EPOCH`). */
  readonly latest: number | undefined
}

const directory = (mode: number, uid: number, gid: number, seconds: number): ContextNode => ({ type: 'directory', mode, uid, gid, size: 0, mtimeSeconds: seconds, mtimeNanos: 0, link: '', digest: '', xattrs: new Map() })

const LINK_LIMIT = 40
export const NEW_MODE = 0o755

/** The layer of a copy as it grows: parents first, nothing twice. */
class Placer {
  readonly #options: PlaceOptions
  readonly #placed = new Map<string, Placement>()
  /** Directories that are new: nothing below them can be there already. */
  readonly #fresh = new Set<string>()

  constructor(options: PlaceOptions) {
    this.#options = options
  }

  get placements(): readonly Placement[] {
    return [...this.#placed.values()]
  }

  put(path: string, node: ContextNode, from: string, part: number): void {
    const known = this.#placed.get(path)
    // A directory that is there keeps its place in the order; what comes later wins.
    if (known !== undefined && node.type !== 'directory') this.#placed.delete(path)
    this.#placed.set(path, { path, node, from, part })
  }

  #isFresh(path: string): boolean {
    for (let at = path; at !== ''; at = at.includes('/') ? at.slice(0, at.lastIndexOf('/')) : '') if (this.#fresh.has(at)) return true
    return false
  }

  /** Makes sure of a directory and all above it, links of the root followed. Gives its path. */
  directory(path: string, part = 0): string {
    const { root, now } = this.#options
    const owner = this.#options.owner(part)
    let at = ''
    const todo = path.split('/').filter((name) => name !== '' && name !== '.').reverse()
    for (let name = todo.pop(), links = 0; name !== undefined; name = todo.pop()) {
      if (name === '..') {
        at = at.includes('/') ? at.slice(0, at.lastIndexOf('/')) : ''
        continue
      }
      const next = at === '' ? name : `${at}/${name}`
      const known = this.#placed.get(next)
      if (known !== undefined) {
        if (known.node.type !== 'directory') throw new EngineError('invalid', `cannot copy to non-directory: /${toText(next)}`)
        at = next
        continue
      }
      const entry = root === undefined || this.#isFresh(at) ? undefined : root.findEntry(`/${toText(next)}`)
      const found = this.#options.replacesLinks === true && entry?.seen.kind === 'link' ? undefined : entry
      if (found?.seen.kind === 'link') {
        // A link is followed inside the root; what it leads to comes into being where it is not there.
        if (++links > LINK_LIMIT) throw new EngineError('invalid', `cannot copy to /${toText(next)}: too many links`)
        todo.push(...toBytes(found.link).split('/').filter((part) => part !== '' && part !== '.').reverse())
        if (found.link.startsWith('/')) at = ''
        continue
      }
      if (found !== undefined && found.seen.kind !== 'directory') throw new EngineError('invalid', `cannot copy to non-directory: /${toText(next)}`)
      if (found === undefined) {
        this.#fresh.add(next)
        this.put(next, directory(this.#options.overlays(part) ? NEW_MODE : this.#options.newMode, owner?.uid ?? 0, owner?.gid ?? 0, now), '', part)
      } else this.put(next, { ...directory(found.seen.mode, found.seen.uid, found.seen.gid, found.seen.mtimeSeconds), mtimeNanos: found.seen.mtimeNanos }, '', part)
      at = next
    }
    return at
  }

  /** True where the path is a directory now, or a link to one. */
  isDirectory(path: string): boolean {
    const clean = posix.normalize(`/${path}`).slice(1)
    if (clean === '') return true
    const known = this.#placed.get(clean)
    if (known !== undefined) return known.node.type === 'directory'
    return this.#options.root?.find(`/${toText(clean)}`)?.kind === 'directory'
  }

  /** Archives keep theirs, whatever `--chmod` says. */
  #mode(node: ContextNode, part: number): number {
    return this.#options.overlays(part) ? node.mode : this.#options.mode(node)
  }

  #attributes(node: ContextNode, part: number): ContextNode {
    const { latest } = this.#options
    const owner = this.#options.owner(part)
    const late = latest !== undefined && node.mtimeSeconds > latest
    return { ...node, mode: this.#mode(node, part), uid: owner?.uid ?? node.uid, gid: owner?.gid ?? node.gid, ...(late && { mtimeSeconds: latest, mtimeNanos: 0 }) }
  }

  /** Where a name leads: links of the root are followed, also the last, and also to where nothing is. */
  follow(path: string, part: number): string {
    const { root, replacesLinks } = this.#options
    for (let [at, links] = [path, 0]; ; links++) {
      const slash = at.lastIndexOf('/')
      const parent = this.directory(slash < 0 ? '' : at.slice(0, slash), part)
      const here = parent === '' ? at.slice(slash + 1) : `${parent}/${at.slice(slash + 1)}`
      const entry = root === undefined || replacesLinks === true || this.#placed.has(here) || this.#isFresh(parent) ? undefined : root.findEntry(`/${toText(here)}`)
      if (entry?.seen.kind !== 'link') return here
      if (links > LINK_LIMIT) throw new EngineError('invalid', `cannot copy to /${toText(path)}: too many links`)
      const link = toBytes(entry.link).replace(/\/+$/, '')
      at = link.startsWith('/') ? link.slice(1) : `${parent}/${link}`
      // What ends so is a directory; here it is one that is not there.
      if (/(?:^|\/)\.{1,2}$/.test(at)) at = posix.normalize(`/${at}`).slice(1)
    }
  }

  /** A file or a link under its own name. */
  file(path: string, node: ContextNode, from: string, part: number): void {
    const slash = path.lastIndexOf('/')
    const parent = this.directory(slash < 0 ? '' : path.slice(0, slash), part)
    const name = path.slice(slash + 1)
    const at = parent === '' ? name : `${parent}/${name}`
    const there = this.#placed.get(at)?.node.type ?? (this.#options.root === undefined || this.#isFresh(parent) ? undefined : this.#options.root.findEntry(`/${toText(at)}`)?.seen.kind)
    if (there === 'directory') throw new EngineError('invalid', `cannot copy a file over the directory /${toText(at)}`)
    this.put(at, this.#attributes(node, part), from, part)
  }

  /** A directory's content, into a directory. */
  content(target: string, one: PlacedSource): void {
    const { part } = one
    const at = this.directory(target, part)
    const overlays = this.#options.overlays(part)
    for (const [path, node] of one.tree.below(one.path)) {
      const inner = one.path === '' ? path : path.slice(one.path.length + 1)
      if (this.#options.excluded(inner)) continue
      const goes = at === '' ? inner : `${at}/${inner}`
      if (node.type !== 'directory') {
        this.file(goes, node, path, part)
        continue
      }
      // A directory that is there already becomes as this one is; but not the target itself.
      const made = this.directory(goes, part)
      if (!overlays || !isImplied(node)) this.put(made, this.#attributes(node, part), path, part)
    }
  }
}

/** A file or a directory, and the part of a copy that it comes from. */
export interface PlacedSource extends Selected {
  readonly part: number
}

/** Says what the layer of a copy holds (Dockerfile reference, COPY). The target's rules: a directory where it ends with a slash or is one. */
export function place(selected: readonly PlacedSource[], options: PlaceOptions): readonly Placement[] {
  const placer = new Placer(options)
  const target = toBytes(options.target).replace(/^\/+/, '')
  const clean = posix.normalize(`/${target}`).replace(/\/$/, '').slice(1)
  const saysDirectory = target === '' || target.endsWith('/') || options.parents
  let files = 0
  for (const one of selected) {
    const inside = clean === '' ? one.name : `${clean}/${one.name}`
    if (one.node.type === 'directory') {
      placer.content(options.parents ? inside : clean, one)
      continue
    }
    const goes = saysDirectory ? clean : placer.follow(clean, one.part)
    const isInside = saysDirectory || placer.isDirectory(goes)
    // One would take the place of the other.
    if (!isInside && ++files > 1) throw new EngineError('invalid', 'When using COPY with more than one source file, the destination must be a directory and end with a /')
    placer.file(isInside ? inside : goes, one.node, one.path, one.part)
  }
  return placer.placements
}

/** A directory with all above it that is not there yet. */
export function placeDirectory(path: string, options: PlaceOptions): readonly Placement[] {
  const placer = new Placer(options)
  placer.directory(toBytes(path))
  return placer.placements
}

/** The archive's member of a placement. */
export function memberOf({ path, node }: Placement): TarEntry {
  return { path, type: node.type, mode: node.mode, uid: node.uid, gid: node.gid, size: node.type === 'file' ? node.size : 0, mtimeSeconds: node.mtimeSeconds, mtimeNanos: node.mtimeNanos, link: node.link, major: node.device?.major ?? 0, minor: node.device?.minor ?? 0, xattrs: node.xattrs }
}
