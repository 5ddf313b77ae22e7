import { type BuildPlatform, type Expander, expanderOf } from './state.ts'
import type { Lookup } from './dockerfile/expand.ts'
import type { Dockerfile, Instruction, Stage } from './dockerfile/instructions.ts'
import { DockerfileError, type Source } from './dockerfile/source.ts'

/** What a stage stands on. */
export type Base = { readonly kind: 'scratch' } | { readonly kind: 'image'; readonly name: string } | { readonly kind: 'stage'; readonly index: number }

/** A stage with its variables replaced. */
export interface PlannedStage {
  readonly stage: Stage
  readonly base: Base
  /** Empty: the target's. */
  readonly platform: string
}

/** What is built: the target, and whatever it needs. */
export interface BuildPlan {
  readonly target: number
  /** By index; only those that the target needs. */
  readonly stages: ReadonlyMap<number, PlannedStage>
  /** Arguments that nobody has to give. */
  readonly predefined: ReadonlyMap<string, string>
  /** Arguments before the first stage, with their values. */
  readonly globals: ReadonlyMap<string, string>
  /** Names of build arguments that are declared somewhere. */
  readonly declared: ReadonlySet<string>
  /** Adds a stage that only what a base asks for (`ONBUILD`) turned out to need. */
  include(index: number): void
}

/** What the caller says of a build's shape. */
export interface PlanOptions {
  readonly target: string
  readonly buildArgs: ReadonlyMap<string, string>
  readonly platform: BuildPlatform
  readonly host: BuildPlatform
  /** Contexts by name, which stand before stages and images. */
  readonly contexts: ReadonlySet<string>
}

export const platformText = ({ os, architecture, variant }: BuildPlatform): string => [os, architecture, variant].filter((part) => part !== '').join('/')

function platformArgs(prefix: string, platform: BuildPlatform): readonly (readonly [string, string])[] {
  return [[`${prefix}PLATFORM`, platformText(platform)], [`${prefix}OS`, platform.os], [`${prefix}ARCH`, platform.architecture], [`${prefix}VARIANT`, platform.variant]]
}

/** Arguments that are there without being said: of this machine, and of what is built. */
function predefinedArgs({ platform, host, target }: PlanOptions, stages: readonly Stage[], index: number): ReadonlyMap<string, string> {
  return new Map([...platformArgs('BUILD', host), ...platformArgs('TARGET', platform), ['TARGETSTAGE', target === '' ? (stages[index]?.name ?? '') || 'default' : target]])
}

/** Index of the stage that is named, by its name or its number; undefined: an image or a context. A stage sees those before it. */
export function stageOfFrom(stages: readonly Stage[], name: string, before: number): number | undefined {
  const lower = name.toLowerCase()
  const named = stages.findLast((stage) => stage.index < before && stage.name === lower)
  if (named !== undefined) return named.index
  return /^\d+$/.test(name) && Number(name) < before ? Number(name) : undefined
}

/** What `--from` of an instruction names. */
export function fromsOf(instruction: Instruction): readonly string[] {
  if (instruction.kind === 'COPY') return instruction.flags.get('from') ?? []
  if (instruction.kind !== 'RUN') return []
  return (instruction.flags.get('mount') ?? []).flatMap((mount) => /(?:^|,)from=([^,]*)/.exec(mount)?.[1] ?? [])
}

/** What an instruction reads from the context. */
function pathsOf(instruction: Instruction): readonly string[] {
  if (instruction.kind === 'RUN') {
    const own = (instruction.flags.get('mount') ?? []).filter((mount) => !/(?:^|,)type=(?!bind\b)/.test(mount) && !/(?:^|,)from=[^,]/.test(mount))
    return own.map((mount) => /(?:^|,)(?:source|src)=([^,]*)/.exec(mount)?.[1] ?? '.')
  }
  if (instruction.kind !== 'COPY' && instruction.kind !== 'ADD') return []
  if (fromsOf(instruction).length > 0) return []
  return instruction.sources.filter((source) => !/^\d*<<-?/.test(source) && !/^(?:https?:\/\/|git@|(?:git|ssh):\/\/)/i.test(source))
}

