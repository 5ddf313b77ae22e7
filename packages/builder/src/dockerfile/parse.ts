import { suggestions } from '@gantry/std'
import { expandWord } from './expand.ts'
import type { Command, Dockerfile, Flags, Instruction, Stage } from './instructions.ts'
import { type LogicalLine, rawWords, readLines } from './lines.ts'
import { DockerfileError, type Source } from './source.ts'

/** Flags of each instruction; a bool may stand alone, those with `s` may be given again. */
const FLAGS: Readonly<Record<string, Readonly<Record<string, 'text' | 'bool' | 'texts'>>>> = {
  FROM: { platform: 'text' },
  RUN: { mount: 'texts', network: 'text', security: 'text', device: 'texts' },
  COPY: { from: 'text', chown: 'text', chmod: 'text', link: 'bool', parents: 'bool', exclude: 'texts' },
  ADD: { chown: 'text', chmod: 'text', link: 'bool', checksum: 'text', 'keep-git-dir': 'bool', unpack: 'bool', exclude: 'texts' },
  HEALTHCHECK: { interval: 'text', timeout: 'text', 'start-period': 'text', 'start-interval': 'text', retries: 'text' },
}

const KEYWORDS: readonly string[] = ['FROM', 'ADD', 'ARG', 'CMD', 'COPY', 'ENTRYPOINT', 'ENV', 'EXPOSE', 'HEALTHCHECK', 'LABEL', 'MAINTAINER', 'ONBUILD', 'RUN', 'SHELL', 'STOPSIGNAL', 'USER', 'VOLUME', 'WORKDIR']

const STAGE_NAME = /^[a-z][a-z0-9-_.]*$/
const MAX_INSTRUCTIONS = 10_000
/** Keeps variables as they are. */
const asWritten = (name: string): string => `$${name}`

/** Reads one instruction; what it says is checked for its form. */
class Reader {
  readonly source: Source
  readonly line: LogicalLine
  readonly escape: string
  /** What follows the flags, and where it begins in the line's text. */
  readonly rest: string
  readonly restAt: number
  readonly flags: Flags

  constructor(source: Source, line: LogicalLine, escape: string) {
    this.source = source
    this.line = line
    this.escape = escape
    const { flags, at } = this.#readFlags()
    this.flags = flags
    this.restAt = at
    this.rest = line.text.slice(at)
  }

  fail(message: string, at = -1, length = 1): never {
    throw new DockerfileError(this.source, this.line.place(at, length), message)
  }

  #readFlags(): { readonly flags: Flags; readonly at: number } {
    const { line: { keyword, text } } = this
    const known = FLAGS[keyword]
    const flags = new Map<string, string[]>()
    if (known === undefined || !text.startsWith('--')) return { flags, at: 0 }
    for (const { text: word, at } of rawWords(text, this.escape)) {
      if (!word.startsWith('--')) return { flags, at }
      if (word === '--') return { flags, at: at + 2 + (/^\s*/.exec(text.slice(at + 2))?.[0].length ?? 0) }
      const [, name = '', value] = /^--([^=]*)(?:=([\s\S]*))?$/.exec(word) ?? []
      const kind = known[name]
      if (kind === undefined) this.fail(`unknown flag: --${name}${this.#meant(name, Object.keys(known), '--')}`, at, word.length)
      if (value === undefined && kind !== 'bool') this.fail(`missing a value on flag: --${name}`, at, word.length)
      if (flags.has(name) && kind !== 'texts') this.fail(`duplicate flag specified: --${name}`, at, word.length)
      if (kind === 'bool' && value !== undefined && !/^(true|false)$/i.test(value)) this.fail(`expecting boolean value for flag --${name}, not: ${value}`, at, word.length)
      flags.set(name, [...(flags.get(name) ?? []), expandWord(value ?? 'true', this.escape, asWritten)])
    }
    return { flags, at: text.length }
  }

  #meant(word: string, known: readonly string[], prefix = ''): string {
    const [first] = suggestions(word, known)
    return first === undefined ? '' : ` (did you mean ${prefix}${first}?)`
  }

  unknown(): never {
    return this.fail(`unknown instruction: ${this.line.keyword}${this.#meant(this.line.keyword, KEYWORDS)}`)
  }

  /** A JSON list of texts, or undefined. */
  json(): readonly string[] | undefined {
    if (!this.rest.startsWith('[')) return undefined
    let list: unknown
    try {
      list = JSON.parse(this.rest)
    } catch (error) {
      if (error instanceof SyntaxError) return undefined
      throw error
    }
    if (!Array.isArray(list)) return undefined
    if (!list.every((one) => typeof one === 'string')) this.fail('only string type is allowed in JSON format arrays', this.restAt, this.rest.length)
    return list
  }

  command(): Command {
    const list = this.json()
    return list === undefined ? { exec: false, words: this.rest === '' ? [] : [this.rest] } : { exec: true, words: list }
  }

  /** Words between blanks: quotes do not hold them together. */
  words(): readonly string[] {
    return this.rest === '' ? [] : this.rest.split(/\s+/)
  }

  one(): string {
    const { rest, line: { keyword } } = this
    if (rest === '') this.fail(`${keyword} requires exactly one argument`)
    return rest
  }

  /** `name=value …`, or the old `name value`. */
  pairs(): readonly { readonly name: string; readonly value: string }[] {
    const { keyword } = this.line
    const words = rawWords(this.rest, this.escape)
    const [first] = words
    if (first === undefined) return this.fail(`${keyword} requires at least one argument`)
    if (!first.text.includes('=')) {
      const [, name = '', value] = /^(\S+)\s+([\s\S]+)$/.exec(this.rest) ?? []
      if (value === undefined) return this.fail(`${keyword} must have two arguments`, this.restAt, first.text.length)
      return [{ name, value }]
    }
    return words.map(({ text, at }) => {
      const equals = text.indexOf('=')
      if (equals < 0) return this.fail(`Syntax error - can't find = in ${JSON.stringify(text)}. Must be of the form: name=value`, this.restAt + at, text.length)
      if (equals === 0) return this.fail(`${keyword} names can not be blank`, this.restAt + at, text.length)
      return { name: text.slice(0, equals), value: text.slice(equals + 1) }
    })
  }
}

