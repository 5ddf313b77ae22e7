/** What went wrong, in words that every floor shares. The server alone turns a kind into an HTTP status. */
export type ErrorKind =
  | 'invalid'
  | 'unauthorized'
  | 'forbidden'
  | 'not-found'
  | 'conflict'
  | 'unsupported'
  | 'unavailable'
  | 'internal'

/** An error with a kind; its message says what was tried on which object. */
export class EngineError extends Error {
  readonly kind: ErrorKind
  constructor(kind: ErrorKind, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'EngineError'
    this.kind = kind
  }
}

const KINDS: ReadonlySet<unknown> = new Set<ErrorKind>([
  'invalid',
  'unauthorized',
  'forbidden',
  'not-found',
  'conflict',
  'unsupported',
  'unavailable',
  'internal',
])

/** True for errors that carry a kind, also from another copy of this module. */
export function isEngineError(error: unknown): error is Error & { readonly kind: ErrorKind } {
  return error instanceof Error && KINDS.has((error as { kind?: unknown }).kind)
}

/** The text of anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

/** True when a system call failed with this code (`ENOENT`, …). */
export function hasCode(error: unknown, ...codes: readonly string[]): boolean {
  return error instanceof Error && codes.includes(String((error as NodeJS.ErrnoException).code))
}
