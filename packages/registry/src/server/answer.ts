import type { IncomingMessage, ServerResponse } from 'node:http'
import { EngineError } from '@gantry/std'

/** Codes of the distribution specification, "Error Codes". */
export type ErrorCode = 'BLOB_UNKNOWN' | 'BLOB_UPLOAD_INVALID' | 'BLOB_UPLOAD_UNKNOWN' | 'DIGEST_INVALID' | 'MANIFEST_BLOB_UNKNOWN' | 'MANIFEST_INVALID' | 'MANIFEST_UNKNOWN' | 'NAME_INVALID' | 'NAME_UNKNOWN' | 'SIZE_INVALID' | 'UNAUTHORIZED' | 'DENIED' | 'UNSUPPORTED' | 'TOOMANYREQUESTS' | 'RANGE_INVALID' | 'TAG_INVALID'

/** What a request ends with when it cannot be served. */
export class Refusal extends EngineError {
  readonly status: number
  readonly code: ErrorCode
  readonly headers: Readonly<Record<string, string>>
  constructor(status: number, code: ErrorCode, message: string, headers: Readonly<Record<string, string>> = {}) {
    super(status === 401 ? 'unauthorized' : status === 404 ? 'not-found' : 'invalid', message)
    this.name = 'Refusal'
    this.status = status
    this.code = code
    this.headers = headers
  }
}

/** A request on its way to its handler. */
export interface RegistryRequest {
  readonly message: IncomingMessage
  readonly response: ServerResponse
  readonly method: string
  readonly url: URL
  /** Repository. */
  readonly name: string
  /** Digest, tag or upload id. */
  readonly reference: string
}

/** Sends JSON; a HEAD request gets only its head. */
export function sendDocument(request: RegistryRequest, status: number, document: unknown, headers: Readonly<Record<string, string>> = {}): void {
  const bytes = Buffer.from(JSON.stringify(document))
  request.response.writeHead(status, { 'Content-Type': 'application/json', 'Content-Length': String(bytes.length), ...headers })
  request.response.end(request.method === 'HEAD' ? undefined : bytes)
}

/** Sends a status and headers. */
export function sendHead(request: RegistryRequest, status: number, headers: Readonly<Record<string, string>> = {}): void {
  request.response.writeHead(status, { 'Content-Length': '0', ...headers })
  request.response.end()
}
