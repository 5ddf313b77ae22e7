import { realpathSync } from 'node:fs'
import { createRequire } from 'node:module'
import { gunzipSync, gzipSync } from 'node:zlib'
import { EngineError } from '@gantry/std'

/**
 * Intel's ISA-L (Debian package libisal2) inflates half as fast again as zlib and packs several times as fast. It is called through
 * `node:ffi`, which is experimental: only here, only in the image process, and nothing is lost where it is missing.
 */
export interface Isal {
  /** Inflates gzip, several members too. */
  inflater(): Inflater
  /** One gzip member. */
  pack(piece: Buffer): Buffer
}

/** Inflates one stream. */
export interface Inflater {
  /** Gives what these bytes come to, in buffers that are the caller's own. */
  push(chunk: Buffer): Generator<Buffer>
  /** An end in the middle of a member is an error. */
  end(): void
}

/** The one build whose structures are known here (igzip_lib.h of ISA-L 2.30); offsets in bytes. */
const LIBRARY = '/usr/lib/x86_64-linux-gnu/libisal.so.2'
const BUILD = 'libisal.so.2.0.30'
const INFLATE = { bytes: 87_368, nextOut: 0, availOut: 8, nextIn: 16, availIn: 32, blockState: 21_160, crcFlag: 21_172, gzip: 1, finished: 5 } as const
const DEFLATE = { bytes: 82_384, nextIn: 0, availIn: 8, nextOut: 16, availOut: 24, level: 40, levelBytes: 44, levelBuffer: 48, end: 56, flush: 58, gzipFlag: 60, gzip: 1 } as const
const LEVEL = 1
const LEVEL_BYTES = 282_624
const OUT_BYTES = 1 << 20
/** What a member may grow beyond its content: headers, and blocks that did not pack. */
const SLACK_BYTES = 1 << 16

interface Ffi {
  dlopen(path: string, functions: Readonly<Record<string, { readonly return: string; readonly arguments: readonly string[] }>>): { readonly functions: Readonly<Record<string, (...args: readonly unknown[]) => number>> }
  getRawPointer(buffer: Buffer): bigint
}

