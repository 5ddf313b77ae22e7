import { EngineError } from '@gantry/std'
import { ExpandError, expandWord } from './expand.ts'
import type { Dockerfile, Instruction, Stage } from './instructions.ts'
import { rawWords } from './lines.ts'
import { excerpt, type Place, type Source } from './source.ts'

/** Something that builds, but is not as it should be. */
export interface CheckWarning {
  readonly rule: string
  readonly message: string
  readonly place: Place
}

/** What is known beside the file. */
export interface CheckOptions {
  readonly buildArgs: ReadonlySet<string>
  /** True for paths of the context that are left out. */
  ignores(path: string): boolean
}

const RESERVED = new Set(['scratch', 'context'])
const SECRET = /(^|_)(apikey|auth|credential|credentials|key|password|pword|passwd|secret|token)(_|$)/i
const NO_SECRET = /(^|_)(public|file|version)(_|$)/i
const ONCE = new Set(['CMD', 'ENTRYPOINT', 'HEALTHCHECK'])
const ALWAYS = new Set(['HTTP_PROXY', 'HTTPS_PROXY', 'FTP_PROXY', 'NO_PROXY', 'ALL_PROXY', 'PATH', 'HOME', 'HOSTNAME', 'PWD'])
const PLATFORM_ARG = /^(BUILD|TARGET)(PLATFORM|OS|ARCH|VARIANT)$|^TARGETSTAGE$/

type Tell = (rule: string, message: string, at: Place) => void

/** The keyword as it is written. */
function writtenKeyword(source: Source, line: Instruction['line']): string {
  const place = line.place(-1)
  return (source.lines[place.line - 1] ?? '').slice(place.column, place.column + place.length)
}

/** Texts of an instruction in which variables are replaced. */
function expanded(instruction: Instruction): readonly string[] {
  switch (instruction.kind) {
    case 'ENV':
    case 'LABEL':
      return instruction.pairs.flatMap((pair) => [pair.name, pair.value])
    case 'ARG':
      return instruction.pairs.flatMap((pair) => pair.value ?? [])
    case 'COPY':
    case 'ADD':
      return [...instruction.sources, instruction.target]
    case 'EXPOSE':
    case 'VOLUME':
      return instruction.words
    case 'USER':
    case 'WORKDIR':
    case 'STOPSIGNAL':
      return [instruction.text]
    default:
      return []
  }
}

function unknownVariables(text: string, escape: string, known: ReadonlySet<string>): readonly string[] {
  const unknown: string[] = []
  try {
    expandWord(text, escape, (name) => {
      if (!known.has(name) && !known.has(name.toUpperCase()) && /^[A-Za-z_]/.test(name)) unknown.push(name)
      return ''
    })
  } catch (error) {
    if (!(error instanceof ExpandError)) throw error
  }
  // One with a default or a condition is asked for on purpose.
  return unknown.filter((name) => !new RegExp(`\\$\\{${name}:?[-+?]`).test(text))
}

function checkCasing(source: Source, file: Dockerfile, tell: Tell): void {
  const lines = [...file.args.map((arg) => arg.line), ...file.stages.flatMap((stage) => [stage.line, ...stage.instructions.map((one) => one.line)])]
  const written = lines.map((line) => ({ line, keyword: writtenKeyword(source, line) }))
  const lower = written.filter(({ keyword }) => keyword === keyword.toLowerCase()).length
  const wanted = lower > written.length / 2 ? 'lowercase' : 'uppercase'
  for (const { line, keyword } of written) {
    if (keyword !== (wanted === 'lowercase' ? keyword.toLowerCase() : keyword.toUpperCase())) tell('ConsistentInstructionCasing', `Command '${keyword}' should match the case of the command majority (${wanted})`, line.place(-1))
  }
}

function checkFrom(source: Source, stage: Stage, globals: ReadonlySet<string>, escape: string, tell: Tell): void {
  const [, as, name] = rawWords(stage.line.text.replace(/^(--\S+\s+)*/, (flags) => ' '.repeat(flags.length)), escape)
  if (name !== undefined && name.text !== name.text.toLowerCase()) tell('StageNameCasing', `Stage name '${name.text}' should be lowercase`, stage.line.place(name.at, name.text.length))
  const keyword = writtenKeyword(source, stage.line)
  if (as !== undefined && (as.text === as.text.toUpperCase()) !== (keyword === keyword.toUpperCase())) tell('FromAsCasing', `'${as.text}' and '${keyword}' keywords' casing do not match`, stage.line.place(as.at, as.text.length))
  if (RESERVED.has(stage.name)) tell('ReservedStageName', `Stage name should not use the same name as reserved stage ${JSON.stringify(stage.name)}`, stage.line.place(-1))
  if (/^\$\{?TARGETPLATFORM\}?$/.test(stage.platform)) tell('RedundantTargetPlatform', `Setting platform to predefined ${stage.platform} in FROM is redundant as this is the default behavior`, stage.line.place(-1))
  for (const unknown of [...unknownVariables(stage.base, escape, globals), ...unknownVariables(stage.platform, escape, globals)]) {
    if (!PLATFORM_ARG.test(unknown)) tell('UndefinedArgInFrom', `FROM argument '${unknown}' is not declared`, stage.line.place(-1))
  }
}