function readCopy(reader: Reader, kind: 'COPY' | 'ADD'): Instruction {
  const { line, flags } = reader
  const words = reader.json() ?? reader.words()
  const target = words.at(-1)
  if (target === undefined || words.length < 2) return reader.fail(`${kind} requires at least two arguments${words.length === 0 ? '' : ', but only one was provided. Destination could not be determined'}`)
  const sources = words.slice(0, -1)
  const from = flags.get('from')?.[0]
  if (from === '') reader.fail('--from: expected a stage, an image or a context')
  return { kind, line, flags, sources, target, heredocs: line.heredocs }
}

function readHealthcheck(reader: Reader): Instruction {
  const { line, flags } = reader
  const [type = ''] = reader.words()
  if (type === '') return reader.fail('HEALTHCHECK requires at least one argument')
  const upper = type.toUpperCase()
  if (upper === 'NONE') {
    if (reader.words().length > 1) reader.fail('HEALTHCHECK NONE takes no arguments', reader.restAt, reader.rest.length)
    return { kind: 'HEALTHCHECK', line, flags: new Map(), command: undefined }
  }
  if (upper !== 'CMD') reader.fail(`Unknown type ${JSON.stringify(type)} in HEALTHCHECK (try CMD)`, reader.restAt, type.length)
  const text = reader.rest.slice(type.length).trim()
  if (text === '') reader.fail('Missing command after HEALTHCHECK CMD', reader.restAt, type.length)
  return { kind: 'HEALTHCHECK', line, flags, command: commandOf(text) }
}

/** A JSON list of texts, else a text for a shell. */
function commandOf(text: string): Command {
  try {
    const list: unknown = JSON.parse(text)
    if (Array.isArray(list) && list.every((one) => typeof one === 'string')) return { exec: true, words: list }
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
  }
  return { exec: false, words: [text] }
}

function readOnbuild(reader: Reader): Instruction {
  const [trigger = ''] = reader.words()
  const upper = trigger.toUpperCase()
  if (upper === '') reader.fail('ONBUILD requires at least one argument')
  if (upper === 'ONBUILD') reader.fail("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed", reader.restAt, trigger.length)
  if (upper === 'FROM' || upper === 'MAINTAINER') reader.fail(`${upper} isn't allowed as an ONBUILD trigger`, reader.restAt, trigger.length)
  const { heredocs } = reader.line
  const text = [reader.rest, ...heredocs.map((one) => `${one.content}${one.name}`)].join('\n')
  readTrigger(text, reader.escape)
  return { kind: 'ONBUILD', line: reader.line, text }
}

/** Reads an instruction that stands alone, such as what an image's `ONBUILD` asks for; its text is a source of its own. */
export function readTrigger(text: string, escape: string, name = 'ONBUILD'): { readonly source: Source; readonly instruction: Instruction } {
  const source: Source = { name, lines: [`# escape=${escape}`, ...text.split('\n')], returns: new Set() }
  const [line] = readLines(source).lines
  if (line === undefined) throw new DockerfileError(source, { line: 2, column: 0, length: 1 }, `${name}: expected an instruction`)
  return { source, instruction: readInstruction(source, line, escape) }
}

