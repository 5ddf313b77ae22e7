import { availableParallelism } from 'node:os'
import { promisify } from 'node:util'
import { constants, gzip, zstdCompress } from 'node:zlib'
import { layerTar } from '@gantry/graph'
import type { digester } from '@gantry/std'
import { openIsal } from './isal.ts'
import type { LayerSource, OpProgress, Packing } from './protocol.ts'

/** Each piece becomes a gzip member or zstd frame of its own, so that all cores work on one layer; a reader sees one stream (RFC 1952, 2.2; RFC 8878, 3.1). */
const PIECE = 4 << 20
/** Twice as fast as zlib's usual 6 and 5 % larger (docs/decisions/0018-image-process.md). */
const GZIP_LEVEL = 1

/** Half again as fast as the usual 3, and a tenth larger. */
const ZSTD_LEVEL = 1

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

/** What packs one piece. */
function packer({ compression, level }: Packing): (piece: Buffer) => Promise<Buffer> {
  if (compression === 'none') return async (piece) => piece
  if (compression === 'zstd') return (piece) => packZstd(piece, { chunkSize: PIECE, params: { [constants.ZSTD_c_compressionLevel]: level ?? ZSTD_LEVEL } })
  const isal = level === undefined ? openIsal() : undefined
  return isal !== undefined ? async (piece) => isal.pack(piece) : (piece) => packGzip(piece, { level: level ?? GZIP_LEVEL })
}

/** What is packed, and how. */
export interface PackRequest {
  readonly source: LayerSource
  /** Of the archive. */
  readonly bytes: number
  readonly packing: Packing
}

/** A layer's archive, packed as it is read; what comes out goes into the digest, too. */
export async function* packedLayer({ source, bytes, packing }: PackRequest, digest: ReturnType<typeof digester>, report: (progress: OpProgress) => void, signal: AbortSignal): AsyncGenerator<Buffer> {
  const pack = packer(packing)
  const ahead: Promise<Buffer>[] = []
  let taken = 0
  const next = async (): Promise<Buffer> => {
    const packed = (await ahead.shift()) ?? Buffer.alloc(0)
    digest.update(packed)
    return packed
  }
  for await (const piece of pieces(layerTar(source))) {
    signal.throwIfAborted()
    taken += piece.length
    const packed = pack(piece)
    packed.catch(() => undefined) // thrown where it is awaited, in its turn
    ahead.push(packed)
    report({ step: 'push', current: taken, total: bytes })
    if (ahead.length > availableParallelism()) yield next()
  }
  while (ahead.length > 0) yield next()
}
