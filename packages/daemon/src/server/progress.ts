import { isSince } from '@gantry/api'
import { messageOf } from '@gantry/std'
import type { Tell } from '../images/progress.ts'
import type { ApiRequest } from './request.ts'

/** An error whose last line has a number, too: clients end with it. */
function codeOf(error: unknown): { readonly code?: number } {
  const code = (error as { readonly exitCode?: unknown } | null)?.exitCode
  return typeof code === 'number' ? { code } : {}
}

/** Work that tells how far it is, a line of JSON each. What fails before the first line has a status of its own; after it, the error is the last line. */
export async function withProgress(request: ApiRequest, work: (tell: Tell) => Promise<unknown>): Promise<void> {
  const { response } = request
  const tell: Tell = (message) => {
    if (!response.headersSent) response.writeHead(200, { 'Content-Type': 'application/json' })
    // Since 1.52 nothing is said twice.
    const { progress, error, ...current } = message
    response.write(`${JSON.stringify(isSince(request.apiVersion, '1.52') ? current : message)}\r\n`)
  }
  try {
    await work(tell)
  } catch (error) {
    if (!response.headersSent || request.signal.aborted) throw error
    tell({ errorDetail: { ...codeOf(error), message: messageOf(error) }, error: messageOf(error) })
  }
  if (!response.headersSent) response.writeHead(200, { 'Content-Type': 'application/json' })
  response.end()
}
