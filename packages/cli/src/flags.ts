import { EngineError } from '@gantry/std'

/** What was typed cannot be: the message says what was expected, and how to learn more. */
export class UsageError extends EngineError {
  readonly exitCode: number
  constructor(message: string, exitCode = 125) {
    super('invalid', message)
    this.exitCode = exitCode
  }
}

/** One flag of a command: pflag's grammar. */
export interface Flag {
  readonly name: string
  readonly short?: string
  readonly kind: 'bool' | 'text' | 'list' | 'number'
  readonly help: string
  /** Why a value cannot be, or undefined. */
  readonly check?: (value: string) => string | undefined
}

const labelOf = (flag: Flag): string => `${flag.short === undefined ? '' : `-${flag.short}, `}--${flag.name}`

/** What was given. */
export interface Parsed {
  readonly rest: readonly string[]
  has(name: string): boolean
  bool(name: string): boolean
  text(name: string): string
  list(name: string): readonly string[]
  number(name: string): number | undefined
}

const TRUTHS: Readonly<Record<string, boolean>> = { true: true, '1': true, t: true, TRUE: true, True: true, false: false, '0': false, f: false, FALSE: false, False: false }

/** Parses words; with `stop`, the first word that is no flag ends the flags (as for `run IMAGE COMMAND`). `usage` is told when a flag is wrong. */
export function parseFlags(words: readonly string[], flags: readonly Flag[], usage: string, stop: boolean): Parsed {
  const found = new Map<string, string[]>()
  const rest: string[] = []
  const fail = (reason: string): EngineError => new UsageError(`${reason}\n\n${usage}`)
  const put = (flag: Flag, value: string): void => {
    const reason = flag.kind === 'bool' && TRUTHS[value] === undefined ? `strconv.ParseBool: parsing "${value}": invalid syntax` : flag.kind === 'number' && !/^[+-]?\d+$/.test(value) ? `strconv.ParseInt: parsing "${value}": invalid syntax` : flag.check?.(value)
    if (reason !== undefined) throw fail(`invalid argument "${value}" for "${labelOf(flag)}" flag: ${reason}`)
    found.set(flag.name, flag.kind === 'list' ? [...(found.get(flag.name) ?? []), value] : [value])
  }
  for (let at = 0; at < words.length; at++) {
    const word = words[at] ?? ''
    if (word === '--') {
      rest.push(...words.slice(at + 1))
      break
    }
    if (!word.startsWith('-') || word === '-') {
      rest.push(word)
      if (!stop) continue
      rest.push(...words.slice(at + 1))
      break
    }
    if (word.startsWith('--')) {
      const equals = word.indexOf('=')
      const name = equals < 0 ? word.slice(2) : word.slice(2, equals)
      const flag = flags.find((one) => one.name === name)
      if (flag === undefined) throw fail(`unknown flag: --${name}`)
      if (equals >= 0) put(flag, word.slice(equals + 1))
      else if (flag.kind === 'bool') put(flag, 'true')
      else {
        const value = words[++at]
        if (value === undefined) throw fail(`flag needs an argument: --${name}`)
        put(flag, value)
      }
      continue
    }
    at = parseShort(word, words, at, flags, put, fail)
  }
  return {
    rest,
    has: (name) => found.has(name),
    bool: (name) => TRUTHS[found.get(name)?.[0] ?? 'false'] ?? false,
    text: (name) => found.get(name)?.[0] ?? '',
    list: (name) => found.get(name) ?? [],
    number: (name) => (found.has(name) ? Number(found.get(name)?.[0]) : undefined),
  }
}

/** `-itp8080:80`: letters together; the first that takes a value takes what is left, or the next word. */
function parseShort(word: string, words: readonly string[], start: number, flags: readonly Flag[], put: (flag: Flag, value: string) => void, fail: (reason: string) => EngineError): number {
  for (let n = 1; n < word.length; n++) {
    const letter = word[n] ?? ''
    const flag = flags.find((one) => one.short === letter)
    if (flag === undefined) throw fail(`unknown shorthand flag: '${letter}' in ${word}`)
    if (flag.kind === 'bool') {
      if (word[n + 1] === '=') {
        put(flag, word.slice(n + 2))
        return start
      }
      put(flag, 'true')
      continue
    }
    const inline = word.slice(n + 1).replace(/^=/, '')
    if (inline !== '') {
      put(flag, inline)
      return start
    }
    const value = words[start + 1]
    if (value === undefined) throw fail(`flag needs an argument: '${letter}' in ${word}`)
    put(flag, value)
    return start + 1
  }
  return start
}
