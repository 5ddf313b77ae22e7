import { readFileSync, writeFileSync } from 'node:fs'
import { zstdCompressSync, zstdDecompressSync } from 'node:zlib'
import type { TarEntry } from '../tar-header.ts'

/** A member of a layer, and the block of the layer's file where its content begins. */
export interface IndexedEntry {
  readonly entry: TarEntry
  readonly block: number
}

/** What the members of a layer are, without their content. */
export interface LayerIndex {
  readonly entries: readonly IndexedEntry[]
  /** Blocks of the layer's file: the archive, and after it the content of sparse files. */
  readonly blocks: number
}

type Packed = readonly [path: string, type: TarEntry['type'], mode: number, uid: number, gid: number, size: number, seconds: number, nanos: number, link: string, major: number, minor: number, block: number, xattrs: readonly (readonly [string, string])[] | 0]

/** Writes an index beside its layer. */
export function writeLayerIndex(path: string, index: LayerIndex): void {
  const packed = index.entries.map(({ entry: e, block }): Packed => [e.path, e.type, e.mode, e.uid, e.gid, e.size, e.mtimeSeconds, e.mtimeNanos, e.link, e.major, e.minor, block, e.xattrs.size === 0 ? 0 : [...e.xattrs].map(([name, value]) => [name, value.toString('base64')])])
  writeFileSync(path, zstdCompressSync(Buffer.from(JSON.stringify({ version: 1, blocks: index.blocks, entries: packed }))), { mode: 0o600 })
}

const NONE: ReadonlyMap<string, Buffer> = new Map()

/** Reads it back. */
export function readLayerIndex(path: string): LayerIndex {
  const { blocks, entries } = JSON.parse(zstdDecompressSync(readFileSync(path)).toString()) as { readonly blocks: number; readonly entries: readonly Packed[] }
  return {
    blocks,
    entries: entries.map(([name, type, mode, uid, gid, size, mtimeSeconds, mtimeNanos, link, major, minor, block, xattrs]) => ({
      block, entry: { path: name, type, mode, uid, gid, size, mtimeSeconds, mtimeNanos, link, major, minor, xattrs: xattrs === 0 ? NONE : new Map(xattrs.map(([key, value]) => [key, Buffer.from(value, 'base64')])) },
    })),
  }
}
