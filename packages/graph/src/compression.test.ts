import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { describe, it } from 'node:test'
import { gzipSync, zstdCompressSync } from 'node:zlib'
import { collect } from '@gantry/std'
import { decompressed } from './compression.ts'

const TEXT = Buffer.alloc(3 << 20, 'some text that is easily packed ')
const there = (program: string): boolean => {
  try {
    execFileSync(program, ['--version'], { stdio: 'ignore', input: '' })
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false
    throw error
  }
}

async function* pieces(bytes: Buffer, size = 1000): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
}

describe('archives are decompressed as they come', () => {
  const unpacked = async (bytes: Buffer): Promise<Buffer> => collect(await decompressed(pieces(bytes)), 8 << 20)
  for (const [name, packed] of [['gzip', gzipSync(TEXT)], ['zstd', zstdCompressSync(TEXT)], ['nothing', TEXT]] as const) {
    it(name, async () => assert.ok((await unpacked(packed)).equals(TEXT)))
  }
  for (const program of ['bzip2', 'xz']) {
    it(program, { skip: there(program) ? false : `no ${program} on this machine` }, async () => {
      const packed = execFileSync(program, ['-c'], { input: TEXT })
      assert.ok((await unpacked(packed)).equals(TEXT))
      await assert.rejects(unpacked(packed.subarray(0, packed.length - 9)), /damaged or cut off/)
      await assert.rejects(unpacked(Buffer.concat([packed.subarray(0, 40), Buffer.alloc(200_000, 7)])), /damaged or cut off/)
      // Whoever stops reading leaves nothing running.
      for await (const chunk of await decompressed(pieces(packed))) {
        assert.ok(chunk.length > 0)
        break
      }
    })
  }
})
