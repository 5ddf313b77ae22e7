import { STREAM } from '@gantry/api'
import { detailsText, logAttributes } from '../../logging/attributes.ts'
import { JOURNAL } from '../../logging/journal.ts'
import { JSON_LINES } from '../../logging/json-lines.ts'
import { type LogLine, type LogQuery, readLog } from '../../logging/read.ts'
import type { Container } from '../container.ts'
import { keptAs } from './settings.ts'

/** How lines are shown. */
export interface LogFormat {
  readonly stdout: boolean
  readonly stderr: boolean
  readonly timestamps: boolean
  readonly details: boolean
}

/** What its log options tell of a container. */
export function attributesOf(container: Container): Readonly<Record<string, string>> {
  return logAttributes(container.document.hostConfig.LogConfig.Config, { ...container.document, name: container.name })
}

const ROOM = 1 << 18
/** One entry at its longest: 16 KiB of which each byte has become three, a time and a frame's head. */
const ENTRY_MAX = (1 << 16) + (1 << 14)
const HEAD = 8

/** Fills one piece of memory again and again: a gigabyte of log must not become a gigabyte of buffers. */
function page(tty: boolean, format: LogFormat, details: string): { add(line: LogLine): void; readonly full: boolean; take(): Buffer } {
  const room = Buffer.allocUnsafe(ROOM)
  let length = 0
  return {
    add(line) {
      const head = tty ? 0 : HEAD
      const begin = length + head
      let at = begin
      if (format.timestamps) at += room.write(`${line.time} `, at)
      if (format.details) at += room.write(`${details} `, at)
      at += room.write(line.text, at)
      if (!tty) {
        room.writeUInt32BE(STREAM[line.stream] << 24, length)
        room.writeUInt32BE(at - begin, length + 4)
      }
      length = at
    },
    get full() {
      return length > ROOM - ENTRY_MAX
    },
    take() {
      const taken = room.subarray(0, length)
      length = 0
      return taken
    },
  }
}

/** Writes a container's log as the API streams it: frames without a terminal, plain bytes with one. `write` has let go of its bytes when it resolves. */
export async function streamLogs(path: string, container: Container, query: LogQuery, format: LogFormat, write: (chunk: Uint8Array) => Promise<void>, signal: AbortSignal): Promise<void> {
  const { config, hostConfig } = container.document
  const out = page(config.Tty, format, format.details ? detailsText(attributesOf(container)) : '')
  const flush = async (): Promise<void> => {
    const bytes = out.take()
    if (bytes.length > 0) await write(bytes)
  }
  for await (const lines of readLog(path, query, keptAs(hostConfig.LogConfig.Type) === 'journal' ? JOURNAL : JSON_LINES, { ended: () => container.task === undefined, signal, readers: container.logReaders })) {
    for (const line of lines) {
      if (!(line.stream === 'stdout' ? format.stdout : format.stderr)) continue
      out.add(line)
      if (out.full) await flush()
    }
    await flush()
  }
}
