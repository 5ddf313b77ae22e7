import { closeSync, ftruncateSync, openSync, readSync, rmSync, writeSync } from 'node:fs'
import { digester } from '@gantry/std'
import { type IndexedEntry, writeLayerIndex } from '../erofs/layer-index.ts'
import { BLOCK } from '../tar-header.ts'
import { tarParser } from '../tar-parser.ts'
import type { LayerWriter } from './layer-writer.ts'

/** Content of sparse files, which lies in the archive in pieces: kept aside, and put behind the archive at the end. */
interface Unpacked {
  begin(): void
  data(chunk: Buffer): void
  hole(length: number): void
  /** Copies all of it to the end of the archive; gives the blocks where the files begin. */
  moveTo(fd: number, end: number): { readonly starts: readonly number[]; readonly end: number }
  close(): void
}

const align = (bytes: number): number => Math.ceil(bytes / BLOCK) * BLOCK
const COPY = 1 << 20

function unpacked(path: string): Unpacked {
  let fd: number | undefined
  let position = 0
  const starts: number[] = []
  const pieces: { readonly at: number; readonly length: number }[] = []
  return {
    begin() {
      fd ??= openSync(path, 'wx+', 0o600)
      position = align(position)
      starts.push(position)
    },
    data(chunk) {
      if (fd === undefined) return
      for (let from = 0; from < chunk.length; ) from += writeSync(fd, chunk, from, chunk.length - from, position + from)
      pieces.push({ at: position, length: chunk.length })
      position += chunk.length
    },
    hole(length) {
      position += length
    },
    moveTo(to, end) {
      const chunk = Buffer.allocUnsafe(COPY)
      for (const { at, length } of pieces) {
        for (let done = 0; fd !== undefined && done < length; ) {
          const count = readSync(fd, chunk, 0, Math.min(COPY, length - done), at + done)
          writeSync(to, chunk, 0, count, end + at + done)
          done += count
        }
      }
      ftruncateSync(to, end + align(position))
      return { starts: starts.map((start) => (end + start) / BLOCK), end: end + align(position) }
    },
    close() {
      if (fd === undefined) return
      closeSync(fd)
      rmSync(path, { force: true })
      fd = undefined
    },
  }
}

/** Keeps an archive as it is, and what its members are. */
export function tarWriter(target: { readonly path: string; readonly index?: string }): LayerWriter {
  const fd = openSync(target.path, 'wx', 0o600)
  const digest = digester()
  const entries: { readonly entry: IndexedEntry['entry']; readonly block: number; readonly packed: boolean }[] = []
  const aside = unpacked(`${target.path}.sparse`)
  let bytes = 0
  let isPacked = false
  const parser = tarParser({
    entry(entry, at, packed) {
      bytes += entry.size
      isPacked = packed
      if (packed && target.index !== undefined) aside.begin()
      if (target.index !== undefined) entries.push({ entry, block: at / BLOCK, packed })
    },
    data: (chunk) => void (isPacked && target.index !== undefined && aside.data(chunk)),
    hole: (length) => void (isPacked && aside.hole(length)),
    finish: () => undefined,
  })
  return {
    push(chunk) {
      digest.update(chunk)
      for (let at = 0; at < chunk.length; ) at += writeSync(fd, chunk, at)
      parser.push(chunk)
      return undefined
    },
    close() {
      try {
        parser.end()
        if (target.index !== undefined) {
          const { starts, end } = aside.moveTo(fd, align(digest.bytes))
          let next = 0
          writeLayerIndex(target.index, { blocks: end / BLOCK, entries: entries.map(({ entry, block, packed }) => ({ entry, block: packed ? (starts[next++] ?? 0) : block })) })
        }
      } finally {
        aside.close()
        closeSync(fd)
      }
      return { diffId: digest.digest(), tarBytes: digest.bytes, bytes, rest: undefined }
    },
    abort() {
      aside.close()
      closeSync(fd)
    },
  }
}
