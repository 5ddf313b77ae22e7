import { spawn } from 'node:child_process'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createGunzip, createZstdDecompress } from 'node:zlib'
import { archiveKind, EngineError, hasCode } from '@gantry/std'

const CHUNK = 1 << 20

async function* peeked(head: Buffer, rest: AsyncIterator<Uint8Array>): AsyncGenerator<Uint8Array> {
  if (head.length > 0) yield head
  for (;;) {
    const { done, value } = await rest.next()
    if (done === true) return
    yield value
  }
}

/** What comes from outside is read by somebody who may do nothing. */
const NOBODY = { uid: 65_534, gid: 65_534 }

/** Passes bytes through a program of the host, which ends with whoever reads. */
async function* throughProgram(program: string, source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const child = spawn(program, ['-dc'], { stdio: ['pipe', 'pipe', 'pipe'], env: { PATH: process.env['PATH'] ?? '' }, ...(process.getuid?.() === 0 && NOBODY) })
  let [said, broken]: [string, unknown] = ['', undefined]
  child.stderr.on('data', (chunk: Buffer) => {
    said = `${said}${chunk.toString()}`.slice(-500)
  })
  const ended = new Promise<number>((resolve, reject) => {
    child.once('error', (cause) => reject(hasCode(cause, 'ENOENT') ? new EngineError('unavailable', `${program} is not installed on the host of the daemon: the archive cannot be unpacked`, { cause }) : cause))
    child.once('close', (code) => resolve(code ?? 1))
  })
  ended.catch(() => undefined)
  const fed = pipeline(Readable.from(source), child.stdin).catch((cause: unknown) => {
    // A program that has ended early says itself why.
    if (!hasCode(cause, 'EPIPE', 'ERR_STREAM_PREMATURE_CLOSE')) broken = cause
    child.kill('SIGKILL')
  })
  try {
    yield* child.stdout
    const code = await ended
    await fed
    if (broken !== undefined) throw broken
    if (code !== 0) throw new EngineError('invalid', `cannot decompress the archive: it is damaged or cut off: ${said.trim()}`)
  } finally {
    child.kill('SIGKILL')
  }
}

/** Decompresses gzip and zstd in process, bzip2 and xz with the host's programs; plain bytes pass. */
export async function decompressed(source: AsyncIterable<Uint8Array>): Promise<AsyncIterable<Uint8Array>> {
  const iterator = source[Symbol.asyncIterator]()
  let head: Buffer = Buffer.alloc(0)
  while (head.length < 6) {
    const { done, value } = await iterator.next()
    if (done === true) break
    head = Buffer.concat([head, value])
  }
  const all = peeked(head, iterator)
  const kind = archiveKind(head)
  const inflate = kind === 'gzip' ? createGunzip({ chunkSize: CHUNK }) : kind === 'zstd' ? createZstdDecompress({ chunkSize: CHUNK }) : undefined
  if (inflate !== undefined) {
    const input = Readable.from(all)
    let broken: Error | undefined
    input.on('error', (error) => {
      broken = error
      inflate.destroy(error)
    })
    return checked(input.pipe(inflate), () => broken)
  }
  // Node has no decoder for these.
  return kind === 'bzip2' || kind === 'xz' ? throughProgram(kind, all) : all
}

async function* checked(stream: AsyncIterable<Uint8Array>, broken: () => Error | undefined): AsyncGenerator<Uint8Array> {
  try {
    yield* stream
  } catch (cause) {
    // Whoever gave the bytes knows better why they ended.
    const source = broken()
    if (source !== undefined) throw source
    throw new EngineError('invalid', 'cannot decompress the archive: it is damaged or cut off', { cause })
  }
}