function bind(ffi: Ffi): Isal {
  const { functions } = ffi.dlopen(LIBRARY, {
    isal_inflate_init: { return: 'void', arguments: ['buffer'] },
    isal_inflate: { return: 'int32', arguments: ['buffer'] },
    isal_deflate_stateless_init: { return: 'void', arguments: ['buffer'] },
    isal_deflate_stateless: { return: 'int32', arguments: ['buffer'] },
  })
  const call = (name: string, state: Buffer): number => functions[name]?.(state) ?? -1
  const inflater = (): Inflater => {
    const state = Buffer.alloc(INFLATE.bytes)
    let fresh = true
    const reset = (): void => {
      call('isal_inflate_init', state)
      state.writeUInt32LE(INFLATE.gzip, INFLATE.crcFlag)
      fresh = true
    }
    reset()
    let out = Buffer.allocUnsafeSlow(OUT_BYTES)
    let used = 0
    return {
      *push(chunk) {
        // A view of its own memory: the address has to stay what it is during the calls, and it does.
        const input = ffi.getRawPointer(chunk)
        let left = chunk.length
        while (left > 0) {
          state.writeBigUInt64LE(input + BigInt(chunk.length - left), INFLATE.nextIn)
          state.writeUInt32LE(left, INFLATE.availIn)
          state.writeBigUInt64LE(ffi.getRawPointer(out) + BigInt(used), INFLATE.nextOut)
          state.writeUInt32LE(OUT_BYTES - used, INFLATE.availOut)
          fresh = false
          const code = call('isal_inflate', state)
          if (code !== 0) throw new EngineError('invalid', `cannot decompress the archive: it is damaged (igzip ${code})`)
          left = state.readUInt32LE(INFLATE.availIn)
          used = OUT_BYTES - state.readUInt32LE(INFLATE.availOut)
          const finished = state.readUInt32LE(INFLATE.blockState) === INFLATE.finished
          if (used === OUT_BYTES || (finished && used > 0) || (left === 0 && used > OUT_BYTES / 2)) {
            yield out.subarray(0, used)
            out = Buffer.allocUnsafeSlow(OUT_BYTES)
            used = 0
          }
          if (finished) reset()
        }
        // What is buffered inside comes out before more is asked for.
        for (let more = !fresh; more; ) {
          state.writeBigUInt64LE(ffi.getRawPointer(out) + BigInt(used), INFLATE.nextOut)
          state.writeUInt32LE(OUT_BYTES - used, INFLATE.availOut)
          state.writeUInt32LE(0, INFLATE.availIn)
          const before = used
          if (call('isal_inflate', state) !== 0) throw new EngineError('invalid', 'cannot decompress the archive: it is damaged')
          used = OUT_BYTES - state.readUInt32LE(INFLATE.availOut)
          more = used > before
          const finished = state.readUInt32LE(INFLATE.blockState) === INFLATE.finished
          if (used > 0 && (used === OUT_BYTES || finished || !more)) {
            yield out.subarray(0, used)
            out = Buffer.allocUnsafeSlow(OUT_BYTES)
            used = 0
          }
          if (finished) {
            reset()
            more = false
          }
        }
      },
      end() {
        if (!fresh) throw new EngineError('invalid', 'cannot decompress the archive: it is cut off')
      },
    }
  }
  const state = Buffer.alloc(DEFLATE.bytes)
  const level = Buffer.alloc(LEVEL_BYTES)
  return {
    inflater,
    pack(piece) {
      const out = Buffer.allocUnsafeSlow(piece.length + SLACK_BYTES)
      call('isal_deflate_stateless_init', state)
      state.writeBigUInt64LE(piece.length === 0 ? 0n : ffi.getRawPointer(piece), DEFLATE.nextIn)
      state.writeUInt32LE(piece.length, DEFLATE.availIn)
      state.writeBigUInt64LE(ffi.getRawPointer(out), DEFLATE.nextOut)
      state.writeUInt32LE(out.length, DEFLATE.availOut)
      state.writeUInt32LE(LEVEL, DEFLATE.level)
      state.writeUInt32LE(LEVEL_BYTES, DEFLATE.levelBytes)
      state.writeBigUInt64LE(ffi.getRawPointer(level), DEFLATE.levelBuffer)
      state.writeUInt16LE(1, DEFLATE.end)
      state.writeUInt16LE(0, DEFLATE.flush)
      state.writeUInt16LE(DEFLATE.gzip, DEFLATE.gzipFlag)
      const code = call('isal_deflate_stateless', state)
      if (code !== 0) throw new EngineError('internal', `igzip cannot pack a piece of ${piece.length} bytes (${code})`)
      return out.subarray(0, out.length - state.readUInt32LE(DEFLATE.availOut))
    },
  }
}

/** A round trip both ways with zlib as the judge: a library that is not what it seems is not used. */
function works(isal: Isal): boolean {
  const sample = Buffer.from('gantry '.repeat(300_000) + 'end')
  const inflater = isal.inflater()
  const packed = Buffer.concat([gzipSync(sample), gzipSync(Buffer.from('second'))])
  const parts: Buffer[] = []
  for (let at = 0; at < packed.length; at += 1000) parts.push(...inflater.push(packed.subarray(at, at + 1000)))
  inflater.end()
  return Buffer.concat(parts).equals(Buffer.concat([sample, Buffer.from('second')])) && gunzipSync(isal.pack(sample)).equals(sample)
}

let known: { readonly isal: Isal | undefined } | undefined

/** The library, where it is there and works; looked for once a thread. */
export function openIsal(): Isal | undefined {
  if (known !== undefined) return known.isal
  known = { isal: undefined }
  if (process.arch !== 'x64' || process.env['GANTRY_NO_ISAL'] !== undefined) return undefined
  try {
    if (!realpathSync(LIBRARY).endsWith(BUILD)) return undefined
    const isal = bind(createRequire(import.meta.filename)('node:ffi') as Ffi)
    if (works(isal)) known = { isal }
  } catch (error) {
    // No library, no such module, or another shape of it: zlib does.
    if (!(error instanceof Error)) throw error
  }
  return known.isal
}
