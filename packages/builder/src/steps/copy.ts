import { posix } from 'node:path'
import { PassThrough } from 'node:stream'
import { encodeHeader, padding, readTar, type TarEntry } from '@gantry/graph'
import { EngineError, writePaced } from '@gantry/std'
import type { BuildContext } from '../context/store.ts'
import { type ContextNode, contextTree, type ContextTree } from '../context/tree.ts'
import { memberOf, type Placement } from '../copy/place.ts'
import { excluder, leadingOut, mayBeNothing, notThere, select, type Selected, toBytes, toText } from '../copy/select.ts'
import type { BuildPorts } from '../ports.ts'
import { asImage } from '../state.ts'

/** Digests of what is selected; with patterns, of what they leave. */
export function digestOfSelected(selected: readonly Selected[], excludes: readonly string[]): readonly string[] {
  const excluded = excluder(excludes)
  return selected.flatMap(({ tree, path, name }) => {
    if (excludes.length === 0) return [name, tree.digest(path)]
    const left = [...tree.below(path)].filter(([inner]) => !excluded(path === '' ? inner : inner.slice(path.length + 1)))
    return [name, ...left.map(([inner, node]) => `${inner} ${node.type} ${node.mode} ${node.link} ${node.digest}`)]
  })
}

/** Selects in a context. A source that names nothing is an error, unless it is a pattern. */
export function fromContext(context: BuildContext, sources: readonly string[], parents: boolean): readonly Selected[] {
  return sources.flatMap((source) => {
    const found = select(context.tree, source, { parents })
    if (found.length === 0 && !mayBeNothing(source)) throw new EngineError('invalid', notThere(source))
    return found
  })
}

/** Files of layers that a copy reads from: which of them, and where they are. */
export interface LayerFiles {
  readonly tree: ContextTree
  readonly selected: readonly Selected[]
  /** Directories and files that cover all that is selected: as they are called, and their paths without links. */
  readonly tops: readonly { readonly named: string; readonly path: string }[]
}

/** Looks at what `sources` name in layers. Content is read, not kept. */
export async function surveyLayers(ports: BuildPorts, chainId: string | undefined, sources: readonly string[], parents: boolean): Promise<LayerFiles> {
  const root = ports.graph.look(undefined, asImage(chainId))
  // Patterns are looked for from the last directory that is named plainly.
  const named = [...new Set(sources.map((source) => plainTop(parents ? source : posix.normalize(`/${source}`))))]
  const tops = named.filter((one) => !named.some((other) => other !== one && (other === '' || one.startsWith(`${other}/`)))).flatMap((one) => {
    const path = root.resolve(`/${one}`)
    return path === undefined ? [] : [{ named: toBytes(one), path: path === '' ? '/' : path }]
  })
  const files = new Map<string, ContextNode>()
  const take = async (top: { readonly named: string; readonly path: string }): Promise<void> => {
    const survey = await ports.readFiles(chainId, top.path, { hardlinks: true }, (tar) => ports.contexts.survey(tar))
    const from = toBytes(top.path.slice(top.path.lastIndexOf('/') + 1))
    // What a link leads to is called like the link.
    for (const [path, node] of survey.below('')) files.set(top.named === '' ? path : `${top.named}${path.slice(from.length)}`, node)
  }
  for (const top of tops) await take(top)
  // Links that a pattern has found lead anywhere.
  for (const named of new Set(sources.flatMap((source) => leadingOut(contextTree(files), source, { parents })))) {
    const path = root.resolve(`/${toText(named)}`)
    if (path === undefined) throw new EngineError('invalid', `${JSON.stringify(`/${toText(named)}`)}: not found`)
    const top = { named, path: path === '' ? '/' : path }
    tops.push(top)
    await take(top)
  }
  const tree = contextTree(files)
  const selected = sources.flatMap((source) => {
    const found = select(tree, source, { parents })
    if (found.length === 0 && !mayBeNothing(source)) throw new EngineError('invalid', `${JSON.stringify(`/${source.replace(/^\/+/, '')}`)}: not found`)
    return found
  })
  return { tree, selected, tops }
}

/** The parts of a path before the first that is a pattern. */
function plainTop(source: string): string {
  const parts = source.split('/').filter((part) => part !== '' && part !== '.')
  const magic = parts.findIndex((part) => /[*?[\]\\]/.test(part) || part === '..')
  return (magic < 0 ? parts : parts.slice(0, magic)).join('/')
}