/** All that a build reads from its context, as far as the Dockerfile says; undefined: whatever is there. */
export function contextPaths(plan: BuildPlan): readonly string[] | undefined {
  const paths = new Set<string>()
  for (const { stage } of plan.stages.values()) {
    for (const path of stage.instructions.flatMap(pathsOf)) {
      const parts = path.split('/').filter((part) => part !== '' && part !== '.')
      if (parts.length === 0 || parts.includes('..') || /[$\\"']/.test(path)) return undefined
      paths.add(parts.join('/'))
    }
  }
  return [...paths].sort()
}

/** Finds out what has to be built. */
export function planBuild(source: Source, file: Dockerfile, options: PlanOptions): BuildPlan {
  const { stages, escape } = file
  const targetIndex = options.target === '' ? stages.length - 1 : stages.findLast((stage) => stage.name === options.target.toLowerCase())?.index
  if (targetIndex === undefined) {
    const names = stages.map((stage) => stage.name).filter((name) => name !== '')
    throw new DockerfileError(source, stages[0]?.line.place(-1) ?? { line: 1, column: 0, length: 1 }, `target stage ${JSON.stringify(options.target)} could not be found (failed to reach build target ${options.target} in Dockerfile)${names.length === 0 ? '' : `: there are ${names.join(', ')}`}`, { parsing: false })
  }
  const predefined = predefinedArgs(options, stages, targetIndex)
  const globals = new Map<string, string>()
  const declared = new Set<string>()
  const lookup: Lookup = (name) => globals.get(name) ?? predefined.get(name)
  for (const arg of file.args) {
    const expand = expanderOf(source, escape, arg, lookup)
    for (const { name, value } of arg.pairs) {
      declared.add(name)
      const given = options.buildArgs.get(name) ?? (value === undefined ? undefined : expand.word(value))
      if (given !== undefined) globals.set(name, given)
    }
  }
  const planned = new Map<number, PlannedStage>()
  const visit = (index: number): void => {
    const stage = stages[index]
    if (stage === undefined || planned.has(index)) return
    const expand: Expander = expanderOf(source, escape, stage, lookup)
    const name = expand.word(stage.base)
    if (name === '') throw new DockerfileError(source, stage.line.place(0, Math.max(1, stage.line.text.length)), `base name (${stage.base}) should not be blank`, { parsing: false })
    const named = options.contexts.has(name) ? undefined : stageOfFrom(stages, name, index)
    // A number is an image's name here: only names lead to stages.
    const base: Base = name === 'scratch' ? { kind: 'scratch' } : named !== undefined && !/^\d+$/.test(name) ? { kind: 'stage', index: named } : { kind: 'image', name }
    const needs = new Set<number>()
    for (const instruction of stage.instructions) {
      if (instruction.kind === 'ARG') for (const pair of instruction.pairs) declared.add(pair.name)
      for (const from of fromsOf(instruction)) {
        const needed = options.contexts.has(from) ? undefined : stageOfFrom(stages, from, index)
        if (needed !== undefined) needs.add(needed)
        else if (/^\d+$/.test(from) || from.toLowerCase() === stage.name) throw new DockerfileError(source, instruction.line.place(0, Math.max(1, instruction.line.text.length)), `invalid from flag value ${from}: a stage sees only the stages before it`, { parsing: false })
      }
    }
    planned.set(index, { stage, base, platform: expand.word(stage.platform) })
    if (base.kind === 'stage') visit(base.index)
    for (const need of needs) visit(need)
  }
  visit(targetIndex)
  return { target: targetIndex, stages: planned, predefined, globals, declared, include: visit }
}
