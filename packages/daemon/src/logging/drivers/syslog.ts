import { EngineError } from '@gantry/std'
import { type LogLine, nanosOf } from '../read.ts'
import { type LogAddress, openDatagrams, openStream, parseAddress, writeAll } from './connect.ts'
import { type LogDriver, type LogHost, type LogSink, type LogSource, messageOfLine } from './driver.ts'

/** Facilities of RFC 5424, section 6.2.1. */
const FACILITIES: readonly string[] = ['kern', 'user', 'mail', 'daemon', 'auth', 'syslog', 'lpr', 'news', 'uucp', 'cron', 'authpriv', 'ftp', '', '', '', '', 'local0', 'local1', 'local2', 'local3', 'local4', 'local5', 'local6', 'local7']
const SEVERITY = { stdout: 6, stderr: 3 } as const
const LOCAL: readonly string[] = ['/dev/log', '/var/run/syslog', '/var/run/log']
const SCHEMES: readonly string[] = ['udp', 'tcp', 'tcp+tls', 'unix', 'unixgram']
const FORMATS: readonly string[] = ['', 'rfc3164', 'rfc5424', 'rfc5424micro']
const [PORT, MONTHS] = [514, ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec']] as const
const DAEMON_FACILITY = 3

function facilityOf(text: string): number {
  if (text === '') return DAEMON_FACILITY
  const number = /^\d+$/.test(text) ? Number(text) : FACILITIES.indexOf(text)
  if (number < 0 || number > 23) throw new EngineError('invalid', `invalid syslog facility: ${JSON.stringify(text)}`)
  return number
}

/** `Jan  2 15:04:05` (RFC 3164, section 4.1.2), in the daemon's own time zone. */
function stamp(date: Date): string {
  return `${MONTHS[date.getMonth()]} ${String(date.getDate()).padStart(2)} ${date.toTimeString().slice(0, 8)}`
}

/** One message without framing. */
export function syslogMessage(line: LogLine, facility: number, format: string, source: Pick<LogSource, 'tag' | 'hostname'>): string {
  const { text } = messageOfLine(line)
  const nanos = nanosOf(line)
  const date = new Date(Number(nanos / 1_000_000n))
  const priority = `<${facility * 8 + SEVERITY[line.stream]}>`
  if (format === 'rfc3164') return `${priority}${stamp(date)} ${source.hostname} ${source.tag}[${process.pid}]: ${text}`
  if (format.startsWith('rfc5424')) {
    const fraction = format === 'rfc5424' ? '' : `.${String(nanos / 1000n % 1_000_000n).padStart(6, '0')}`
    return `${priority}1 ${date.toISOString().slice(0, 19)}${fraction}Z ${source.hostname} ${source.tag} ${process.pid} ${source.tag} - ${text}`
  }
  return `${priority}${stamp(date)} ${source.tag}[${process.pid}]: ${text}`
}

function addressOf(options: Readonly<Record<string, string>>): LogAddress | undefined {
  const text = options['syslog-address'] ?? ''
  return text === '' ? undefined : parseAddress(text, 'syslog-address', SCHEMES, PORT)
}

async function streamSink(address: LogAddress, options: Readonly<Record<string, string>>, message: (line: LogLine) => string): Promise<LogSink> {
  const secure = address.scheme === 'tcp+tls'
  const socket = await openStream(address, secure ? { ca: options['syslog-tls-ca-cert'] ?? '', cert: options['syslog-tls-cert'] ?? '', key: options['syslog-tls-key'] ?? '', skipVerify: options['syslog-tls-skip-verify'] !== undefined } : undefined)
  socket.resume()
  // RFC 5425, section 4.3: over TLS a message says how long it is.
  const counted = secure && (options['syslog-format'] ?? '').startsWith('rfc5424')
  const framed = (text: string): string => (counted ? `${Buffer.byteLength(text)} ${text}` : `${text}\n`)
  return {
    send: (lines) => writeAll(socket, Buffer.from(lines.map((line) => framed(message(line))).join(''))),
    async close() {
      socket.end()
    },
  }
}

function udpSink(address: LogAddress, message: (line: LogLine) => string): LogSink {
  const datagrams = openDatagrams(address)
  return {
    async send(lines) {
      for (const line of lines) await datagrams.send(`${message(line)}\n`)
    },
    close: async () => datagrams.close(),
  }
}

/** The host's own receiver: the first of the known sockets that takes a message. */
async function localSink(paths: readonly string[], host: LogHost, message: (line: LogLine) => string): Promise<LogSink> {
  const send = async (lines: readonly LogLine[]): Promise<void> => {
    let failure: unknown
    for (const path of paths) {
      try {
        return await host.sendDatagrams(path, lines.map((line) => Buffer.from(message(line))))
      } catch (error) {
        failure = error
      }
    }
    throw new EngineError('unavailable', `failed to initialize logging driver: no syslog takes messages at ${paths.join(', ')}`, { cause: failure })
  }
  await send([])
  return { send, close: async () => undefined }
}

/** Sends lines to a syslog receiver (RFC 3164, RFC 5424). */
export const SYSLOG: LogDriver = {
  options: new Set(['syslog-address', 'syslog-facility', 'syslog-format', 'syslog-tls-ca-cert', 'syslog-tls-cert', 'syslog-tls-key', 'syslog-tls-skip-verify']),
  unused: new Set(),
  opensLater: () => false,
  check(options) {
    addressOf(options)
    facilityOf(options['syslog-facility'] ?? '')
    if (!FORMATS.includes(options['syslog-format'] ?? '')) throw new EngineError('invalid', `invalid syslog format: ${JSON.stringify(options['syslog-format'])}: expected rfc3164, rfc5424 or rfc5424micro`)
  },
  async open(options, source, host) {
    const facility = facilityOf(options['syslog-facility'] ?? '')
    const message = (line: LogLine): string => syslogMessage(line, facility, options['syslog-format'] ?? '', source)
    const address = addressOf(options)
    if (address === undefined) return localSink(LOCAL, host, message)
    if (address.scheme === 'unixgram') return localSink([address.path], host, message)
    return address.scheme === 'udp' ? udpSink(address, message) : streamSink(address, options, message)
  },
}