/** One place that files come from, with what stands for them in a key. */
export interface Part {
  readonly selected: readonly Selected[]
  readonly digest: readonly unknown[]
  /** Content: by digest, or from layers. */
  readonly content: { readonly kind: 'blobs'; read(digest: string): Iterable<Buffer> } | { readonly kind: 'layers'; readonly chainId: string | undefined; readonly files: LayerFiles }
  /** Files keep their owners (archives that are unpacked, other images). */
  readonly keepsOwners: boolean
  /** An archive that is unpacked. */
  readonly unpacked?: true
}

const END = Buffer.alloc(1024)
const CHUNK = 1 << 18
const AHEAD_BYTES = 4 << 20

/** The layer of a copy as an archive: directories and what is at hand first, then files of layers in the order in which they are read. */
export async function* archiveOf(ports: BuildPorts, placements: readonly Placement[], parts: readonly Part[]): AsyncGenerator<Buffer> {
  let held: Buffer[] = []
  let bytes = 0
  const later = parts.map((): Placement[] => [])
  /** Where a file went first. */
  const first = new Map<ContextNode, string>()
  for (const placement of placements) {
    const { node } = placement
    const content = parts[placement.part]?.content
    if (node.type === 'file' && content?.kind === 'layers') {
      later[placement.part]?.push(placement)
      continue
    }
    // Names of one file stay names of one file.
    const original = node.type === 'file' ? parts[placement.part]?.selected[0]?.tree.get(placement.from) : undefined
    const same = original === undefined ? undefined : first.get(original)
    const member = memberOf(placement)
    const header = encodeHeader(same === undefined ? member : { ...member, type: 'hardlink', link: same, size: 0 })
    if (original !== undefined && same === undefined) first.set(original, placement.path)
    held.push(header)
    bytes += header.length
    if (node.type === 'file' && same === undefined && node.size > 0 && content?.kind === 'blobs') {
      for (const chunk of content.read(node.digest)) {
        held.push(chunk)
        bytes += chunk.length
        if (bytes < CHUNK) continue
        yield Buffer.concat(held)
        held = []
        bytes = 0
      }
      held.push(padding(node.size))
    }
  }
  yield Buffer.concat(held)
  for (const [index, part] of parts.entries()) if (part.content.kind === 'layers') yield* filesOfLayers(ports, part.content.chainId, part.content.files, later[index] ?? [])
  yield END
}

/** Files that are read from layers once more. Names of one file stay names of one file. */
async function* filesOfLayers(ports: BuildPorts, chainId: string | undefined, files: LayerFiles, placements: readonly Placement[]): AsyncGenerator<Buffer> {
  const wanted = new Map<string, Placement[]>()
  for (const placement of placements) {
    const same = wanted.get(placement.from)
    if (same === undefined) wanted.set(placement.from, [placement])
    else same.push(placement)
  }
  /** Where a file went first. */
  const first = new Map<ContextNode, string>()
  for (const top of files.tops) {
    const from = toBytes(top.path.slice(top.path.lastIndexOf('/') + 1))
    const chunks = new PassThrough({ highWaterMark: AHEAD_BYTES })
    const push = (chunk: Uint8Array): Promise<void> => writePaced(chunks, chunk)
    const reading = ports.readFiles(chainId, top.path, { hardlinks: false }, async (tar) => {
      for await (const { entry, data } of readTar(tar)) {
        const member = entry.path.replace(/^\.\//, '').replace(/\/$/, '')
        const path = top.named === '' ? member : `${top.named}${member.slice(from.length)}`
        const node = files.tree.get(path)
        // What it leads to comes with a top of its own.
        if (entry.type === 'link' && node?.type !== 'link') continue
        for (const [nth, placement] of (wanted.get(path) ?? []).entries()) {
          const known = node === undefined ? undefined : first.get(node)
          const header: TarEntry = memberOf(placement)
          if (known !== undefined || nth > 0) {
            await push(encodeHeader({ ...header, type: 'hardlink', link: known ?? placement.path, size: 0 }))
            continue
          }
          if (node !== undefined) first.set(node, placement.path)
          await push(encodeHeader(header))
          for await (const chunk of data()) await push(Buffer.from(chunk))
          await push(padding(placement.node.size))
        }
      }
    }).then(() => void chunks.end(), (error: unknown) => void chunks.destroy(error instanceof Error ? error : new Error(String(error))))
    yield* chunks as AsyncIterable<Buffer>
    await reading
  }
}
