import type { Credentials, Reference } from '@gantry/registry'
import type { OutputRequest } from '../../jobs/build.ts'
import type { BuildHandlerPorts } from '../ports.ts'
import type { OpenVertex } from './vertex.ts'

export type { OutputRequest }

/** What a client is told of an output. */
export type OutputAnswer = Readonly<Record<string, string>>

/** Directories of a client that hold content by its digest. */
export interface ClientContent {
  read(store: string, digest: string): AsyncIterable<Uint8Array>
  write(store: string, blob: { readonly digest: string; readonly size: number }, source: AsyncIterable<Uint8Array>): Promise<void>
}

/** What outputs and caches work with, whichever door they come through. */
export interface ExportContext {
  readonly ports: BuildHandlerPorts
  readonly log: { open(name: string): OpenVertex }
  readonly signal: AbortSignal
  credentials(reference: Reference): Promise<Credentials>
  /** Undefined: it cannot be had through this door. */
  readonly content: ClientContent | undefined
}
