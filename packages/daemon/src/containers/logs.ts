import { encodeStreamFrame } from '@gantry/api'
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
  for await (const line of readLog(path, query, { ended: () => container.task === undefined, signal })) {
    if (line.stream === 'stdout' ? !format.stdout : !format.stderr) continue
    const text = Buffer.from(`${format.timestamps ? `${line.time} ` : ''}${format.details ? ' ' : ''}${line.text}`)
    await write(tty ? text : encodeStreamFrame(line.stream, text))
  }
}
