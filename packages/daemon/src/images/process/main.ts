/**
 * The image process: downloads, checks, inflates, writes and packs layers, so that the daemon stays small and quick. One connection
 * on its socket is one op: a line with the request, its body, and lines back. It ends when it has been idle, and all that an op
 * was doing ends when its connection does, so that the end of the daemon ends it, too.
 */
import { createServer, type Socket } from 'node:net'
import { availableParallelism } from 'node:os'
import { isMainThread, Worker } from 'node:worker_threads'
import { messageOf } from '@gantry/std'
import type { ImageOp, Reply } from './protocol.ts'
import type { FromWorker, ToWorker } from './worker.ts'
import './worker.ts'

const IDLE_MS = 10_000
/** Body bytes on their way to a worker. */
const WINDOW_BYTES = 8 << 20
const HEAD_LIMIT = 1 << 20
const LEAST_THREADS = 3

interface Running {
  readonly socket: Socket
  readonly worker: Worker
  outstanding: number
}

function serve(path: string): void {
  const workers: { readonly worker: Worker; load: number }[] = []
  const running = new Map<number, Running>()
  let lastId = 0
  let connections = 0
  let idle: NodeJS.Timeout | undefined
  const server = createServer({ allowHalfOpen: true })
  const rest = (): void => {
    if (connections === 0) idle = setTimeout(() => process.exit(0), IDLE_MS)
  }
  const answer = (socket: Socket, reply: Reply): void => {
    socket.write(`${JSON.stringify(reply)}\n`)
    if (reply.kind !== 'progress') socket.end()
  }
  const hear = (message: FromWorker): void => {
    const op = running.get(message.id)
    if (op === undefined) return
    if (message.kind === 'reply') return answer(op.socket, message.reply)
    op.outstanding -= message.bytes
    if (op.outstanding < WINDOW_BYTES) op.socket.resume()
  }
  const spawnWorker = (): { readonly worker: Worker; load: number } => {
    const worker = new Worker(process.argv[1] ?? '')
    const entry = { worker, load: 0 }
    workers.push(entry)
    worker.on('message', hear)
    worker.on('error', (error) => {
      workers.splice(workers.indexOf(entry), 1)
      for (const op of running.values()) if (op.worker === worker) answer(op.socket, { kind: 'error', error: messageOf(error), errorKind: 'internal' })
    })
    return entry
  }
  /** The least busy thread; a new one while there are few. */
  const choose = (): { readonly worker: Worker; load: number } => {
    const [best] = [...workers].sort((a, b) => a.load - b.load)
    return best !== undefined && (best.load === 0 || workers.length >= Math.max(LEAST_THREADS, availableParallelism())) ? best : spawnWorker()
  }
  const begin = (socket: Socket, line: string, body: Buffer): void => {
    const { op, input } = JSON.parse(line) as { readonly op: ImageOp; readonly input: unknown }
    const id = ++lastId
    const thread = choose()
    thread.load++
    const send = (message: ToWorker, chunk?: ArrayBuffer): void => thread.worker.postMessage(message, chunk === undefined ? [] : [chunk])
    const entry: Running = { socket, worker: thread.worker, outstanding: 0 }
    running.set(id, entry)
    send({ kind: 'run', id, op, input })
    const forward = (chunk: Buffer): void => {
      const copy = new Uint8Array(chunk)
      entry.outstanding += copy.length
      if (entry.outstanding >= WINDOW_BYTES) socket.pause()
      send({ kind: 'chunk', id, chunk: copy }, copy.buffer)
    }
    if (body.length > 0) forward(body)
    socket.on('data', forward)
    socket.on('end', () => send({ kind: 'end', id }))
    socket.on('close', () => {
      running.delete(id)
      thread.load--
      send({ kind: 'abort', id })
    })
    socket.resume()
  }
  server.on('connection', (socket) => {
    clearTimeout(idle)
    connections++
    socket.on('close', () => {
      connections--
      rest()
    })
    // Gone while we write: its `close` says so, too.
    socket.on('error', () => undefined)
    let head = Buffer.alloc(0)
    const read = (chunk: Buffer): void => {
      head = Buffer.concat([head, chunk])
      const end = head.indexOf(0x0a)
      if (end < 0) return head.length > HEAD_LIMIT ? void socket.destroy() : undefined
      socket.off('data', read)
      socket.pause()
      begin(socket, head.toString('utf8', 0, end), head.subarray(end + 1))
    }
    socket.on('data', read)
  })
  server.listen(path, () => {
    process.stdout.write('ready\n')
    rest()
  })
}

if (isMainThread) {
  process.umask(0)
  // The daemon holds the other end: its death is the end of all ops.
  process.stdin.on('end', () => process.exit(0)).resume()
  // It reads the first line only.
  process.stdout.on('error', () => undefined)
  serve(process.argv[2] ?? '')
}
