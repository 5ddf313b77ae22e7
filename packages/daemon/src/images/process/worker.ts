/** One thread of the image process: carries ops out, several at a time where they wait for the network. */
import { parentPort, type MessagePort, workerData } from 'node:worker_threads'
import { putComposition, spoolHere, writeHere } from '@gantry/graph'
import { EngineError, isEngineError, messageOf } from '@gantry/std'
import { fetchLayer } from './fetch-layer.ts'
import { type ImageOp, type ImageOps, type OpProgress, type Reply, type WrittenAnswer, toAnswer } from './protocol.ts'
import { packLayer, pushLayer } from './push-layer.ts'
import { serveSink, type SinkData } from './sink-thread.ts'
import { countUsage } from './usage.ts'

/** What the main thread sends. */
export type ToWorker =
  | { readonly kind: 'run'; readonly id: number; readonly op: ImageOp; readonly input: unknown }
  | { readonly kind: 'chunk'; readonly id: number; readonly chunk: Uint8Array }
  | { readonly kind: 'end'; readonly id: number }
  | { readonly kind: 'abort'; readonly id: number }

/** What it hears. */
export type FromWorker = { readonly kind: 'reply'; readonly id: number; readonly reply: Reply } | { readonly kind: 'taken'; readonly id: number; readonly bytes: number }

/** The request's body, chunk by chunk from the main thread. */
interface Body extends AsyncIterable<Buffer> {
  push(chunk: Buffer): void
  end(error?: Error): void
}

function body(taken: (bytes: number) => void): Body {
  const chunks: Buffer[] = []
  let ended = false
  let failure: Error | undefined
  let wake = (): void => undefined
  return {
    push(chunk) {
      chunks.push(chunk)
      wake()
    },
    end(error) {
      ended = true
      failure = error
      wake()
    },
    async *[Symbol.asyncIterator]() {
      for (;;) {
        const chunk = chunks.shift()
        if (chunk !== undefined) {
          taken(chunk.length)
          yield chunk
        } else if (failure !== undefined) throw failure
        else if (ended) return
        else await new Promise<void>((resolve) => { wake = resolve })
      }
    },
  }
}

async function unpack(input: ImageOps['unpack']['input'], source: AsyncIterable<Buffer>): Promise<WrittenAnswer> {
  const written = await writeHere(source, input.target, input.diffId)
  if (input.diffId !== undefined && written.diffId !== input.diffId) throw new EngineError('invalid', `layer digest mismatch: expected ${input.diffId}, got ${written.diffId}`)
  return toAnswer(written)
}

type Runner<Op extends ImageOp> = (input: ImageOps[Op]['input'], report: (progress: OpProgress) => void, signal: AbortSignal, source: AsyncIterable<Buffer>) => Promise<ImageOps[Op]['output']>

const RUNNERS: { readonly [Op in ImageOp]: Runner<Op> } = {
  'fetch-layer': (input, report, signal) => fetchLayer(input, report, signal),
  unpack: (input, _, __, source) => unpack(input, source),
  spool: ({ directory }, _, __, source) => spoolHere(source, directory),
  compose: async (composition) => {
    putComposition(composition)
    return null
  },
  usage: async (input) => countUsage(input),
  'push-layer': (input, report, signal) => pushLayer(input, report, signal),
  'pack-layer': (input, report, signal) => packLayer(input, report, signal),
}

/** Progress goes out at most so often. */
const PROGRESS_MS = 100

/** Serves the main thread. */
export function serveWorker(port: MessagePort): void {
  const running = new Map<number, { readonly stop: AbortController; readonly source: Body }>()
  const send = (message: FromWorker): void => port.postMessage(message)
  const run = async (id: number, op: ImageOp, input: unknown): Promise<void> => {
    const stop = new AbortController()
    const source = body((bytes) => send({ kind: 'taken', id, bytes }))
    running.set(id, { stop, source })
    let told = 0
    let step = ''
    const report = (progress: OpProgress): void => {
      const now = performance.now()
      if (progress.step === step && now - told < PROGRESS_MS) return
      told = now
      step = progress.step
      send({ kind: 'reply', id, reply: { kind: 'progress', progress } })
    }
    try {
      const runner = RUNNERS[op] as Runner<ImageOp>
      send({ kind: 'reply', id, reply: { kind: 'result', output: await runner(input as never, report, stop.signal, source) } })
    } catch (error) {
      send({ kind: 'reply', id, reply: { kind: 'error', error: messageOf(error), errorKind: isEngineError(error) ? error.kind : 'internal' } })
    } finally {
      running.delete(id)
    }
  }
  port.on('message', (message: ToWorker) => {
    const op = running.get(message.id)
    switch (message.kind) {
      case 'run':
        return void run(message.id, message.op, message.input)
      case 'chunk':
        return op?.source.push(Buffer.from(message.chunk.buffer, message.chunk.byteOffset, message.chunk.byteLength))
      case 'end':
        return op?.source.end()
      case 'abort':
        op?.source.end(new EngineError('unavailable', 'the request was cancelled'))
        return op?.stop.abort(new EngineError('unavailable', 'the request was cancelled'))
      default:
        return message satisfies never
    }
  })
}

if (parentPort !== null) {
  const data = workerData as SinkData | null
  if (data?.kind === 'sink') serveSink(parentPort, data)
  else serveWorker(parentPort)
}
