import { closeSync, openSync, readSync } from 'node:fs'
import { digester, EngineError } from '@gantry/std'
import { type Blob, Pack } from './pack.ts'
import type { ContextTree } from './tree.ts'

/** A context that a build reads from; what it needs stays until it is let go. */
export interface BuildContext extends Disposable {
  readonly tree: ContextTree
  /** Content of a file, by its digest. */
  read(digest: string): Generator<Buffer>
}

/** A large content that is written as it comes. */
export interface LargeContent {
  write(chunk: Uint8Array): void
  /** Gives its digest and its size. */
  end(): { readonly digest: string; readonly size: number }
}

/** Puts the contents of one context into packs: only what is new is written. */
export interface Shelf {
  /** True where a content is there; it stays, then. */
  has(digest: string): boolean
  /** Keeps a small content; the bytes are copied. */
  whole(bytes: Buffer, digest: string): void
  /** Makes room for a large one. */
  large(size: number): LargeContent
  /** What the context has. */
  contents(): KnownContents
  finish(tree: ContextTree): BuildContext
  abandon(): void
}

/** Contents of an earlier context. */
export interface KnownContents {
  readonly blobs: ReadonlyMap<string, Blob>
  readonly packs: ReadonlySet<string>
}

/** What a shelf needs of the store. */
export interface ShelfPorts {
  readonly home: string
  find(digest: string): Blob | undefined
  hold(pack: string): void
  letGo(pack: string): void
  /** Contents that are known to be in packs that are there: they stay from now on. */
  readonly known: KnownContents | undefined
  /** Packs of other builds that were used, and the one that was written, which is closed later. */
  used(packs: Iterable<string>, own: Pack): void
}

const READ = 1 << 20

/** Opens a shelf. */
export function openShelf({ home, find, hold, letGo, known, used }: ShelfPorts): Shelf {
  const pack = new Pack(home)
  const blobs = new Map<string, Blob>()
  const packs = new Set<string>(known?.packs)
  for (const id of packs) hold(id)
  const use = (digest: string, blob: Blob): void => {
    blobs.set(digest, blob)
    if (packs.has(blob.pack)) return
    packs.add(blob.pack)
    hold(blob.pack)
  }
  const has = (digest: string): boolean => {
    if (blobs.has(digest)) return true
    const blob = known?.blobs.get(digest) ?? find(digest)
    if (blob !== undefined) use(digest, blob)
    return blob !== undefined
  }
  const add = (digest: string, offset: number, size: number): void => {
    const blob = { pack: pack.id, offset, size }
    pack.blobs.set(digest, blob)
    use(digest, blob)
  }
  const release = (): void => {
    for (const id of packs) letGo(id)
    packs.clear()
  }
  return {
    has,
    contents: () => ({ blobs: new Map(blobs), packs: new Set([...blobs.values()].map((blob) => blob.pack)) }),
    whole(bytes, digest) {
      if (has(digest)) return
      add(digest, pack.end, bytes.length)
      pack.append(Buffer.from(bytes))
    },
    large(size) {
      const offset = pack.reserve(size)
      const hash = digester()
      let came = 0
      return {
        write(chunk) {
          if (came + chunk.length > size) throw new EngineError('invalid', 'a file of the context has grown while it was sent')
          hash.update(chunk)
          pack.writeAt(offset + came, chunk)
          came += chunk.length
        },
        end() {
          const digest = hash.digest()
          if (!has(digest)) add(digest, offset, came)
          else if (pack.end === offset + size) pack.rewind(offset)
          return { digest, size: came }
        },
      }
    },
    finish(tree) {
      pack.flush()
      used(packs, pack)
      return {
        tree,
        *read(digest) {
          const blob = blobs.get(digest) ?? known?.blobs.get(digest)
          if (blob === undefined) throw new EngineError('internal', `${digest} is not in the context`)
          const fd = openSync(`${home}/${blob.pack}`, 'r')
          try {
            for (let at = 0; at < blob.size; ) {
              const chunk = Buffer.allocUnsafe(Math.min(READ, blob.size - at))
              const got = readSync(fd, chunk, 0, chunk.length, blob.offset + at)
              if (got === 0) throw new EngineError('internal', `the pack ${blob.pack} is cut off`)
              at += got
              yield chunk.subarray(0, got)
            }
          } finally {
            closeSync(fd)
          }
        },
        [Symbol.dispose]: release,
      }
    },
    abandon() {
      release()
      pack.remove()
    },
  }
}
