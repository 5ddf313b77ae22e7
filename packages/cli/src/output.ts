import { styleText } from 'node:util'
import { compileTemplate } from './template.ts'

type Style = Parameters<typeof styleText>[0]

/** Colours, where a person looks: a terminal, and no NO_COLOR. */
export const coloured = (style: Style, text: string, stream: NodeJS.WriteStream = process.stdout): string => styleText(style, text, { stream })
/** A heading of a help text. */
export const heading = (text: string): string => coloured('bold', text)

/** How wide a table may be: the terminal, or as it likes. */
export const tableWidth = (): number => (process.stdout.isTTY ? process.stdout.columns : Number.POSITIVE_INFINITY)

const NARROWEST = 12

/** Takes from the widest columns what does not fit. */
function fit(widths: readonly number[], available: number): readonly number[] {
  const fitted = [...widths]
  for (let surplus = widths.reduce((sum, one) => sum + one, 0) - available; surplus > 0; ) {
    const widest = fitted.indexOf(Math.max(...fitted))
    const width = fitted[widest] ?? 0
    if (width <= NARROWEST) break
    const take = Math.min(surplus, width - NARROWEST, Math.max(1, width - Math.max(NARROWEST, ...fitted.filter((_, index) => index !== widest))))
    fitted[widest] = width - take
    surplus -= take
  }
  return fitted
}

const cut = (text: string, length: number): string => (text.length <= length ? text : `${text.slice(0, Math.max(0, length - 1))}…`)

/** Columns as Docker's tabwriter sets them: at least 3 blanks apart, no column narrower than `least` with its gap. On a terminal no line is longer than it is wide, but for `full`. */
export function table(rows: readonly (readonly string[])[], options: { readonly least?: number; readonly full?: boolean } = {}): string {
  const columns = Math.max(0, ...rows.map((row) => row.length))
  const wanted = Array.from({ length: columns }, (_, index) => Math.max(index === columns - 1 ? 0 : (options.least ?? 10), ...rows.map((row) => (row[index] ?? '').length + (index === columns - 1 ? 0 : 3))))
  const widths = options.full === true ? wanted : fit(wanted, tableWidth())
  const cell = (text: string, index: number, last: boolean): string => {
    const width = widths[index] ?? 0
    return last ? cut(text, index === columns - 1 ? width : Number.POSITIVE_INFINITY) : cut(text, width - 3).padEnd(width)
  }
  return rows.map((row) => `${row.map((one, index) => cell(one, index, index === row.length - 1)).join('')}\n`).join('')
}

/** A listing: a table by default, or by template, `table TEMPLATE`, or `json`; `full`: nothing is cut to fit the terminal. */
export function listing<T extends object>(items: readonly T[], format: string, columns: readonly (readonly [string, (item: T) => string])[], heads: Readonly<Record<string, string>>, options: { readonly full?: boolean } = {}): string {
  if (format === 'json' || format === '{{json .}}') return items.map((item) => `${JSON.stringify(item)}\n`).join('')
  if (format === '' || format === 'table') return table([columns.map(([head]) => head), ...items.map((item) => columns.map(([, cell]) => cell(item)))], options)
  const asTable = format.startsWith('table ')
  const template = (asTable ? format.slice('table '.length) : format).replaceAll('\\t', '\t').replaceAll('\\n', '\n')
  const render = compileTemplate(template)
  const lines = items.map((item) => render(item))
  if (!asTable) return lines.map((line) => `${line}\n`).join('')
  return table([render(heads), ...lines].map((line) => line.split('\t')), options)
}

/** `Less than a second ago` → `12 hours ago` etc. need "ago"; listings shorten ids unless told otherwise. */
export function short(id: string, full: boolean): string {
  return full ? id : id.replace(/^sha256:/, '').slice(0, 12)
}
