import { EngineError } from './errors.ts'

/** Says which paths of a context are left out. Paths have no slash at their beginning. */
export interface IgnoreRules {
  ignores(path: string): boolean
  /** False when nothing below an ignored directory can be taken in again. */
  readonly hasExceptions: boolean
}

interface Rule {
  readonly exception: boolean
  readonly matches: RegExp
}

/** Without doubled slashes, dots, and what climbs out. */
function cleaned(pattern: string): string {
  const parts: string[] = []
  for (const part of pattern.split('/')) {
    if (part === '' || part === '.') continue
    if (part === '..') parts.pop()
    else parts.push(part)
  }
  return parts.join('/')
}

/** A pattern as moby's matcher reads it: `**` any number of directories, `*` and `?` no slash, `[…]` (`^` turns it round, `!` is a letter), `\` escapes. */
export function patternSource(pattern: string): string {
  let source = ''
  for (let at = 0; at < pattern.length; at++) {
    const char = pattern[at] ?? ''
    if (char === '*' && pattern[at + 1] === '*') {
      at++
      if (pattern[at + 1] === '/') at++
      source += at + 1 >= pattern.length ? '.*' : '(?:.*/)?'
    } else if (char === '*') source += '[^/]*'
    else if (char === '?') source += '[^/]'
    else if (char === '[') {
      const end = pattern.indexOf(']', at + 2)
      if (end < 0) source += '\\['
      else {
        source += `[${pattern.slice(at + 1, end).replaceAll('[', '\\[')}]`
        at = end
      }
    } else if (char === '\\' && at + 1 < pattern.length) source += (pattern[++at] ?? '').replace(/[.*+?^${}()|[\]\\/-]/g, '\\$&')
    else source += char.replace(/[.+^${}()|[\]\\]/g, '\\$&')
  }
  return source
}

const MAX_RULES = 10_000

/** The patterns of a `.dockerignore`, without what does not count; exceptions begin with `!`, which alone is an error. */
export function ignorePatterns(text: string): readonly string[] {
  return text.replace(/^\uFEFF/, '').split(/\r?\n/).slice(0, MAX_RULES).flatMap((line) => {
    if (line.startsWith('#')) return []
    const trimmed = line.trim()
    const exception = trimmed.startsWith('!')
    const pattern = cleaned(exception ? trimmed.slice(1).trim() : trimmed)
    if (pattern === '' && exception) throw new EngineError('invalid', `illegal exclusion pattern: ${JSON.stringify(trimmed)}`)
    return pattern === '' ? [] : [`${exception ? '!' : ''}${pattern}`]
  })
}

/** Reads a `.dockerignore`. The last rule that matches a path, or a directory above it, decides. */
export function ignoreRules(text: string): IgnoreRules {
  const rules = ignorePatterns(text).map((pattern): Rule => {
    const exception = pattern.startsWith('!')
    return { exception, matches: new RegExp(`^${patternSource(exception ? pattern.slice(1) : pattern)}(?:/|$)`, 's') }
  })
  return {
    hasExceptions: rules.some((rule) => rule.exception),
    ignores: (path) => {
      const last = rules.findLast((rule) => rule.matches.test(path))
      return last !== undefined && !last.exception
    },
  }
}
