import type { Duplex } from 'node:stream'
import { streamFrameDecoder } from '@gantry/api'

/** Ties a raw stream to this terminal until the other side ends. Gives back the terminal as it was. */
export async function connect(stream: Duplex, options: { readonly tty: boolean; readonly stdin: boolean }): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  const raw = options.tty && options.stdin && process.stdin.isTTY
  stream.on('error', () => resolve())
  stream.on('end', () => resolve())
  stream.on('close', () => resolve())
  if (options.tty) stream.on('data', (chunk: Buffer) => hold(stream, process.stdout, chunk))
  else {
    const decode = streamFrameDecoder((kind, payload) => hold(stream, kind === 2 ? process.stderr : process.stdout, payload))
    stream.on('data', decode)
  }
  if (options.stdin) {
    if (raw) process.stdin.setRawMode(true)
    process.stdin.pipe(stream)
  } else stream.end()
  await promise
  if (raw) process.stdin.setRawMode(false)
  if (options.stdin) {
    process.stdin.unpipe(stream)
    process.stdin.pause()
  }
}

/** Writes; a slow terminal holds the stream back. */
function hold(stream: Duplex, to: NodeJS.WriteStream, chunk: Buffer): void {
  if (to.write(chunk)) return
  stream.pause()
  to.once('drain', () => stream.resume())
}

/** Tells of the terminal's size now and whenever it changes; gives what stops it. */
export function followSize(resize: (rows: number, columns: number) => Promise<unknown>): () => void {
  const tell = (): void => {
    if (process.stdout.isTTY) resize(process.stdout.rows, process.stdout.columns).catch(() => undefined)
  }
  tell()
  process.on('SIGWINCH', tell)
  return () => process.off('SIGWINCH', tell)
}
