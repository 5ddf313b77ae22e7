import { Readable } from 'node:stream'
import { createGunzip, createZstdDecompress } from 'node:zlib'
import { EngineError } from '@gantry/std'

const CHUNK = 1 << 20

async function* peeked(head: Buffer, rest: AsyncIterator<Uint8Array>): AsyncGenerator<Uint8Array> {
  if (head.length > 0) yield head
  for (;;) {
    const { done, value } = await rest.next()
    if (done === true) return
    yield value
  }
}

/** Decompresses gzip and zstd, in process; plain bytes pass; anything else that is compressed is named and refused. */
export async function decompressed(source: AsyncIterable<Uint8Array>): Promise<AsyncIterable<Uint8Array>> {
  const iterator = source[Symbol.asyncIterator]()
  let head: Buffer = Buffer.alloc(0)
  while (head.length < 6) {
    const { done, value } = await iterator.next()
    if (done === true) break
    head = Buffer.concat([head, value])
  }
  const all = peeked(head, iterator)
  const inflate = head[0] === 0x1f && head[1] === 0x8b ? createGunzip({ chunkSize: CHUNK }) : head.readUInt32LE !== undefined && head.length >= 4 && head.readUInt32LE(0) === 0xfd2fb528 ? createZstdDecompress({ chunkSize: CHUNK }) : undefined
  if (inflate !== undefined) {
    const input = Readable.from(all)
    let broken: Error | undefined
    input.on('error', (error) => {
      broken = error
      inflate.destroy(error)
    })
    return checked(input.pipe(inflate), () => broken)
  }
  if (head.subarray(0, 3).toString('latin1') === 'BZh') throw new EngineError('unsupported', 'bzip2 archives are not supported; use gzip, zstd or none')
  if (head.subarray(0, 6).equals(Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0]))) throw new EngineError('unsupported', 'xz archives are not supported; use gzip, zstd or none')
  return all
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
