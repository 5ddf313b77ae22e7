import { closeSync, fstatSync, openSync, readSync, writeSync } from 'node:fs'
import { zstdCompressSync, zstdDecompressSync } from 'node:zlib'
import { EngineError } from '@gantry/std'

/**
 * Everything of a layer's archive but the content of its files, so that the archive can be put together again byte for byte
 * (docs/decisions/0005-tar-skeleton.md). On disk: frames of `{u32 length, zstd}`; inside, records of `{u8 kind, u32 length, bytes}`,
 * a file's bytes being `{u64 size, path}`. Numbers are little-endian.
 */
export type SkeletonPart = { readonly kind: 'raw'; readonly bytes: Buffer } | { readonly kind: 'file'; readonly path: Buffer; readonly size: number }

const FRAME_BYTES = 4 << 20
const KIND = { raw: 0, file: 1 } as const

/** Writes a skeleton as the archive goes by. */
export interface SkeletonWriter {
  raw(bytes: Buffer): void
  file(path: Buffer, size: number): void
  close(): void
  /** Lets go of the file. */
  abort(): void
}

/** Makes the file of a skeleton. */
export function skeletonWriter(path: string): SkeletonWriter {
  const fd = openSync(path, 'wx', 0o600)
  let block = Buffer.allocUnsafe(FRAME_BYTES)
  let used = 0
  const flush = (): void => {
    if (used === 0) return
    const frame = zstdCompressSync(block.subarray(0, used))
    const head = Buffer.alloc(4)
    head.writeUInt32LE(frame.length)
    writeSync(fd, Buffer.concat([head, frame]))
    used = 0
  }
  const record = (kind: number, bytes: Buffer): void => {
    if (used + 5 + bytes.length > block.length) flush()
    if (5 + bytes.length > block.length) block = Buffer.allocUnsafe(5 + bytes.length)
    block[used] = kind
    block.writeUInt32LE(bytes.length, used + 1)
    bytes.copy(block, used + 5)
    used += 5 + bytes.length
  }
  return {
    raw: (bytes) => record(KIND.raw, bytes),
    file(path, size) {
      const bytes = Buffer.alloc(8 + path.length)
      bytes.writeBigUInt64LE(BigInt(size))
      path.copy(bytes, 8)
      record(KIND.file, bytes)
    },
    close() {
      flush()
      closeSync(fd)
    },
    abort: () => closeSync(fd),
  }
}

/** Reads a skeleton frame by frame. */
export function* readSkeleton(path: string): Generator<SkeletonPart> {
  const fd = openSync(path, 'r')
  try {
    const total = fstatSync(fd).size
    for (let at = 0; at < total; ) {
      const head = Buffer.alloc(4)
      readSync(fd, head, 0, 4, at)
      const frame = Buffer.alloc(head.readUInt32LE())
      if (readSync(fd, frame, 0, frame.length, at + 4) !== frame.length) throw new EngineError('internal', `${path} is cut off`)
      at += 4 + frame.length
      const block = zstdDecompressSync(frame)
      for (let from = 0; from < block.length; ) {
        const bytes = block.subarray(from + 5, from + 5 + block.readUInt32LE(from + 1))
        if (block[from] === KIND.raw) yield { kind: 'raw', bytes }
        else yield { kind: 'file', size: Number(bytes.readBigUInt64LE()), path: bytes.subarray(8) }
        from += 5 + bytes.length
      }
    }
  } finally {
    closeSync(fd)
  }
}
