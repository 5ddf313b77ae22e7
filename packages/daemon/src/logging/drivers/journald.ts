import { existsSync } from 'node:fs'
import { EngineError } from '@gantry/std'
import { type LogLine, nanosOf } from '../read.ts'
import { type LogDriver, type LogSource, messageOfLine } from './driver.ts'

/** Where journald listens. */
const SOCKET = '/run/systemd/journal/socket'
const PRIORITY = { stdout: '6', stderr: '3' } as const

/** A field of the journal's native protocol: `NAME=value`, or with its length where the value has line feeds. */
function field(name: string, value: string): Buffer {
  if (!value.includes('\n')) return Buffer.from(`${name}=${value}\n`)
  const bytes = Buffer.from(value)
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(bytes.length))
  return Buffer.concat([Buffer.from(`${name}\n`), length, bytes, Buffer.from('\n')])
}

/** Names of fields are capital letters, digits and underscores, and do not begin with an underscore. */
const fieldName = (name: string): string => name.toUpperCase().replace(/[^A-Z0-9_]/g, '_').replace(/^_+/, '')

/** One entry of the journal. */
export function journalEntry(line: LogLine, source: LogSource): Buffer {
  const { text, partial } = messageOfLine(line)
  const fields: readonly (readonly [string, string])[] = [
    ['MESSAGE', text], ['PRIORITY', PRIORITY[line.stream]], ['SYSLOG_TIMESTAMP', new Date(Number(nanosOf(line) / 1_000_000n)).toISOString()], ['SYSLOG_IDENTIFIER', source.tag],
    ['CONTAINER_ID', source.id.slice(0, 12)], ['CONTAINER_ID_FULL', source.id], ['CONTAINER_NAME', source.name], ['CONTAINER_TAG', source.tag], ['IMAGE_NAME', source.imageName],
    ...(partial ? [['CONTAINER_PARTIAL_MESSAGE', 'true'] as const] : []), ...Object.entries(source.attributes).map(([name, value]) => [fieldName(name), value] as const),
  ]
  return Buffer.concat(fields.filter(([name]) => name !== '').map(([name, value]) => field(name, value)))
}

/** Sends lines to the journal of the host. */
export const JOURNALD: LogDriver = {
  options: new Set(),
  unused: new Set(),
  opensLater: () => false,
  check() {
    if (!existsSync(SOCKET)) throw new EngineError('unsupported', `journald is not enabled on this host: there is no ${SOCKET}`)
  },
  open: async (_, source, host) => ({ send: (lines) => host.sendDatagrams(SOCKET, lines.map((line) => journalEntry(line, source))), close: async () => undefined }),
}
