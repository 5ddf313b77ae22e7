import type { Layer } from '@gantry/graph'
import type { BuildContext } from '../context/store.ts'
import { NEW_MODE, type Owner, place, placeDirectory, type PlaceOptions, type Placement } from '../copy/place.ts'
import type { Selected } from '../copy/select.ts'
import type { Solver } from '../solver.ts'
import { asImage, type StageState } from '../state.ts'
import { archiveOf, type Part } from './copy.ts'

/** A layer that was made. */
export type Made = Pick<Layer, 'chainId' | 'diffId' | 'bytes'>

export const ROOT_OWNER: Owner = { uid: 0, gid: 0 }

/** Imports what a copy has placed as a layer above another. */
export async function importPlacements(solver: Solver, parent: string | undefined, placements: readonly Placement[], parts: readonly Part[]): Promise<Made> {
  const layer = await solver.ports.graph.importLayer(archiveOf(solver.ports, placements, parts), parent, { small: placements.length < 64 && parts.every((part) => part.content.kind === 'blobs') })
  return { chainId: layer.chainId, diffId: layer.diffId, bytes: layer.bytes }
}

/** How a copy places files in what a stage has come to; what is given stands before the usual. */
export function placing(solver: Solver, state: StageState, given: Partial<PlaceOptions> & Pick<PlaceOptions, 'target'>): PlaceOptions {
  const root = solver.ports.graph.look(undefined, asImage(state.chainId))
  return { root, owner: () => ROOT_OWNER, overlays: () => false, mode: (node) => node.mode, newMode: NEW_MODE, excluded: () => false, now: solver.now, parents: false, latest: solver.epoch, ...given }
}

/** A layer with just a directory, and those above it that are not there. */
export function directoryLayer(solver: Solver, state: StageState, path: string, owner: Owner): Promise<Made> {
  return importPlacements(solver, state.chainId, placeDirectory(path, placing(solver, state, { target: path, owner: () => owner })), [])
}

/** Where files of a context stand in a layer of their own. The top of a layer that may be written to is not theirs alone. */
export const CONTEXT_ROOT = '/context'

/** A layer of its own with files of a context: a directory's content, or a file by its name. */
export function contextLayer(solver: Solver, context: BuildContext, selected: readonly Selected[]): Promise<Made> {
  const parts: readonly Part[] = [{ selected, digest: [], content: { kind: 'blobs', read: (digest) => context.read(digest) }, keepsOwners: false }]
  const options: PlaceOptions = { root: undefined, target: `${CONTEXT_ROOT}/`, owner: () => ROOT_OWNER, overlays: () => false, mode: (node) => node.mode, newMode: NEW_MODE, excluded: () => false, now: solver.now, parents: false, latest: undefined }
  return importPlacements(solver, undefined, place(selected.map((one) => ({ ...one, part: 0 })), options), parts)
}
