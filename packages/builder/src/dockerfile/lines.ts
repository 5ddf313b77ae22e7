import { DockerfileError, type Place, type Source } from './source.ts'

/** A file written in place: `<<EOF`, its lines, `EOF`. */
export interface Heredoc {
  /** The word that ends it. */
  readonly name: string
  /** Variables in it are replaced: its name was not quoted. */
  readonly expand: boolean
  /** Tabs at the beginning of its lines are taken away: `<<-`. */
  readonly chomp: boolean
  readonly content: string
}

/** An instruction as it is written: continued lines put together, comments between them left out. */
export interface LogicalLine {
  readonly keyword: string
  /** What follows the keyword. */
  readonly text: string
  readonly heredocs: readonly Heredoc[]
  /** Lines of the source, from 1, both included. */
  readonly first: number
  readonly last: number
  /** Where something of the text stands; with a keyword's length where -1 is given, the keyword itself. */
  place(offset: number, length?: number): Place
}

/** What the first lines of a file say about the file. */
export interface Directives {
  readonly syntax: string
  readonly escape: string
  readonly check: string
}

const DIRECTIVE = /^#\s*([A-Za-z][A-Za-z0-9]*)\s*=\s*(.+?)\s*$/
const KNOWN = new Set(['syntax', 'escape', 'check'])
const WITH_HEREDOCS = new Set(['ADD', 'COPY', 'RUN'])
const MAX_HEREDOCS = 1000

function readDirectives(source: Source): { readonly directives: Directives; readonly next: number } {
  const seen = new Map<string, string>()
  let at = 0
  for (; at < source.lines.length; at++) {
    const match = DIRECTIVE.exec((source.lines[at] ?? '').trimStart())
    const name = match?.[1]?.toLowerCase() ?? ''
    if (match === null || !KNOWN.has(name)) break
    const place = { line: at + 1, column: 0, length: source.lines[at]?.length ?? 0 }
    if (seen.has(name)) throw new DockerfileError(source, place, `only one ${name} parser directive can be used`)
    const value = match[2] ?? ''
    if (name === 'escape' && value !== '\\' && value !== '`') throw new DockerfileError(source, place, `invalid ESCAPE '${value}': expected \` or \\`)
    seen.set(name, value)
  }
  return { directives: { syntax: seen.get('syntax') ?? '', escape: seen.get('escape') ?? '\\', check: seen.get('check') ?? '' }, next: at }
}

/** A word with where it begins. Quotes and escapes are still in it. */
export interface RawWord {
  readonly text: string
  readonly at: number
}

/** Splits at blanks that are neither quoted nor escaped. */
export function rawWords(text: string, escape: string): readonly RawWord[] {
  const words: RawWord[] = []
  let quote = ''
  let begin = -1
  for (let at = 0; at <= text.length; at++) {
    const char = text[at] ?? ''
    const blank = char === '' || (quote === '' && /\s/.test(char))
    if (blank) {
      if (begin >= 0) words.push({ text: text.slice(begin, at), at: begin })
      begin = -1
      continue
    }
    if (begin < 0) begin = at
    if (char === escape && quote !== "'") at++
    else if (quote === '' && (char === '"' || char === "'")) quote = char
    else if (char === quote) quote = ''
  }
  if (quote !== '' && begin >= 0) words.push({ text: text.slice(begin), at: begin })
  return words
}

/** The heredocs that a text begins, in their order. */
function heredocsIn(text: string, escape: string): readonly Omit<Heredoc, 'content'>[] {
  return rawWords(text, escape).flatMap(({ text: word }) => {
    const match = /^\d*<<(-?)(?:"([^"<]+)"|'([^'<]+)'|([^\s"'<>|&;()]+))/.exec(word)
    if (match === null) return []
    const quoted = match[2] ?? match[3]
    return [{ name: quoted ?? (match[4] ?? '').replaceAll(escape, ''), chomp: match[1] === '-', expand: quoted === undefined && !word.includes(escape) }]
  })
}

/** True for a JSON list, which holds no heredocs. */
function isJsonList(text: string): boolean {
  if (!/^\s*\[/.test(text.replace(/^(\s*--\S+)+/, ''))) return false
  try {
    return Array.isArray(JSON.parse(text.replace(/^(\s*--\S+)+/, '').trim()))
  } catch (cause) {
    if (cause instanceof SyntaxError) return false
    throw cause
  }
}

interface Piece {
  readonly offset: number
  readonly line: number
  readonly column: number
}

/** Reads a file as instructions that are not looked into yet. */
export function readLines(source: Source): { readonly directives: Directives; readonly lines: readonly LogicalLine[] } {
  const { directives, next } = readDirectives(source)
  const { escape } = directives
  const mark = escape === '\\' ? '\\\\' : '`'
  // Two of them are one, and end the line.
  const continued = new RegExp(`(?<!${mark})${mark}[ \\t]*$`)
  const lines: LogicalLine[] = []
  const { lines: all } = source
  for (let at = next; at < all.length; at++) {
    const begun = all[at] ?? ''
    if (begun.trim() === '' || begun.trimStart().startsWith('#')) continue
    const first = at
    const pieces: Piece[] = []
    let whole = ''
    for (let more = true; more && at < all.length; ) {
      const line = all[at] ?? ''
      // Comments and empty lines inside a continued instruction are not part of it.
      if (at > first && (line.trim() === '' || line.trimStart().startsWith('#'))) {
        at++
        continue
      }
      const column = at === first ? line.length - line.trimStart().length : 0
      more = continued.test(line)
      pieces.push({ offset: whole.length, line: at, column })
      whole += (more ? line.replace(continued, '') : line).slice(column)
      at++
    }
    const keyword = /^\S+/.exec(whole)?.[0] ?? ''
    const rest = whole.slice(keyword.length)
    const start = keyword.length + (rest.length - rest.trimStart().length)
    const text = rest.trim()
    const place = (offset: number, length = 1): Place => {
      const absolute = offset < 0 ? 0 : offset + start
      const piece = pieces.findLast((one) => one.offset <= absolute) ?? { offset: 0, line: first, column: 0 }
      return { line: piece.line + 1, column: piece.column + absolute - piece.offset, length: offset < 0 ? keyword.length : length }
    }
    const inner = /^ONBUILD$/i.test(keyword) ? (/^\S+/.exec(text)?.[0] ?? '') : keyword
    const body = inner === keyword ? text : text.slice(inner.length)
    const begins = WITH_HEREDOCS.has(inner.toUpperCase()) && !isJsonList(body) ? heredocsIn(body, escape) : []
    if (begins.length > MAX_HEREDOCS) throw new DockerfileError(source, place(0), `${begins.length} heredocs: expected at most ${MAX_HEREDOCS}`)
    const heredocs: Heredoc[] = []
    for (const one of begins) {
      const content: string[] = []
      for (; ; at++) {
        if (at >= all.length) throw new DockerfileError(source, place(Math.max(0, text.indexOf('<<')), 2 + one.name.length), `unterminated heredoc: expected a line ${JSON.stringify(one.name)}`)
        const line = one.chomp ? (all[at] ?? '').replace(/^\t+/, '') : (all[at] ?? '')
        if (line === one.name) break
        content.push(`${line}${source.returns.has(at) ? '\r' : ''}\n`)
      }
      at++
      heredocs.push({ ...one, content: content.join('') })
    }
    at--
    lines.push({ keyword: keyword.toUpperCase(), text, heredocs, first: first + 1, last: at + 1, place })
  }
  return { directives, lines }
}
