import { messageOf } from '@gantry/std'
import type { Tell } from '../../images/progress.ts'

/** A line of work that is going on. */
export interface OpenVertex {
  readonly digest: string
  log(stream: 1 | 2, chunk: Uint8Array): void
  /** Part of it, by its name: how much of how much is done (0: nobody knows), and whether it is over. */
  status(id: string, progress?: { readonly current?: number; readonly total?: number; readonly done?: boolean }): void
  done(result?: { readonly cached?: boolean; readonly error?: string }): void
}

/** Carries work out under a line of its own, which ends with it, well or not. */
export async function during<T>(vertex: OpenVertex, work: () => Promise<T>): Promise<T> {
  try {
    const made = await work()
    vertex.done()
    return made
  } catch (error) {
    vertex.done({ error: messageOf(error) })
    throw error
  }
}

/** Passes what a pull tells on as parts of a vertex. */
export function pullStatus(vertex: OpenVertex): Tell {
  return ({ id, status, progressDetail }) => {
    if (id === undefined || status === undefined) return
    vertex.status(`${id} ${status.toLowerCase()}`, { ...progressDetail, done: /complete|exists/i.test(status) })
  }
}
