import { posix } from 'node:path'
import { EngineError, ignoreRules, patternSource } from '@gantry/std'
import type { ContextNode, ContextTree } from '../context/tree.ts'
import { joined, parentOf } from '../context/tree.ts'

/** A file or directory that is to be copied. */
export interface Selected {
  readonly tree: ContextTree
  /** Where it is in the tree, all links followed. */
  readonly path: string
  /** What it is called where it goes: its own name, or the path below the pivot with `--parents`. */
  readonly name: string
  readonly node: ContextNode
}

/** JavaScript text as a tree has it: one character a byte. */
export const toBytes = (text: string): string => Buffer.from(text, 'utf8').toString('latin1')
export const toText = (bytes: string): string => Buffer.from(bytes, 'latin1').toString('utf8')

const MAGIC = /[*?[\]\\]/
/** True for sources that may name nothing (`yarn.lock*`). */
export const mayBeNothing = (source: string): boolean => /^(?:[^\\*?[]|\\.)*[*?[]/s.test(source)

/** What clients look for where a source is not there. */
export const notThere = (source: string): string => `${JSON.stringify(`/${source.replace(/^\/+/, '')}`)}: not found: file not found in build context or excluded by .dockerignore`

const MAX_MATCHES = 1_000_000

/** Paths of a tree that a pattern matches, one part of the path after the other. `deep`: `**` is any number of directories, else as `*` (Go, path/filepath.Match). */
function matches(tree: ContextTree, pattern: string, deep: boolean): readonly string[] {
  let found: readonly string[] = ['']
  for (const part of pattern.split('/')) {
    if (part === '' || part === '.') continue
    const next: string[] = []
    for (const at of found) {
      if (part === '**' && deep) {
        next.push(at, ...[...tree.below(at)].filter(([, node]) => node.type === 'directory').map(([path]) => path))
      } else if (part === '..') next.push(parentOf(at))
      else if (MAGIC.test(part)) {
        const wanted = new RegExp(`^${patternSource(part.replaceAll('**', '*'))}$`, 's')
        const directory = tree.resolve(at, true)
        if (directory !== undefined) next.push(...tree.names(directory).filter((name) => wanted.test(name)).map((name) => joined(directory, name)))
      } else if (tree.resolve(joined(at, part), false) !== undefined) next.push(joined(at, part))
    }
    if (next.length > MAX_MATCHES) throw new EngineError('invalid', `${toText(pattern)} matches more than ${MAX_MATCHES} files`)
    found = [...new Set(next)]
  }
  return found
}

/** The part of a path after `/./`, which `--parents` keeps; the whole of it where there is none. */
function belowPivot(pattern: string): { readonly pivot: string; readonly rest: string } {
  const at = pattern.indexOf('/./')
  return at < 0 ? { pivot: '', rest: pattern } : { pivot: pattern.slice(0, at), rest: pattern.slice(at + 3) }
}

/** Where a source begins, and where it is looked for. */
function searched(source: string, { parents }: SelectOptions): { readonly top: string; readonly pattern: string } {
  // Dots are settled by name, as Go's filepath.Clean does; but what stands behind a pivot (`/./`) counts.
  const pattern = toBytes(parents ? source : posix.normalize(`/${source}`)).replace(/^\/+/, '')
  const { pivot, rest } = parents ? belowPivot(pattern) : { pivot: '', rest: pattern }
  const top = joined(pivot, '').replace(/\/$/, '')
  return { top, pattern: joined(top, rest) }
}

/** How sources are read. */
export interface SelectOptions {
  readonly parents: boolean
}

/** Links that a source names and that lead out of the tree. */
export function leadingOut(tree: ContextTree, source: string, options: SelectOptions): readonly string[] {
  return matches(tree, searched(source, options).pattern, options.parents).filter((path) => tree.resolve(path, true) === undefined)
}

/** Finds what one source of a COPY names. Nothing found is an empty list; a link that leads nowhere is an error. */
export function select(tree: ContextTree, source: string, options: SelectOptions): readonly Selected[] {
  const { top, pattern } = searched(source, options)
  return matches(tree, pattern, options.parents).map((path) => {
    const resolved = tree.resolve(path, true)
    const node = resolved === undefined ? undefined : tree.get(resolved)
    if (resolved === undefined || node === undefined) throw new EngineError('invalid', notThere(toText(path)))
    const base = top === '' ? '' : (tree.resolve(top, true) ?? '')
    const kept = options.parents ? path.slice(base === '' ? 0 : base.length + 1) : path.slice(path.lastIndexOf('/') + 1)
    return { tree, path: resolved, name: kept, node }
  })
}

/** Says what `--exclude` leaves out of a source: patterns count from the source itself. */
export function excluder(patterns: readonly string[]): (path: string) => boolean {
  if (patterns.length === 0) return () => false
  const rules = ignoreRules(patterns.map(toBytes).join('\n'))
  return (path) => rules.ignores(path)
}
