import { EngineError } from '@gantry/std'

/** The text of a Dockerfile, and how it is called in errors. */
export interface Source {
  readonly name: string
  readonly lines: readonly string[]
  /** Places of lines that end as those of Windows do: inside of heredocs that counts. */
  readonly returns: ReadonlySet<number>
}

/** A place in it: line from 1, column from 0, so many characters. */
export interface Place {
  readonly line: number
  readonly column: number
  readonly length: number
}

const CONTEXT_LINES = 2

/** The lines around a place, with a caret below what is meant. */
export function excerpt(source: Source, place: Place): string {
  const from = Math.max(1, place.line - CONTEXT_LINES)
  const width = String(place.line).length
  const shown = source.lines.slice(from - 1, place.line).map((line, index) => ` ${String(from + index).padStart(width)} | ${line}`)
  const text = source.lines[place.line - 1] ?? ''
  // Tabs before it stay tabs, so that the caret stands below the word on every terminal.
  const indent = text.slice(0, place.column).replace(/[^\t]/g, ' ')
  const carets = '^'.repeat(Math.max(1, Math.min(place.length, text.length - place.column)))
  return [`${source.name}:${place.line}`, ...shown, ` ${' '.repeat(width)} | ${indent}${carets}`].join('\n')
}

/** An error of what the author wrote: file, line and a caret. */
export class DockerfileError extends EngineError {
  readonly place: Place
  readonly source: Source
  /** The message without the lines, for those who show them in their own way. */
  readonly summary: string

  constructor(source: Source, place: Place, message: string, options: { readonly parsing?: boolean; readonly cause?: unknown; readonly summary?: string } = {}) {
    const text = `${options.parsing === false ? '' : `dockerfile parse error on line ${place.line}: `}${message}`
    super('invalid', `${text}\n${excerpt(source, place)}`, { cause: options.cause })
    this.name = 'DockerfileError'
    this.place = place
    this.source = source
    this.summary = options.summary ?? text
  }
}

const MAX_BYTES = 4 << 20
const MAX_LINES = 100_000

/** Splits a file into lines; limits come first. */
export function sourceOf(name: string, bytes: Buffer): Source {
  if (bytes.length > MAX_BYTES) throw new EngineError('invalid', `${name} has ${bytes.length} bytes: expected at most ${MAX_BYTES}`)
  const written = bytes.toString('utf8').replace(/^\uFEFF/, '').split('\n')
  const lines = written.map((line) => line.replace(/\r$/, ''))
  if (lines.length > MAX_LINES) throw new EngineError('invalid', `${name} has ${lines.length} lines: expected at most ${MAX_LINES}`)
  return { name, lines, returns: new Set(written.flatMap((line, index) => (line.endsWith('\r') ? [index] : []))) }
}