function readInstruction(source: Source, line: LogicalLine, escape: string): Instruction {
  const reader = new Reader(source, line, escape)
  const kind = line.keyword
  switch (kind) {
    case 'ARG':
      if (reader.rest === '') reader.fail('ARG requires at least one argument')
      return {
        kind, line,
        pairs: rawWords(reader.rest, escape).map(({ text, at }) => {
          const equals = text.indexOf('=')
          if (equals === 0) return reader.fail('ARG names can not be blank', at, text.length)
          return equals < 0 ? { name: text, value: undefined } : { name: text.slice(0, equals), value: text.slice(equals + 1) }
        }),
      }
    case 'ENV':
    case 'LABEL':
      return { kind, line, pairs: reader.pairs() }
    case 'RUN': {
      const command = reader.command()
      if (command.words.length === 0) reader.fail('RUN requires at least one argument')
      return { kind, line, flags: reader.flags, command, heredocs: line.heredocs }
    }
    case 'CMD':
    case 'ENTRYPOINT':
      // Of nothing at all the shell makes nothing.
      return { kind, line, command: reader.rest === '' ? { exec: false, words: [''] } : reader.command() }
    case 'COPY':
    case 'ADD':
      return readCopy(reader, kind)
    case 'EXPOSE':
    case 'VOLUME': {
      const words = (kind === 'VOLUME' ? reader.json() : undefined) ?? reader.words()
      if (words.length === 0) reader.fail(`${kind} requires at least one argument`)
      if (words.some((word) => word === '')) reader.fail('VOLUME specified can not be an empty string', reader.restAt, reader.rest.length)
      return { kind, line, words }
    }
    case 'USER':
    case 'WORKDIR':
    case 'STOPSIGNAL':
    case 'MAINTAINER':
      return { kind, line, text: reader.one() }
    case 'SHELL': {
      const words = reader.json()
      if (words === undefined) return reader.fail('SHELL requires the arguments to be in JSON form', reader.restAt, reader.rest.length)
      if (words.length === 0) return reader.fail('SHELL requires at least one argument')
      return { kind, line, words }
    }
    case 'HEALTHCHECK':
      return readHealthcheck(reader)
    case 'ONBUILD':
      return readOnbuild(reader)
    case 'FROM':
      return reader.fail('FROM cannot stand here')
    default:
      return reader.unknown()
  }
}

function readFrom(source: Source, line: LogicalLine, escape: string, index: number): Omit<Stage, 'instructions'> {
  const reader = new Reader(source, line, escape)
  const words = rawWords(reader.rest, escape)
  const [base, as, name] = words
  if (base === undefined || (words.length !== 1 && (words.length !== 3 || as?.text.toUpperCase() !== 'AS'))) return reader.fail('FROM requires either one or three arguments')
  const called = name?.text.toLowerCase() ?? ''
  if (name !== undefined && !STAGE_NAME.test(called)) return reader.fail(`invalid name for build stage: ${JSON.stringify(name.text)}, name can't start with a number or contain symbols`, reader.restAt + name.at, name.text.length)
  return { index, name: called, base: base.text, platform: reader.flags.get('platform')?.[0] ?? '', line }
}

/** Reads a Dockerfile: its directives, the arguments before the first stage, and its stages. */
export function parseDockerfile(source: Source): Dockerfile {
  const { directives, lines } = readLines(source)
  const { escape } = directives
  const nowhere = { line: 1, column: 0, length: 1 }
  if (source.lines.every((line) => line.trim() === '')) throw new DockerfileError(source, nowhere, `the Dockerfile (${source.name}) cannot be empty`, { parsing: false })
  if (lines.length === 0) throw new DockerfileError(source, nowhere, 'file with no instructions', { parsing: false })
  if (lines.length > MAX_INSTRUCTIONS) throw new DockerfileError(source, nowhere, `${lines.length} instructions: expected at most ${MAX_INSTRUCTIONS}`)
  const args: (Instruction & { readonly kind: 'ARG' })[] = []
  const stages: (Omit<Stage, 'instructions'> & { readonly instructions: Instruction[] })[] = []
  for (const line of lines) {
    const stage = stages.at(-1)
    if (line.keyword === 'FROM') {
      stages.push({ ...readFrom(source, line, escape, stages.length), instructions: [] })
      continue
    }
    const instruction = readInstruction(source, line, escape)
    if (stage !== undefined) stage.instructions.push(instruction)
    else if (instruction.kind === 'ARG') args.push(instruction)
    else throw new DockerfileError(source, line.place(-1), 'no build stage in current context: expected FROM or ARG')
  }
  if (stages.length === 0) throw new DockerfileError(source, nowhere, 'no build stage in current context: expected FROM', { parsing: false })
  return { ...directives, args, stages }
}
