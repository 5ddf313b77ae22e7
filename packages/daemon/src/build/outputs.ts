import type { BuildResult } from '@gantry/builder'
import { EngineError, newId } from '@gantry/std'
import { tagImage } from '../images/images.ts'
import { shortDigest } from '../images/progress.ts'
import type { BuildRequest } from '../jobs/build.ts'
import { withBytes } from './export/bytes.ts'
import { exportCache } from './export/cache-exchange.ts'
import type { ExportContext, OutputAnswer, OutputRequest } from './export/context.ts'
import { toImage } from './export/images.ts'
import type { BuildHandlerPorts } from './ports.ts'

/** An output that waits for its client (`GET /build/outputs/{id}`). */
export interface WaitingOutput {
  readonly id: string
  readonly type: string
}

/** What became of it. */
export interface OutputsMade {
  readonly answer: OutputAnswer
  readonly waiting: readonly WaitingOutput[]
}

/** Outputs of builds through the classic door: archives wait until they are fetched. */
export interface Outputs {
  /** Takes a result where it is wanted; the result is theirs from then on. */
  make(context: ExportContext, wanted: Pick<BuildRequest, 'outputs' | 'cacheTo'>, result: BuildResult, names: readonly string[]): Promise<OutputsMade>
  /** Sends one that waits, once. */
  send(id: string, write: (chunk: Buffer) => Promise<void>, signal: AbortSignal): Promise<void>
}

const WAIT_MS = 60_000

/** Makes the list of what waits. */
export function openOutputs(ports: BuildHandlerPorts): Outputs {
  const waiting = new Map<string, { readonly request: OutputRequest; readonly result: BuildResult; readonly over: () => void }>()
  const keep = (request: OutputRequest, result: BuildResult, over: () => void): WaitingOutput => {
    const id = newId()
    waiting.set(id, { request, result, over })
    setTimeout(() => {
      if (waiting.delete(id)) over()
    }, WAIT_MS).unref()
    return { id, type: request.Type }
  }
  return {
    async make(context, { outputs: asked, cacheTo }, result, names) {
      const outputs = asked.length > 0 ? asked : [{ Type: 'image', Attrs: {} }]
      let answer: OutputAnswer = {}
      const fetched: OutputRequest[] = []
      // The result goes with the last of those that stand on it.
      let users = 1
      const over = (): void => {
        if (--users === 0) result[Symbol.dispose]()
      }
      try {
        for (const { Type, Attrs } of outputs) {
          const request = { Type, Attrs: { ...Attrs, name: Attrs['name'] ?? names.join(',') } }
          if (Type !== 'image') fetched.push(request)
          else answer = { ...answer, ...(await toImage(context, result, request, context.log.open(''))) }
        }
        for (const one of cacheTo) answer = { ...answer, ...(await exportCache(context, one, result)) }
        users += fetched.length
        return { answer, waiting: fetched.map((request) => keep(request, result, over)) }
      } finally {
        over()
      }
    },
    async send(id, write, signal) {
      const found = waiting.get(id)
      if (found === undefined || !waiting.delete(id)) throw new EngineError('not-found', `no such output: ${id}: it has been fetched, or has waited for more than ${WAIT_MS / 1000} s`)
      try {
        await withBytes({ ports, signal }, found.result, found.request, async (archive) => {
          for await (const chunk of archive) await write(chunk)
        })
      } finally {
        found.over()
      }
    },
  }
}

/** An image with its names, told as the classic builder does. */
export function finish(ports: BuildHandlerPorts, { quiet, steps, tell }: BuildRequest, made: BuildResult, names: readonly string[]): string {
  using result = made
  const image = result.image()
  if (!quiet) tell({ aux: { ID: image.id } })
  if (!steps) tell({ stream: quiet ? `${image.id}\n` : `Successfully built ${shortDigest(image.id)}\n` })
  for (const name of names) {
    tagImage(ports.images, image, name)
    if (!quiet && !steps) tell({ stream: `Successfully tagged ${name}\n` })
  }
  return image.id
}
