import { type ChildProcess, spawn } from 'node:child_process'
import { readdirSync, rmSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { createInterface } from 'node:readline'
import type { SpoolArchive, WriteLayer } from '@gantry/graph'
import { EngineError, type ErrorKind, hasCode, logger, randomHex, writePaced } from '@gantry/std'
import { fromAnswer, type ImageOp, type ImageOps, type OpProgress, type Reply } from './protocol.ts'

const log = logger('daemon.images.process')

/** Around an op. */
export interface RunOptions {
  /** What follows the request. */
  readonly body?: AsyncIterable<Uint8Array>
  readonly onProgress?: (progress: OpProgress) => void
  readonly signal?: AbortSignal | undefined
}

/** Carries image work out in a process of its own, which is started on demand and ends when it is idle. */
export interface ImageProcess {
  run<Op extends ImageOp>(op: Op, input: ImageOps[Op]['input'], options?: RunOptions): Promise<ImageOps[Op]['output']>
  close(): void
}

const START_MS = 15_000
const ATTEMPTS = 3

/** Makes the door to the image process. `file` is its bundle, `directory` where its socket goes. */
export function createImageProcess({ file, directory }: { readonly file: string; readonly directory: string }): ImageProcess {
  let child: ChildProcess | undefined
  let starting: Promise<string> | undefined
  const path = `${directory}/images-${randomHex(4)}.sock`
  // Of daemons that were killed; their image processes have ended with them.
  for (const name of readdirSync(directory)) if (/^images-[0-9a-f]+\.sock$/.test(name)) rmSync(`${directory}/${name}`, { force: true })

  const start = (): Promise<string> =>
    new Promise((resolve, reject) => {
      rmSync(path, { force: true })
      const started = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', file, path], { stdio: ['pipe', 'pipe', 'inherit'], env: { ...process.env, UV_THREADPOOL_SIZE: '8' } })
      child = started
      const timer = setTimeout(() => {
        started.kill('SIGKILL')
        reject(new EngineError('internal', `the image process did not start within ${START_MS / 1000} s`))
      }, START_MS)
      const over = (cause?: Error): void => {
        clearTimeout(timer)
        if (child === started) [child, starting] = [undefined, undefined]
        rmSync(path, { force: true })
        reject(new EngineError('internal', 'the image process ended before it was ready', { cause }))
      }
      started.once('error', over)
      started.once('exit', () => over())
      started.stdout.once('data', () => {
        clearTimeout(timer)
        for (const stream of [started, started.stdin, started.stdout] as readonly { unref?: () => void }[]) stream.unref?.()
        log.debug('started', { pid: started.pid })
        resolve(path)
      })
    })
  const dial = async (): Promise<Socket> => {
    for (let attempt = 1; ; attempt++) {
      starting ??= start()
      const where = await starting
      const socket = connect({ path: where, allowHalfOpen: true })
      const failure = await new Promise<Error | undefined>((resolve) => {
        socket.once('connect', () => resolve(undefined))
        socket.once('error', resolve)
      })
      if (failure === undefined) return socket
      // It was just about to end, being idle.
      if (attempt === ATTEMPTS || !hasCode(failure, 'ENOENT', 'ECONNREFUSED', 'ECONNRESET', 'EPIPE')) throw new EngineError('internal', 'cannot reach the image process', { cause: failure })
      starting = undefined
    }
  }
  const send = async (socket: Socket, body: AsyncIterable<Uint8Array> | undefined): Promise<void> => {
    try {
      for await (const chunk of body ?? []) await writePaced(socket, chunk)
      socket.end()
    } catch (error) {
      // The other side has answered already, or is gone: its answer, or the lack of one, says what happened.
      if (!hasCode(error, 'EPIPE', 'ECONNRESET')) throw error
    }
  }
  const hear = async (socket: Socket, onProgress: RunOptions['onProgress']): Promise<unknown> => {
    for await (const line of createInterface({ input: socket })) {
      const reply = JSON.parse(line) as Reply
      if (reply.kind === 'result') return reply.output
      if (reply.kind === 'error') throw new EngineError(reply.errorKind as ErrorKind, reply.error)
      onProgress?.(reply.progress)
    }
    throw new EngineError('internal', 'the image process ended in the middle of its work')
  }
  return {
    async run(op, input, options = {}) {
      options.signal?.throwIfAborted()
      const socket = await dial()
      const stop = (): void => void socket.destroy()
      options.signal?.addEventListener('abort', stop, { once: true })
      // An error of the socket comes to whoever reads it; this keeps one that comes between reads from ending the daemon.
      socket.on('error', () => undefined)
      try {
        socket.write(`${JSON.stringify({ op, input })}\n`)
        const sent = send(socket, options.body)
        const heard = hear(socket, options.onProgress)
        // A body that fails is the reason; what the other side says of it comes after.
        await Promise.race([heard, sent.then(() => heard)])
        return (await heard) as never
      } catch (error) {
        if (options.signal?.aborted === true) throw options.signal.reason
        throw error
      } finally {
        options.signal?.removeEventListener('abort', stop)
        socket.destroy()
      }
    },
    close() {
      child?.kill('SIGTERM')
      rmSync(path, { force: true })
    },
  }
}

/** Has layers written by the image process. */
export function writeLayerWith(work: ImageProcess): WriteLayer {
  return async (tar, target, diffId) => {
    return fromAnswer(await work.run('unpack', { target, diffId }, { body: tar }))
  }
}

/** Has archives of images read by it. */
export function spoolArchiveWith(work: ImageProcess): SpoolArchive {
  return (source, directory) => work.run('spool', { directory }, { body: source })
}
