import type { IncomingMessage } from 'node:http'
import { type Progress, progressOf } from '@gantry/api'
import { humanSize } from '@gantry/std'

const BAR = 50

function bar(current: number, total: number, columns: number): string {
  const amount = total > 0 ? `${humanSize(current, 4)}/${humanSize(total, 4)}` : humanSize(current, 4)
  if (total <= 0 || columns < 110) return amount
  const done = Math.min(BAR, Math.floor((current / total) * BAR))
  return `[${'='.repeat(Math.max(0, done - 1))}${done > 0 ? '>' : ''}${' '.repeat(BAR - done)}]  ${amount}`
}

function lineOf({ id, status = '', progressDetail }: Progress, columns: number): string {
  const detail = progressDetail?.current === undefined ? '' : ` ${bar(progressDetail.current, progressDetail.total ?? 0, columns)}`
  const line = `${id === undefined ? '' : `${id}: `}${status}${detail}`
  return progressDetail === undefined ? line : line.slice(0, columns - 1)
}

/** Shows lines on a terminal: those of one id in one place, which changes. */
function painter(out: NodeJS.WriteStream): (message: Progress) => void {
  const rows = new Map<string, number>()
  return (message) => {
    const text = lineOf(message, out.columns || 80)
    if (message.id === undefined || message.progressDetail === undefined) {
      rows.clear()
      out.write(`${message.stream ?? `${text}\n`}`)
      return
    }
    const row = rows.get(message.id)
    if (row === undefined) {
      rows.set(message.id, rows.size)
      out.write(`${text}\n`)
      return
    }
    const up = rows.size - row
    out.write(`\u001b[${up}A\u001b[2K\r${text}\u001b[${up}B\r`)
  }
}

/** Shows a progress stream to its end; an error in it is an error. */
export async function showProgress(response: IncomingMessage, options: { readonly quiet: boolean; readonly to?: NodeJS.WriteStream }): Promise<void> {
  const out = options.to ?? process.stdout
  const paint = out.isTTY ? painter(out) : undefined
  for await (const message of progressOf(response)) {
    if (options.quiet || (message.aux !== undefined && message.status === undefined)) continue
    if (paint !== undefined) paint(message)
    // Without a terminal only what will not change: one line a step of a layer, none for its bytes.
    else if (message.progressDetail?.current === undefined) out.write(message.stream ?? `${lineOf(message, Number.MAX_SAFE_INTEGER)}\n`)
  }
}
