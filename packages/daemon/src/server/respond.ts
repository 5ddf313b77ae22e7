import type { ServerResponse } from 'node:http'
import { type ErrorKind, isEngineError, messageOf } from '@gantry/std'

/** Error kinds become statuses here and nowhere else. */
const STATUS: Readonly<Record<ErrorKind, number>> = { invalid: 400, unauthorized: 401, forbidden: 403, 'not-found': 404, conflict: 409, unsupported: 501, unavailable: 503, internal: 500 }

/** The status of anything that was thrown. */
export function statusOfError(error: unknown): number {
  return isEngineError(error) ? STATUS[error.kind] : 500
}

/** Sends JSON with its length. */
export function sendJson(response: ServerResponse, status: number, body: unknown): void {
  const text = `${JSON.stringify(body)}\n`
  response.writeHead(status, { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(text) })
  response.end(text)
}

/** Sends nothing but a status. */
export function sendEmpty(response: ServerResponse, status: number): void {
  response.writeHead(status, status === 204 || status === 304 ? {} : { 'Content-Length': 0 })
  response.end()
}

/** Sends an error, or, once a stream has begun, ends it. */
export function sendError(response: ServerResponse, error: unknown): void {
  if (response.headersSent) {
    response.destroy()
    return
  }
  sendJson(response, statusOfError(error), { message: messageOf(error) })
}
