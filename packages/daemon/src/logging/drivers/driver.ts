import type { LogLine } from '../read.ts'

/** What a log driver tells of a container beside its lines. */
export interface LogSource {
  readonly id: string
  readonly name: string
  readonly imageId: string
  readonly imageName: string
  readonly command: string
  /** RFC 3339. */
  readonly created: string
  readonly tag: string
  /** Labels and variables that were asked for. */
  readonly attributes: Readonly<Record<string, string>>
  readonly hostname: string
}

/** Where lines go. What was sent has been taken when the promise resolves; a failure means that nothing of the call may be counted on. */
export interface LogSink {
  send(lines: readonly LogLine[]): Promise<void>
  close(): Promise<void>
}

/** What drivers need of the host. */
export interface LogHost {
  sendDatagrams(path: string, messages: readonly Uint8Array[]): Promise<void>
}

/** A log driver that sends lines elsewhere. */
export interface LogDriver {
  /** Its own options, beside those of all. */
  readonly options: ReadonlySet<string>
  /** Options of Docker's driver that are taken with a warning: what they tune is done in another way. */
  readonly unused: ReadonlySet<string>
  /** A container may start before the receiver is there. */
  opensLater(options: Readonly<Record<string, string>>): boolean
  /** Refuses options that cannot be, before a container is made. */
  check(options: Readonly<Record<string, string>>): void
  open(options: Readonly<Record<string, string>>, source: LogSource, host: LogHost): Promise<LogSink>
}

/** A line without its line feed; one without was cut in pieces. */
export function messageOfLine(line: LogLine): { readonly text: string; readonly partial: boolean } {
  return line.text.endsWith('\n') ? { text: line.text.slice(0, -1), partial: false } : { text: line.text, partial: true }
}