function checkInstruction(instruction: Instruction, escape: string, known: Set<string>, options: CheckOptions, tell: Tell): void {
  const { line } = instruction
  const place = line.place(-1)
  for (const text of expanded(instruction)) for (const name of unknownVariables(text, escape, known)) tell('UndefinedVar', `Usage of undefined variable '$${name}'`, place)
  if (instruction.kind === 'MAINTAINER') tell('MaintainerDeprecated', 'Maintainer instruction is deprecated in favor of using label', place)
  if ((instruction.kind === 'ENV' || instruction.kind === 'LABEL') && !/^\S*=/.test(line.text)) tell('LegacyKeyValueFormat', `"${instruction.kind} key=value" should be used instead of legacy "${instruction.kind} key value" format`, place)
  if (instruction.kind === 'ENV' || instruction.kind === 'ARG') {
    for (const { name } of instruction.pairs) {
      if (SECRET.test(name) && !NO_SECRET.test(name)) tell('SecretsUsedInArgOrEnv', `Do not use ARG or ENV instructions for sensitive data (${instruction.kind} ${JSON.stringify(name)})`, place)
      known.add(name)
    }
  }
  if (instruction.kind === 'COPY' && !instruction.flags.has('from')) {
    for (const path of instruction.sources) {
      const plain = path.replace(/^\.?\/+/, '')
      if (plain !== '' && plain !== '.' && !/[*?[$<]/.test(path) && options.ignores(plain)) tell('CopyIgnoredFile', `Attempting to Copy file ${JSON.stringify(path)} that is excluded by .dockerignore`, place)
    }
  }
}

function checkStage(stage: Stage, escape: string, args: ReadonlySet<string>, options: CheckOptions, tell: Tell): void {
  const known = new Set([...ALWAYS, ...options.buildArgs].filter((name) => ALWAYS.has(name) || args.has(name)))
  const seen = new Map<string, Instruction>()
  let workdir = false
  let shell = false
  for (const instruction of stage.instructions) {
    const { kind, line } = instruction
    checkInstruction(instruction, escape, known, options, tell)
    const before = seen.get(kind)
    if (ONCE.has(kind) && before !== undefined) tell('MultipleInstructionsDisallowed', `Multiple ${kind} instructions should not be used in the same stage because only the last one will be used`, before.line.place(-1))
    seen.set(kind, instruction)
    if (kind === 'SHELL') shell = true
    if ((kind === 'CMD' || kind === 'ENTRYPOINT') && !instruction.command.exec && instruction.command.words.length > 0 && !shell) tell('JSONArgsRecommended', `JSON arguments recommended for ${kind} to prevent unintended behavior related to OS signals`, line.place(-1))
    if (kind === 'WORKDIR') {
      if (!workdir && !/^[/$]/.test(instruction.text)) tell('WorkdirRelativePath', `Relative workdir ${JSON.stringify(instruction.text)} can have unexpected results if the base image changes`, line.place(-1))
      workdir = true
    }
  }
}

/** Looks for what builds, but should not be so; rules have the names that BuildKit's checks have. `# check=skip=RULE,…` leaves some out. */
export function checkDockerfile(source: Source, file: Dockerfile, options: CheckOptions): readonly CheckWarning[] {
  const skipped = new Set((/(?:^|;)skip=([^;]*)/.exec(file.check)?.[1] ?? '').split(',').map((rule) => rule.trim()))
  const warnings: CheckWarning[] = []
  const tell: Tell = (rule, message, place) => {
    if (!skipped.has(rule) && !skipped.has('all')) warnings.push({ rule, message, place })
  }
  checkCasing(source, file, tell)
  const globals = new Set(file.args.flatMap((arg) => arg.pairs.map((pair) => pair.name)))
  const names = new Set<string>()
  for (const stage of file.stages) {
    checkFrom(source, stage, globals, file.escape, tell)
    if (stage.name !== '' && names.has(stage.name)) tell('DuplicateStageName', `Duplicate stage name ${JSON.stringify(stage.name)}, stage names should be unique`, stage.line.place(-1))
    names.add(stage.name)
    // What a base sets is not known here: only what stands on nothing, or on a stage of this file, can be judged.
    const isOwn = stage.base === 'scratch' || names.has(stage.base.toLowerCase())
    checkStage(stage, file.escape, globals, options, isOwn ? tell : (rule, message, place) => (rule === 'UndefinedVar' && /\$[a-z]/.test(message) ? undefined : tell(rule, message, place)))
  }
  return warnings.sort((a, b) => a.place.line - b.place.line)
}

/** The warnings as people read them. */
export function warningText(source: Source, warnings: readonly CheckWarning[]): string {
  if (warnings.length === 0) return 'Check complete, no warnings found.\n'
  return `${warnings.map((one) => `WARNING: ${one.rule}\n${one.message}\n${excerpt(source, one.place)}\n`).join('\n')}\nCheck complete, ${warnings.length} warning${warnings.length === 1 ? ' has' : 's have'} been found!\n`
}

/** True where the file itself asks that warnings end the build (`# check=error=true`). */
export function checkIsFatal(file: Dockerfile): boolean {
  return /(?:^|;)error=true(?:;|$)/i.test(file.check)
}

/** The error of a file that asks for it. */
export function checkFailure(source: Source, warnings: readonly CheckWarning[]): EngineError {
  return new EngineError('invalid', `lint violation found for rules: ${[...new Set(warnings.map((one) => one.rule))].join(', ')}\n${warningText(source, warnings)}`)
}
