import { createReadStream } from 'node:fs'

const CHUNK = 1 << 20

/** The first `bytes` of a file, or all of it. It is opened when somebody begins to read: a stream that nobody reads would fail for nobody to hear. */
export async function* fileChunks(path: string, bytes?: number): AsyncGenerator<Buffer> {
  if (bytes === 0) return
  for await (const chunk of createReadStream(path, { highWaterMark: CHUNK, ...(bytes !== undefined && { end: bytes - 1 }) })) yield chunk as Buffer
}
