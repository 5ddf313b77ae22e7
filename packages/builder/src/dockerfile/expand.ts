/** Values of variables by name; undefined where a name has none. */
export type Lookup = (name: string) => string | undefined

/** An error of a variable: no closing brace, an unknown form, a value that is needed. `at` is its place in the text. */
export class ExpandError extends Error {
  readonly at: number

  constructor(at: number, message: string) {
    super(message)
    this.name = 'ExpandError'
    this.at = at
  }
}

/** How quotes and escapes are read. `word`: they are taken away; `content` of a heredoc: quotes stay, and only `\$` and `\\` are escapes. */
export type Reading = 'word' | 'content'

const MAX_RESULT = 1 << 20
/** Letters of all scripts; a number is a name of its own. */
const NAME = /\p{Nd}+|[\p{L}_][\p{L}\p{Nd}_]*/uy
const SPECIAL = /[@*#?!$-]/

/** A shell pattern (`*`, `?`, an escaped character) as the source of a regular expression. */
function globSource(pattern: string, greedy: boolean): string {
  let source = ''
  for (let at = 0; at < pattern.length; at++) {
    const char = pattern[at] ?? ''
    if (char === '*') source += greedy ? '[\\s\\S]*' : '[\\s\\S]*?'
    else if (char === '?') source += '[\\s\\S]'
    else if (char === '\\' && at + 1 < pattern.length) source += (pattern[++at] ?? '').replace(/[.*+?^${}()|[\]\\/]/g, '\\$&')
    else source += char.replace(/[.*+?^${}()|[\]\\/]/g, '\\$&')
  }
  return source
}

function withoutPrefix(value: string, pattern: string, greedy: boolean): string {
  return value.replace(new RegExp(`^${globSource(pattern, greedy)}`), '')
}

/** The shortest or the longest end that the pattern takes, tried from where it may begin. */
function withoutSuffix(value: string, pattern: string, greedy: boolean): string {
  const whole = new RegExp(`^${globSource(pattern, true)}$`)
  const cuts = Array.from({ length: value.length + 1 }, (_, at) => at)
  const cut = (greedy ? cuts : cuts.reverse()).find((at) => whole.test(value.slice(at)))
  return cut === undefined ? value : value.slice(0, cut)
}

/** One piece of a text that was expanded: what came of it, and whether it was quoted, so that it splits no word. */
interface Piece {
  readonly text: string
  readonly quoted: boolean
}

class Expansion {
  readonly #text: string
  readonly #escape: string
  readonly #lookup: Lookup
  readonly #reading: Reading
  #at = 0

  constructor(text: string, escape: string, lookup: Lookup, reading: Reading) {
    this.#text = text
    this.#escape = escape
    this.#lookup = lookup
    this.#reading = reading
  }

  pieces(): readonly Piece[] {
    const pieces = this.#until('')
    if (pieces.reduce((sum, piece) => sum + piece.text.length, 0) > MAX_RESULT) throw new ExpandError(0, `the value has more than ${MAX_RESULT} characters`)
    return pieces
  }

  /** Reads up to a character that ends a form, which stays unread. */
  #until(ends: string): readonly Piece[] {
    const pieces: Piece[] = []
    while (this.#at < this.#text.length) {
      const char = this.#text[this.#at] ?? ''
      if (ends !== '' && ends.includes(char)) break
      if (char === '$') pieces.push({ text: this.#dollar(), quoted: false })
      else if (this.#reading === 'word' && char === "'") pieces.push(this.#single())
      else if (this.#reading === 'word' && char === '"') pieces.push(...this.#double())
      else if (char === this.#escape) pieces.push(this.#escaped())
      else {
        this.#at++
        pieces.push({ text: char, quoted: false })
      }
    }
    return pieces
  }

  #escaped(): Piece {
    const next = this.#text[this.#at + 1] ?? ''
    this.#at += 2
    if (this.#reading === 'content' && next !== '$' && next !== this.#escape) return { text: `${this.#escape}${next}`, quoted: true }
    return { text: next, quoted: true }
  }

  #single(): Piece {
    const end = this.#text.indexOf("'", this.#at + 1)
    if (end < 0) throw new ExpandError(this.#at, 'unexpected end of statement while looking for matching single-quote')
    const text = this.#text.slice(this.#at + 1, end)
    this.#at = end + 1
    return { text, quoted: true }
  }

  #double(): readonly Piece[] {
    const begin = this.#at++
    const pieces: Piece[] = [{ text: '', quoted: true }]
    for (;;) {
      const char = this.#text[this.#at]
      if (char === undefined) throw new ExpandError(begin, 'unexpected end of statement while looking for matching double-quote')
      if (char === '"') {
        this.#at++
        return pieces
      }
      if (char === '$') pieces.push({ text: this.#dollar(), quoted: true })
      else if (char === this.#escape) {
        const next = this.#text[this.#at + 1] ?? ''
        this.#at += 2
        pieces.push({ text: next === '"' || next === '$' || next === this.#escape ? next : `${char}${next}`, quoted: true })
      } else {
        this.#at++
        pieces.push({ text: char, quoted: true })
      }
    }
  }

  #name(): string {
    NAME.lastIndex = this.#at
    const match = NAME.exec(this.#text)?.[0]
    if (match !== undefined) {
      this.#at += match.length
      return match
    }
    const char = this.#text[this.#at] ?? ''
    if (!SPECIAL.test(char)) return ''
    this.#at++
    return char
  }

  #dollar(): string {
    const begin = this.#at++
    if (this.#text[this.#at] !== '{') {
      const name = this.#name()
      return name === '' ? '$' : (this.#lookup(name) ?? '')
    }
    this.#at++
    if (this.#at >= this.#text.length) throw new ExpandError(begin, 'syntax error: missing \'}\'')
    const name = this.#name()
    if (name === '') throw new ExpandError(begin, this.#text[this.#at] === '}' ? '${}: bad substitution' : 'syntax error: bad name of a variable')
    const value = this.#form(name, begin)
    if (this.#text[this.#at] !== '}') throw new ExpandError(begin, 'syntax error: missing \'}\'')
    this.#at++
    return value
  }

  /** What stands between the name and the closing brace. */
  #form(name: string, begin: number): string {
    const value = this.#lookup(name)
    const rest = (ends = '}'): string => this.#until(ends).map((piece) => piece.text).join('')
    const char = this.#text[this.#at] ?? ''
    if (char === '}') return value ?? ''
    if (char === '') throw new ExpandError(begin, "syntax error: missing '}'")
    const colon = char === ':'
    if (colon) this.#at++
    const form = this.#text[this.#at] ?? ''
    const there = colon ? value !== undefined && value !== '' : value !== undefined
    this.#at++
    switch (form) {
      case '-': {
        const other = rest()
        return there ? (value ?? '') : other
      }
      case '+': {
        const other = rest()
        return there ? other : ''
      }
      case '?': {
        const message = rest()
        if (!there) throw new ExpandError(begin, `${name}: ${message === '' ? `is not allowed to be ${colon ? 'unset or empty' : 'unset'}` : message}`)
        return value ?? ''
      }
      case '#':
      case '%':
      case '/': {
        if (colon) break
        const twice = this.#text[this.#at] === form
        if (twice) this.#at++
        if (form === '/') {
          const pattern = rest('/}')
          if (this.#text[this.#at] === '/') this.#at++
          const other = rest()
          return (value ?? '').replace(new RegExp(globSource(pattern, true), twice ? 'g' : ''), () => other)
        }
        const pattern = rest()
        return form === '#' ? withoutPrefix(value ?? '', pattern, twice) : withoutSuffix(value ?? '', pattern, twice)
      }
    }
    throw new ExpandError(begin, `unsupported modifier (${colon ? ':' : ''}${form}) in substitution`)
  }
}

/** Replaces variables in one word; quotes and escapes are taken away. */
export function expandWord(text: string, escape: string, lookup: Lookup, reading: Reading = 'word'): string {
  return new Expansion(text, escape, lookup, reading).pieces().map((piece) => piece.text).join('')
}

/** The same, and splits at blanks that are neither quoted nor escaped, those in values of variables too. */
export function expandWords(text: string, escape: string, lookup: Lookup): readonly string[] {
  const words: string[] = []
  let word: string | undefined
  for (const piece of new Expansion(text, escape, lookup, 'word').pieces()) {
    if (piece.quoted) {
      word = (word ?? '') + piece.text
      continue
    }
    for (const [index, part] of piece.text.split(/\s+/).entries()) {
      if (index > 0 && word !== undefined) {
        words.push(word)
        word = undefined
      }
      if (part !== '') word = (word ?? '') + part
    }
  }
  if (word !== undefined) words.push(word)
  return words
}
