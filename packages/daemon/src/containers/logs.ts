import { encodeStreamFrame } from '@gantry/api'
import { JOURNAL } from '../logging/journal.ts'
import { JSON_LINES } from '../logging/json-lines.ts'
import { type LogQuery, readLog } from '../logging/read.ts'
import type { Container } from './container.ts'

/** How lines are shown. */
export interface LogFormat {
  readonly stdout: boolean
  readonly stderr: boolean
  readonly timestamps: boolean
  readonly details: boolean
}

/** Writes a container's log as the API streams it: frames without a terminal, plain bytes with one. */
export async function streamLogs(path: string, container: Container, query: LogQuery, format: LogFormat, write: (chunk: Uint8Array) => Promise<void>, signal: AbortSignal): Promise<void> {
  const tty = container.document.config.Tty
  for await (const lines of readLog(path, query, container.document.hostConfig.LogConfig.Type === 'local' ? JOURNAL : JSON_LINES, { ended: () => container.task === undefined, signal })) {
    const chunks = lines.filter((line) => (line.stream === 'stdout' ? format.stdout : format.stderr)).map((line) => {
      const text = Buffer.from(`${format.timestamps ? `${line.time} ` : ''}${format.details ? ' ' : ''}${line.text}`)
      return tty ? text : encodeStreamFrame(line.stream, text)
    })
    if (chunks.length > 0) await write(Buffer.concat(chunks))
  }
}
