import type { Image } from '@gantry/graph'
import type { ImageConfig, ImageHistory, ImageRunConfig } from '@gantry/std'
import { ExpandError, expandWord, expandWords, type Lookup } from './dockerfile/expand.ts'
import type { Instruction } from './dockerfile/instructions.ts'
import { DockerfileError, type Source } from './dockerfile/source.ts'

/** What an image is for. */
export interface BuildPlatform {
  readonly os: string
  readonly architecture: string
  /** Empty for none. */
  readonly variant: string
}

/** What a stage has come to after some of its steps. */
export interface StageState {
  /** Top of its layers; undefined for none. */
  readonly chainId: string | undefined
  readonly diffIds: readonly string[]
  readonly config: ImageRunConfig
  readonly history: readonly ImageHistory[]
  readonly author: string
  readonly platform: BuildPlatform
  /** Values of the `ARG`s that have been declared. */
  readonly args: ReadonlyMap<string, string>
  /** The stage has said its own `CMD`: another entrypoint leaves it. */
  readonly commandSet: boolean
}

/** A stage that stands on nothing. */
export function emptyState(platform: BuildPlatform): StageState {
  return { chainId: undefined, diffIds: [], config: { Env: [`PATH=${DEFAULT_PATH}`], WorkingDir: '/' }, history: [], author: '', platform, args: new Map(), commandSet: false }
}

export const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

/** A stage that stands on an image. */
export function stateOf(image: { readonly config: ImageConfig; readonly chainId: string | undefined }): StageState {
  const { config: { config, rootfs, history, os, architecture, variant } } = image
  const path = valueIn(config?.Env, 'PATH') === undefined ? [`PATH=${DEFAULT_PATH}`] : []
  return {
    chainId: image.chainId, diffIds: rootfs.diff_ids, config: { ...config, Env: [...(config?.Env ?? []), ...path] }, history: history ?? [], author: '', args: new Map(), commandSet: false,
    platform: { os: os ?? 'linux', architecture: architecture ?? '', variant: variant ?? '' },
  }
}

/** The state's layers as something to look into; it is no image that anybody keeps. */
export function asImage(chainId: string | undefined): Image {
  return { id: '', config: { rootfs: { type: 'layers', diff_ids: [] } }, raw: Buffer.alloc(0), chainId, addedAt: 0, parent: undefined }
}

/** A name's value in a list of `NAME=value`. */
export function valueIn(env: readonly string[] | null | undefined, name: string): string | undefined {
  return env?.findLast((entry) => entry.startsWith(`${name}=`))?.slice(name.length + 1)
}

/** Variables that an instruction sees: the environment before the arguments. */
export function lookupOf(state: StageState): Lookup {
  return (name) => valueIn(state.config.Env, name) ?? state.args.get(name)
}

/** Replaces variables in what an instruction says; errors have its place. */
export interface Expander {
  word(text: string): string
  words(text: string): readonly string[]
  content(text: string): string
}

/** Makes an expander for one instruction. */
export function expanderOf(source: Source, escape: string, { line }: Pick<Instruction, 'line'>, lookup: Lookup): Expander {
  const guarded = <T>(text: string, work: () => T): T => {
    try {
      return work()
    } catch (error) {
      if (!(error instanceof ExpandError)) throw error
      const found = line.text.indexOf(text)
      throw new DockerfileError(source, line.place(found < 0 ? 0 : found + error.at, found < 0 ? Math.max(1, line.text.length) : 1), `failed to process ${JSON.stringify(text)}: ${error.message}`, { parsing: false, cause: error })
    }
  }
  return {
    word: (text) => guarded(text, () => expandWord(text, escape, lookup)),
    words: (text) => guarded(text, () => expandWords(text, escape, lookup)),
    content: (text) => guarded(text, () => expandWord(text, escape, lookup, 'content')),
  }
}
