import { digester } from '@gantry/std'
import { tarParser } from '../tar-parser.ts'
import { directorySink } from './directory-sink.ts'
import { skeletonWriter } from './skeleton.ts'
import { tarWriter } from './tar-writer.ts'

/** Where a layer's content goes. */
export type LayerTarget =
  /** A directory for overlayfs, and the skeleton beside it. */
  | { readonly kind: 'directory'; readonly path: string; readonly skeleton: string }
  /** The archive as it is; with `index`, what its members are beside it, and the content of sparse files after it. */
  | { readonly kind: 'tar'; readonly path: string; readonly index?: string }

/** What a layer came to. */
export interface WrittenLayer {
  /** Digest of the archive, not compressed. */
  readonly diffId: string
  readonly tarBytes: number
  /** Bytes of file content. */
  readonly bytes: number
  /** Entries that only the helper can make (`DirectorySink.close`). */
  readonly rest: Buffer | undefined
}

/** Takes a layer's archive, not compressed. Everything is done when a call returns: no waiting, no thread pool. */
export interface LayerWriter {
  /** Never waits; the second word is for writers that may. */
  push(chunk: Buffer, owned?: boolean): undefined
  /** Ends the writer, whether it fails or not. */
  close(): WrittenLayer
  /** Lets go of open files; what was written is the caller's to remove. */
  abort(): void
}

/** Opens a target that nobody else writes to. */
export function layerWriter(target: LayerTarget): LayerWriter {
  if (target.kind === 'tar') return tarWriter(target)
  const digest = digester()
  let bytes = 0
  const sink = directorySink(target.path)
  const skeleton = skeletonWriter(target.skeleton)
  const parser = tarParser({
    entry(entry, _, packed) {
      bytes += entry.size
      sink.entry(entry)
      if (entry.size > 0 && !packed) skeleton.file(Buffer.from(entry.path, 'latin1'), entry.size)
    },
    data: (chunk) => sink.data(chunk),
    hole: (length) => sink.hole(length),
    finish: () => sink.finish(),
    raw: (chunk) => skeleton.raw(chunk),
  })
  return {
    push(chunk) {
      digest.update(chunk)
      parser.push(chunk)
      return undefined
    },
    close() {
      try {
        parser.end()
      } catch (error) {
        sink.abort()
        skeleton.abort()
        throw error
      }
      skeleton.close()
      return { diffId: digest.digest(), tarBytes: digest.bytes, bytes, rest: sink.close() }
    },
    abort() {
      sink.abort()
      skeleton.abort()
    },
  }
}
