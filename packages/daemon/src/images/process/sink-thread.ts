import { type MessagePort, Worker } from 'node:worker_threads'
import { layerWriter, type LayerTarget, type WrittenLayer } from '@gantry/graph'
import { EngineError, isEngineError, messageOf } from '@gantry/std'

/** A layer writer on a thread of its own: one large layer keeps two cores busy, one that inflates and one that checks and writes. */
export interface ThreadedWriter {
  /** Resolves when there is room for more. Memory that is `owned`, the chunk being the only view of it, is handed over; other is copied. */
  push(chunk: Buffer, owned: boolean): Promise<void> | undefined
  close(): Promise<WrittenLayer>
  abort(): void
}

/** What such a thread is started with (`workerData`). */
export interface SinkData {
  readonly kind: 'sink'
  readonly target: LayerTarget
}

type ToSink = { readonly kind: 'chunk'; readonly memory: ArrayBuffer; readonly bytes: number } | { readonly kind: 'close' | 'abort' }
type FromSink = { readonly kind: 'taken' } | { readonly kind: 'closed'; readonly written: WrittenLayer } | { readonly kind: 'failed'; readonly error: string; readonly errorKind: string }

/** Chunks on their way. */
const WINDOW = 6

/** Serves one writer; the thread ends with it. */
export function serveSink(port: MessagePort, { target }: SinkData): void {
  const writer = layerWriter(target)
  const send = (message: FromSink): void => port.postMessage(message)
  port.on('message', (message: ToSink) => {
    try {
      if (message.kind === 'chunk') {
        writer.push(Buffer.from(message.memory, 0, message.bytes))
        return send({ kind: 'taken' })
      }
      if (message.kind === 'close') send({ kind: 'closed', written: writer.close() })
      else writer.abort()
    } catch (error) {
      if (message.kind === 'chunk') writer.abort()
      send({ kind: 'failed', error: messageOf(error), errorKind: isEngineError(error) ? error.kind : 'internal' })
    }
    port.close()
  })
}

/** Starts such a thread. `file` is the program of the image process. */
export function threadedWriter(file: string, target: LayerTarget): ThreadedWriter {
  const data: SinkData = { kind: 'sink', target }
  const worker = new Worker(file, { workerData: data })
  let outstanding = 0
  let failure: unknown
  let wake = (): void => undefined
  const closed = Promise.withResolvers<WrittenLayer>()
  closed.promise.catch(() => undefined) // heard by `push` or by `close`, whichever comes next
  const fail = (error: unknown): void => {
    failure ??= error
    closed.reject(error)
    wake()
  }
  worker.on('message', (message: FromSink) => {
    if (message.kind === 'taken') {
      outstanding--
      wake()
    } else if (message.kind === 'closed') closed.resolve(message.written)
    else fail(new EngineError(message.errorKind as 'internal', message.error))
  })
  worker.once('error', fail)
  worker.once('exit', () => fail(new EngineError('internal', 'the writer of a layer has ended')))
  return {
    push(chunk, owned) {
      if (failure !== undefined) throw failure
      const memory = owned && chunk.byteOffset === 0 ? (chunk.buffer as ArrayBuffer) : new Uint8Array(chunk).buffer
      worker.postMessage({ kind: 'chunk', memory, bytes: chunk.length } satisfies ToSink, [memory])
      outstanding++
      if (outstanding < WINDOW) return undefined
      return (async () => {
        while (outstanding >= WINDOW && failure === undefined) await new Promise<void>((resolve) => { wake = resolve })
        if (failure !== undefined) throw failure
      })()
    },
    close() {
      worker.postMessage({ kind: 'close' } satisfies ToSink)
      return closed.promise
    },
    abort: () => worker.postMessage({ kind: 'abort' } satisfies ToSink),
  }
}
