import { EngineError } from '@gantry/std'
import { place } from '../copy/place.ts'
import type { BuildContext } from '../context/store.ts'
import type { Instruction } from '../dockerfile/instructions.ts'
import { keyOf } from '../key.ts'
import type { Solver, StepOutcome } from '../solver.ts'
import { asImage, type Expander, type StageState } from '../state.ts'
import { isUrl, partsOfAdd } from './add.ts'
import { digestOfSelected, fromContext, type Part, surveyLayers } from './copy.ts'
import { readCopy } from './copy-flags.ts'
import { sourcesOf } from './inline.ts'
import { importPlacements, type Made, placing, ROOT_OWNER } from './layer.ts'

type Copy = Instruction & { readonly kind: 'COPY' | 'ADD' }

/** The context, where a step reads from it. */
async function contextFor(solver: Solver, copy: Copy, sources: readonly string[]): Promise<BuildContext | undefined> {
  const remote = (source: string): boolean => copy.kind === 'ADD' && (isUrl(source) || solver.ports.isGit(source))
  return sources.every(remote) ? undefined : solver.context()
}

/** Carries a COPY or an ADD out. */
export async function copyStep(solver: Solver, index: number, state: StageState, copy: Copy, expand: Expander): Promise<StepOutcome> {
  const { sources, inline } = sourcesOf(copy, expand)
  const { link, parents, from, checksum, excludes, target, unpack, keepGitDirectory, ...wanted } = readCopy(copy, expand, state)
  const createdBy = `${copy.kind} ${[...copy.sources.map((word) => expand.word(word)), copy.target].join(' ')} # buildkit`
  // Only names of owners, and files that are copied, make it necessary to look into what is there.
  const owner = wanted.owner(() => solver.ports.graph.look(undefined, asImage(state.chainId)))
  const how = [target, owner ?? null, wanted.chmod, parents, excludes, solver.epoch ?? null]
  const info = { kind: 'regular', description: createdBy }
  const parent = link ? '' : (state.chainId ?? '')
  const held: Disposable[] = []
  const make = (parts: readonly Part[]) => (): Promise<Made> => {
    const all = parts.flatMap((part, number) => part.selected.map((one) => ({ ...one, part: number })))
    const options = placing(solver, state, { target, mode: wanted.mode, newMode: wanted.newMode, excluded: wanted.excluded, parents, replacesLinks: link, overlays: (part) => parts[part]?.unpacked === true, owner: (part) => owner ?? (parts[part]?.keepsOwners === true ? undefined : ROOT_OWNER) })
    return importPlacements(solver, state.chainId, place(all, options), parts)
  }
  const contentKey = (parts: readonly Part[]): string => {
    const content = keyOf('copy', parent, how, parts.map((part) => [part.digest, part.keepsOwners]))
    return link ? keyOf('link', state.chainId ?? '', content) : content
  }
  const finish = async (parts: readonly Part[]): Promise<StepOutcome> => {
    return { ...(await solver.cached(contentKey(parts), info, make(parts))), createdBy }
  }
  try {
    const found = from === '' ? { context: await contextFor(solver, copy, sources) } : await solver.from(from, index)
    if ('context' in found) {
      const { context } = found
      if (copy.kind === 'ADD') return await finish([...(await partsOfAdd(solver, sources, { context, checksum, unpack, excludes, keepGitDirectory, held })), ...inline])
      if (sources.length === 0) return await finish(inline)
      if (context === undefined) throw new EngineError('invalid', `${copy.kind}: there is no build context to copy from`)
      const selected = fromContext(context, sources, parents)
      return await finish([{ selected, digest: digestOfSelected(selected, excludes), content: { kind: 'blobs', read: (digest) => context.read(digest) }, keepsOwners: false }, ...inline])
    }
    // First by where the files are; only then by what they hold, which has to be read.
    const quick = keyOf('copy-layers', state.chainId ?? '', how, link, found.chainId ?? '', sources, inline.map((part) => part.digest))
    const known = solver.options.noCache ? undefined : solver.ports.cache.find(quick)
    if (known !== undefined) {
      solver.hold(known.chainId)
      return { layer: known, cached: true, createdAt: known.createdAt, createdBy }
    }
    const files = await surveyLayers(solver.ports, found.chainId, sources, parents)
    const owners = files.selected.map(({ tree, path, node }) => [node.uid, node.gid, ...[...tree.below(path)].filter(([, one]) => one.uid !== 0 || one.gid !== 0).map(([at, one]) => `${at}:${one.uid}:${one.gid}`)])
    const part: Part = { selected: files.selected, digest: [...digestOfSelected(files.selected, excludes), owners], content: { kind: 'layers', chainId: found.chainId, files }, keepsOwners: true }
    const outcome = await finish([part, ...inline])
    solver.ports.cache.alias(quick, contentKey([part, ...inline]))
    return outcome
  } finally {
    for (const one of held) one[Symbol.dispose]()
  }
}
