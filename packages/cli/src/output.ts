import { compileTemplate } from './template.ts'

/** Columns as Docker's tabwriter sets them: at least 3 blanks apart, no column narrower than 10 with its gap. */
export function table(rows: readonly (readonly string[])[]): string {
  const columns = Math.max(0, ...rows.map((row) => row.length))
  const widths = Array.from({ length: columns }, (_, index) => Math.max(10, ...rows.map((row) => (row[index] ?? '').length + 3)))
  return rows.map((row) => `${row.map((cell, index) => (index === row.length - 1 ? cell : cell.padEnd(widths[index] ?? 0))).join('')}\n`).join('')
}

/** A listing: a table by default, or by template, `table TEMPLATE`, or `json`. */
export function listing<T extends object>(items: readonly T[], format: string, columns: readonly (readonly [string, (item: T) => string])[], heads: Readonly<Record<string, string>>): string {
  if (format === 'json' || format === '{{json .}}') return items.map((item) => `${JSON.stringify(item)}\n`).join('')
  if (format === '' || format === 'table') return table([columns.map(([head]) => head), ...items.map((item) => columns.map(([, cell]) => cell(item)))])
  const asTable = format.startsWith('table ')
  const template = (asTable ? format.slice('table '.length) : format).replaceAll('\\t', '\t').replaceAll('\\n', '\n')
  const render = compileTemplate(template)
  const lines = items.map((item) => render(item))
  if (!asTable) return lines.map((line) => `${line}\n`).join('')
  return table([render(heads), ...lines].map((line) => line.split('\t')))
}

/** `Less than a second ago` → `12 hours ago` etc. need "ago"; listings shorten ids unless told otherwise. */
export function short(id: string, full: boolean): string {
  return full ? id : id.replace(/^sha256:/, '').slice(0, 12)
}
