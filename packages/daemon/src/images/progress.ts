import { humanSize } from '@gantry/std'

/** One line of a progress stream (Engine API, `JSONMessage`). */
export interface ProgressMessage {
  readonly status?: string
  readonly id?: string
  readonly stream?: string
  readonly progress?: string
  readonly progressDetail?: { readonly current?: number; readonly total?: number }
  readonly aux?: unknown
  /** An event of a step of a build, for clients that asked for them. */
  readonly step?: object
  readonly error?: string
  readonly errorDetail?: { readonly message: string }
}

/** Takes lines for whoever asked. */
export type Tell = (message: ProgressMessage) => void

const BAR = 50
const SHORT = 12

/** What people are shown of a digest. */
export function shortDigest(digest: string): string {
  return digest.slice('sha256:'.length, 'sha256:'.length + SHORT)
}

/** `[=====>     ]  1.2MB/3.4MB`, for clients that draw nothing themselves. */
export function progressBar(current: number, total: number): string {
  if (total <= 0) return humanSize(current)
  const done = Math.min(BAR, Math.floor((current / total) * BAR))
  const bar = done >= BAR ? '='.repeat(BAR) + '>' : `${'='.repeat(done)}>${' '.repeat(BAR - done)}`
  return `[${bar.slice(0, BAR + 1)}]  ${humanSize(current)}/${humanSize(total)}`
}

const TELL_MS = 200

/** Passes chunks on and tells how many bytes have come, now and then: what is over at once has nothing to tell. `total` 0: nobody knows. */
export async function* counted(source: AsyncIterable<Uint8Array>, line: { readonly id: string; readonly status: string; readonly total: number }, tell: Tell): AsyncGenerator<Uint8Array> {
  let [bytes, told] = [0, Date.now()]
  for await (const chunk of source) {
    bytes += chunk.length
    if (Date.now() - told > TELL_MS) {
      told = Date.now()
      tell(layerMessage(line.id, line.status, bytes, line.total))
    }
    yield chunk
  }
}

/** A line on one layer. */
export function layerMessage(id: string, status: string, current?: number, total?: number): ProgressMessage {
  if (current === undefined) return { status, progressDetail: {}, id }
  return { status, progressDetail: { current, ...(total !== undefined && total > 0 && { total }) }, progress: progressBar(current, total ?? 0), id }
}
