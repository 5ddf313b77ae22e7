import { availableParallelism } from 'node:os'
import { Readable } from 'node:stream'
import { promisify } from 'node:util'
import { constants, gzip, zstdCompress } from 'node:zlib'
import { layerTar } from '@gantry/graph'
import { createRegistryClient } from '@gantry/registry'
import { digester, EngineError } from '@gantry/std'
import { openIsal } from './isal.ts'
import type { OpProgress, PushedBlob, PushLayer } from './protocol.ts'

const CHUNK = 1 << 20
/** Each piece becomes a gzip member or zstd frame of its own, so that all cores work on one layer; a reader sees one stream (RFC 1952, 2.2; RFC 8878, 3.1). */
const PIECE = 4 << 20
/** Twice as fast as zlib's usual 6 and 5 % larger (docs/decisions/0018-image-process.md). */
const GZIP_LEVEL = 1

/** Half again as fast as the usual 3, and a tenth larger. */
const ZSTD = { chunkSize: PIECE, params: { [constants.ZSTD_c_compressionLevel]: 1 } }

const packGzip = promisify(gzip)
const packZstd = promisify(zstdCompress)

/** The archive in pieces of one size; an empty one is a piece, too. */
async function* pieces(source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let held: Buffer[] = []
  let bytes = 0
  for await (const chunk of source) {
    held.push(chunk)
    bytes += chunk.length
    if (bytes < PIECE) continue
    const all = Buffer.concat(held)
    for (; bytes >= PIECE; bytes -= PIECE) yield all.subarray(all.length - bytes, all.length - bytes + PIECE)
    held = [all.subarray(all.length - bytes)]
  }
  yield Buffer.concat(held)
}

/** Packs a layer and sends it as it is packed; its digest is known at the end. */
export async function pushLayer(input: PushLayer, report: (progress: OpProgress) => void, signal: AbortSignal): Promise<PushedBlob> {
  const { endpoint, credentials, name } = input.remote
  using client = createRegistryClient(endpoint, credentials)
  const upload = await client.startUpload(name, undefined, signal)
  if (upload.kind !== 'started') throw new EngineError('unavailable', `${name}: the registry takes no upload`)
  const digest = digester()
  let taken = 0
  const isal = input.compression === 'gzip' ? openIsal() : undefined
  const pack = async (piece: Buffer): Promise<Buffer> => (isal !== undefined ? isal.pack(piece) : input.compression === 'gzip' ? packGzip(piece, { level: GZIP_LEVEL }) : packZstd(piece, ZSTD))
  async function* body(): AsyncGenerator<Buffer> {
    const ahead: Promise<Buffer>[] = []
    const next = async (): Promise<Buffer> => {
      const packed = (await ahead.shift()) ?? Buffer.alloc(0)
      digest.update(packed)
      return packed
    }
    for await (const piece of pieces(layerTar(input.source))) {
      signal.throwIfAborted()
      taken += piece.length
      const packed = pack(piece)
      packed.catch(() => undefined) // thrown where it is awaited, in its turn
      ahead.push(packed)
      report({ step: 'push', current: taken, total: input.bytes })
      if (ahead.length > availableParallelism()) yield next()
    }
    while (ahead.length > 0) yield next()
  }
  const location = await client.sendUpload(name, upload.location, Readable.from(body(), { objectMode: false, highWaterMark: CHUNK }), signal)
  const done = digest.digest()
  await client.finishUpload(name, location, done, signal)
  return { digest: done, size: digest.bytes }
}
