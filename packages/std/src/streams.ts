import type { Writable } from 'node:stream'
import { EngineError } from './errors.ts'

/** Reads exactly so many bytes from a stream of chunks, without copying more than it must. */
export interface ByteReader {
  /** Exactly `length` bytes; undefined at a clean end, an error when the stream ends in the middle. */
  read(length: number): Promise<Buffer | undefined>
  /** The next chunk of at most `limit` bytes; undefined at the end. */
  chunk(limit: number): Promise<Buffer | undefined>
  /** Leaves out so many bytes. */
  skip(length: number): Promise<void>
}

/** Makes a reader over any source of chunks. */
export function byteReader(source: AsyncIterable<Uint8Array>): ByteReader {
  const iterator = source[Symbol.asyncIterator]()
  let held: Buffer = Buffer.alloc(0)
  const fill = async (): Promise<boolean> => {
    const { done, value } = await iterator.next()
    if (done === true) return false
    held = Buffer.from(value.buffer, value.byteOffset, value.byteLength)
    return true
  }
  const chunk = async (limit: number): Promise<Buffer | undefined> => {
    while (held.length === 0) if (!(await fill())) return undefined
    const part = held.subarray(0, limit)
    held = held.subarray(part.length)
    return part
  }
  return {
    chunk,
    async read(length) {
      if (held.length >= length) {
        const part = held.subarray(0, length)
        held = held.subarray(length)
        return part
      }
      const whole = Buffer.allocUnsafe(length)
      let at = 0
      while (at < length) {
        const part = await chunk(length - at)
        if (part === undefined) {
          if (at === 0) return undefined
          throw new EngineError('invalid', `unexpected end of stream: ${length - at} of ${length} bytes are missing`)
        }
        part.copy(whole, at)
        at += part.length
      }
      return whole
    },
    async skip(length) {
      let left = length
      while (left > 0) {
        const part = await chunk(left)
        if (part === undefined) throw new EngineError('invalid', `unexpected end of stream: ${left} bytes are missing`)
        left -= part.length
      }
    },
  }
}

/** All chunks as one buffer, up to a limit in bytes. */
export async function collect(source: AsyncIterable<Uint8Array>, limitBytes: number): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  let total = 0
  for await (const chunk of source) {
    total += chunk.length
    if (total > limitBytes) throw new EngineError('invalid', `more than ${limitBytes} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

/** Writes at the pace of whoever reads; fails with EPIPE when they have gone. */
export async function writePaced(stream: Writable, chunk: Uint8Array): Promise<void> {
  const gone = (): Error => Object.assign(new Error('the other side has closed'), { code: 'EPIPE' })
  if (stream.destroyed) throw gone()
  if (stream.write(chunk)) return
  await new Promise<void>((resolve, reject) => {
    const drained = (): void => {
      stream.off('close', closed)
      resolve()
    }
    const closed = (): void => {
      stream.off('drain', drained)
      reject(gone())
    }
    stream.once('drain', drained)
    stream.once('close', closed)
  })
}

/** Writes and waits until the bytes have left this process: their memory may be used again. */
export function writeWhole(stream: Writable, chunk: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    const closed = (): void => reject(Object.assign(new Error('the other side has closed'), { code: 'EPIPE' }))
    if (stream.destroyed) return closed()
    stream.once('close', closed)
    stream.write(chunk, (error) => {
      stream.off('close', closed)
      if (error) reject(error)
      else resolve()
    })
  })
}
