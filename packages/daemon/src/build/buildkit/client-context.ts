import { type ClientSession, readContent, writeContent } from '@gantry/buildkit'
import type { ExportContext } from '../export/context.ts'
import type { BuildHandlerPorts } from '../ports.ts'
import { credentialsOfClient } from './client-credentials.ts'
import type { StatusLog } from './status-log.ts'

/** A client as outputs and caches see it. */
export interface ClientContext extends ExportContext {
  readonly session: ClientSession
  readonly log: StatusLog
}

/** Makes one. */
export function clientContext(ports: BuildHandlerPorts, session: ClientSession, log: StatusLog, signal: AbortSignal): ClientContext {
  return {
    ports, session, log, signal, credentials: (reference) => credentialsOfClient(session, reference),
    content: { read: (store, digest) => readContent(session, store, digest, signal), write: (store, blob, source) => writeContent(session, store, blob, source, signal) },
  }
}
