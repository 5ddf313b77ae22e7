import type { Duplex } from 'node:stream'

/** What one job takes and gives. Exists only for the compiler. */
export interface JobSpec {
  readonly input: unknown
  readonly output: unknown
}

/** Where a job reads and writes, for those that stream. */
export interface JobStdio {
  /** Bytes that the client sends: an archive, a body. */
  readonly input?: AsyncIterable<Uint8Array>
  /** Writes to the client at its pace. */
  readonly write?: (chunk: Uint8Array) => Promise<void>
  /** Turns the connection into a raw stream both ways (attach, exec). */
  readonly hijack?: (contentType: string) => Duplex
}

/** Client-visible work. */
export interface Job<Spec extends JobSpec> {
  readonly id: number
  readonly name: string
  readonly input: Spec['input']
  readonly stdio: JobStdio
  readonly signal: AbortSignal
}

export type Handler<Spec extends JobSpec> = (job: Job<Spec>) => Promise<Spec['output']>
export type JobTable<T> = { readonly [Name in keyof T]: JobSpec }
export type Handlers<T extends JobTable<T>> = { readonly [Name in keyof T]: Handler<T[Name]> }

/** A job as `gantry jobs` shows it. */
export interface JobView {
  readonly id: number
  readonly name: string
  readonly status: 'running' | 'succeeded' | 'failed' | 'aborted'
  readonly startedAt: number
  readonly ms: number
}
