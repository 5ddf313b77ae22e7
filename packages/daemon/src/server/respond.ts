import type { IncomingMessage, ServerResponse } from 'node:http'
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

const DRAIN_BYTES = 4 << 20
const DRAIN_MS = 1000

/** Takes what a client still sends, within bounds: one whose writing fails would not read why. */
function drained(message: IncomingMessage): Promise<void> {
  return new Promise((resolve) => {
    let bytes = 0
    const done = (): void => {
      clearTimeout(timer)
      message.off('data', count)
      resolve()
    }
    const count = (chunk: Buffer): void => {
      bytes += chunk.length
      if (bytes > DRAIN_BYTES) done()
    }
    const timer = setTimeout(done, DRAIN_MS)
    message.once('end', done)
    message.once('close', done)
    message.on('data', count)
  })
}

/** Sends an error, or, once a stream has begun, ends it. */
export function sendError(response: ServerResponse, error: unknown): void {
  if (response.headersSent) {
    response.destroy()
    return
  }
  const { req: message } = response
  const hasBody = message.headers['transfer-encoding'] !== undefined || Number(message.headers['content-length'] ?? 0) > 0
  if (!hasBody || message.readableEnded || message.destroyed) return sendJson(response, statusOfError(error), { message: messageOf(error) })
  const text = `${JSON.stringify({ message: messageOf(error) })}\n`
  response.writeHead(statusOfError(error), { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(text) })
  response.write(text)
  void drained(message).then(() => response.end())
}
