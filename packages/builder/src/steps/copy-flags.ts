import { posix } from 'node:path'
import type { LayeredFs } from '@gantry/graph'
import { EngineError, isDigest } from '@gantry/std'
import type { ContextNode } from '../context/tree.ts'
import { modeOf, newDirectoryMode } from '../copy/mode.ts'
import { ownerOf } from '../copy/owner.ts'
import type { Owner } from '../copy/place.ts'
import { excluder } from '../copy/select.ts'
import type { Instruction } from '../dockerfile/instructions.ts'
import type { Expander, StageState } from '../state.ts'

/** What the flags and the target of a COPY or an ADD say. */
export interface CopyWishes {
  readonly link: boolean
  readonly parents: boolean
  readonly from: string
  readonly checksum: string
  readonly excludes: readonly string[]
  readonly excluded: (path: string) => boolean
  /** Absolute; a slash at its end is kept. */
  readonly target: string
  readonly chmod: string
  readonly mode: (node: ContextNode) => number
  readonly newMode: number
  /** Names are looked up in the root that is copied to. */
  readonly owner: (root: () => LayeredFs | undefined) => Owner | undefined
  readonly unpack: boolean | undefined
  readonly keepGitDirectory: boolean
}

/** Where a copy goes: absolute, a slash at its end kept. */
function targetOf(state: StageState, text: string): string {
  const { WorkingDir: workdir = '' } = state.config
  const resolved = posix.resolve(workdir === '' ? '/' : workdir, text)
  return /(^|\/)\.?$/.test(text) && resolved !== '/' ? `${resolved}/` : resolved
}

/** Reads them; variables are replaced. */
export function readCopy(copy: Instruction & { readonly kind: 'COPY' | 'ADD' }, expand: Expander, state: StageState): CopyWishes {
  const flag = (name: string): string => expand.word(copy.flags.get(name)?.[0] ?? '')
  const isSet = (name: string): boolean => /^true$/i.test(copy.flags.get(name)?.[0] ?? '')
  const [chown, chmod, checksum] = [flag('chown'), flag('chmod'), flag('checksum')]
  if (checksum !== '' && !isDigest(checksum)) throw new EngineError('invalid', `invalid checksum ${JSON.stringify(checksum)}: expected sha256: and 64 hexadecimal digits`)
  const excludes = (copy.flags.get('exclude') ?? []).map((pattern) => expand.word(pattern))
  return {
    link: isSet('link'), parents: isSet('parents'), from: flag('from'), checksum, excludes, excluded: excluder(excludes), target: targetOf(state, expand.word(copy.target)), chmod, mode: modeOf(chmod), newMode: newDirectoryMode(chmod),
    owner: (root) => (chown === '' ? undefined : ownerOf(root, chown)), unpack: copy.flags.has('unpack') ? isSet('unpack') : undefined, keepGitDirectory: isSet('keep-git-dir'),
  }
}
