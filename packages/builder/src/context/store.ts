import { hash as hashOnce } from 'node:crypto'
import { closeSync, fdatasync, ftruncateSync, mkdirSync, openSync, readdirSync, readSync, rmSync, statSync, writeSync } from 'node:fs'
import { decompressed, type TarEntry, tarParser } from '@gantry/graph'
import { type Database, digester, type Digester, EngineError, logger, newId } from '@gantry/std'
import { type ContextNode, contextTree, type ContextTree } from './tree.ts'

const log = logger('builder.context')

/** A context that a build reads from; what it needs stays until it is let go. */
export interface BuildContext extends Disposable {
  readonly tree: ContextTree
  /** Content of a file, by its digest. */
  read(digest: string): Generator<Buffer>
}

/** Contents of contexts by digest: what came once is neither written nor sent again. */
export interface ContextStore {
  /** Takes an archive, compressed or not. Nothing is unpacked; only content that is new is written. */
  receive(source: AsyncIterable<Uint8Array>): Promise<BuildContext>
  /** Reads an archive for what it holds; content is hashed and not kept. */
  survey(source: AsyncIterable<Uint8Array>): Promise<ContextTree>
  /** True where the content is there. */
  has(digest: string): boolean
  /** Bytes on the disk. */
  bytes(): number
  /** Removes what was not used since then (milliseconds since 1970) and is in no build's hands. Gives the bytes that went. */
  prune(usedBefore: number): number
}

interface Blob {
  readonly pack: string
  readonly offset: number
  readonly size: number
}

const SMALL = 1 << 20
const READ = 1 << 20
const MAX_FILES = 2_000_000

/** Content that is being written: new files one after the other. */
class Pack {
  readonly id = newId().slice(0, 26)
  readonly path: string
  readonly blobs = new Map<string, Blob>()
  #fd: number | undefined
  #held: Buffer[] = []
  #heldBytes = 0
  #end = 0

  constructor(home: string) {
    this.path = `${home}/${this.id}`
  }

  get end(): number {
    return this.#end
  }

  get isEmpty(): boolean {
    return this.blobs.size === 0
  }

  write(bytes: Buffer): void {
    this.#held.push(bytes)
    this.#heldBytes += bytes.length
    this.#end += bytes.length
    if (this.#heldBytes >= SMALL) this.flush()
  }

  flush(): void {
    if (this.#heldBytes === 0) return
    this.#fd ??= openSync(this.path, 'ax+', 0o600)
    const all = Buffer.concat(this.#held)
    for (let at = 0; at < all.length; ) at += writeSync(this.#fd, all, at)
    this.#held = []
    this.#heldBytes = 0
  }

  /** Takes back what was written from there on. */
  rewind(offset: number): void {
    this.flush()
    if (this.#fd !== undefined) ftruncateSync(this.#fd, offset)
    this.#end = offset
  }

  close(): void {
    if (this.#fd !== undefined) closeSync(this.#fd)
    this.#fd = undefined
  }

  /** Waits until it is on the disk. */
  async sync(): Promise<void> {
    this.flush()
    const fd = this.#fd
    if (fd !== undefined) await new Promise<void>((resolve, reject) => fdatasync(fd, (error) => (error === null ? resolve() : reject(error))))
  }
}

function pathOf(entry: TarEntry): string {
  const parts: string[] = []
  for (const part of entry.path.split('/')) {
    if (part === '' || part === '.') continue
    if (part === '..') throw new EngineError('invalid', `the context holds the path ${JSON.stringify(entry.path)}, which leads outside of it`)
    parts.push(part)
  }
  return parts.join('/')
}

function nodeOf(entry: TarEntry, digest: string): ContextNode | undefined {
  if (entry.type !== 'file' && entry.type !== 'directory' && entry.type !== 'link') return undefined
  return { type: entry.type, mode: entry.mode & 0o7777, uid: entry.uid, gid: entry.gid, size: entry.size, mtimeSeconds: entry.mtimeSeconds, mtimeNanos: entry.mtimeNanos, link: entry.link, digest, xattrs: entry.xattrs }
}

/** Hears the content of files: small ones whole, large ones in pieces. */
interface Content {
  whole(bytes: Buffer, digest: string): void
  /** A large file begins; gives what `end` is told. */
  begin(): number
  piece(chunk: Buffer): void
  end(digest: string, begun: number, size: number): void
}

/** Reads an archive into a tree; each file is hashed as it comes. */
function openIntake(content: Content): { read(source: AsyncIterable<Uint8Array>): Promise<ContextTree> } {
  const files = new Map<string, ContextNode>()
  let entry: TarEntry | undefined
  let small: Buffer[] = []
  let large: { readonly digest: Digester; readonly begun: number } | undefined
  const take = (chunk: Buffer): void => {
    if (large === undefined) return void small.push(chunk)
    large.digest.update(chunk)
    content.piece(chunk)
  }
  const settled = (done: TarEntry): string => {
    if (large !== undefined) {
      const digest = large.digest.digest()
      content.end(digest, large.begun, done.size)
      return digest
    }
    const bytes = small.length === 1 && small[0] !== undefined ? small[0] : Buffer.concat(small)
    const digest = `sha256:${hashOnce('sha256', bytes, 'hex')}`
    content.whole(bytes, digest)
    return digest
  }
  const parser = tarParser({
    entry(next) {
      entry = next
      small = []
      large = next.type === 'file' && next.size > SMALL ? { digest: digester(), begun: content.begin() } : undefined
      if (files.size >= MAX_FILES) throw new EngineError('invalid', `the context has more than ${MAX_FILES} files`)
      if (next.type === 'file') return
      const node = next.type === 'hardlink' ? files.get(pathOf({ ...next, path: next.link })) : nodeOf(next, '')
      if (node !== undefined) files.set(pathOf(next), node)
    },
    data(chunk) {
      // A file that ends beyond this chunk is copied: its pieces wait.
      if (entry?.type === 'file') take(large === undefined && chunk.length < entry.size ? Buffer.from(chunk) : chunk)
    },
    hole(length) {
      for (let left = length; left > 0 && entry?.type === 'file'; left -= READ) take(Buffer.alloc(Math.min(left, READ)))
    },
    finish() {
      if (entry?.type !== 'file') return
      const node = nodeOf(entry, settled(entry))
      if (node !== undefined) files.set(pathOf(entry), node)
      entry = undefined
    },
  })
  return {
    async read(source) {
      for await (const chunk of await decompressed(source)) parser.push(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength))
      parser.end()
      return contextTree(files)
    },
  }
}

/** Opens the store below a directory; packs that no record names are removed. */
export function openContextStore(home: string, db: Database): ContextStore {
  db.migrate('build-context', [
    `CREATE TABLE context_pack (id TEXT PRIMARY KEY, used_at INTEGER NOT NULL) STRICT, WITHOUT ROWID;
     CREATE TABLE context_blob (digest TEXT PRIMARY KEY, pack TEXT NOT NULL REFERENCES context_pack ON DELETE CASCADE, at INTEGER NOT NULL, size INTEGER NOT NULL) STRICT, WITHOUT ROWID;
     CREATE INDEX context_blob_pack ON context_blob (pack);`,
  ])
  mkdirSync(home, { recursive: true, mode: 0o700 })
  const known = new Set(db.all('SELECT id FROM context_pack').map((row) => String(row['id'])))
  for (const name of readdirSync(home)) if (!known.has(name)) rmSync(`${home}/${name}`, { force: true })
  for (const id of known) if (statSync(`${home}/${id}`, { throwIfNoEntry: false }) === undefined) db.run('DELETE FROM context_pack WHERE id = ?', id)
  /** How many builds hold a pack. */
  const held = new Map<string, number>()
  const blobOf = (digest: string): Blob | undefined => {
    const row = db.get('SELECT pack, at, size FROM context_blob WHERE digest = ?', digest)
    return row === undefined ? undefined : { pack: String(row['pack']), offset: Number(row['at']), size: Number(row['size']) }
  }
  const hold = (pack: string): void => void held.set(pack, (held.get(pack) ?? 0) + 1)
  const letGo = (pack: string): void => {
    const count = (held.get(pack) ?? 1) - 1
    if (count > 0) held.set(pack, count)
    else held.delete(pack)
  }
  const keep = (pack: Pack): void => {
    db.transaction(() => {
      db.run('INSERT INTO context_pack VALUES (?, ?)', pack.id, Date.now())
      for (const [digest, blob] of pack.blobs) db.run('INSERT INTO context_blob VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING', digest, blob.pack, blob.offset, blob.size)
    })
  }

  const receive = async (source: AsyncIterable<Uint8Array>): Promise<BuildContext> => {
    const pack = new Pack(home)
    const blobs = new Map<string, Blob>()
    const packs = new Set<string>()
    const use = (digest: string, blob: Blob): void => {
      blobs.set(digest, blob)
      if (packs.has(blob.pack)) return
      packs.add(blob.pack)
      hold(blob.pack)
    }
    const find = (digest: string): boolean => {
      if (blobs.has(digest)) return true
      const blob = blobOf(digest)
      if (blob !== undefined) use(digest, blob)
      return blob !== undefined
    }
    const add = (digest: string, offset: number, size: number): void => {
      const blob = { pack: pack.id, offset, size }
      pack.blobs.set(digest, blob)
      use(digest, blob)
    }
    const intake = openIntake({
      whole(bytes, digest) {
        if (find(digest)) return
        add(digest, pack.end, bytes.length)
        // The parser's chunks are views that are good until the call returns.
        pack.write(Buffer.from(bytes))
      },
      begin: () => pack.end,
      piece: (chunk) => pack.write(Buffer.from(chunk)),
      end(digest, offset, size) {
        if (find(digest)) pack.rewind(offset)
        else add(digest, offset, size)
      },
    })
    const release = (): void => {
      for (const id of packs) letGo(id)
      packs.clear()
    }
    let tree: ContextTree
    try {
      tree = await intake.read(source)
      pack.flush()
    } catch (error) {
      release()
      pack.close()
      rmSync(pack.path, { force: true })
      throw error
    }
    const now = Date.now()
    for (const id of packs) if (id !== pack.id) db.run('UPDATE context_pack SET used_at = ? WHERE id = ?', now, id)
    if (!pack.isEmpty) {
      // Records name only what is on the disk; the build does not wait for that.
      hold(pack.id)
      pack.sync().then(() => keep(pack)).catch((cause: unknown) => log.warn('a context is not kept', { cause })).finally(() => {
        pack.close()
        letGo(pack.id)
      })
    }
    return {
      tree,
      *read(digest) {
        const blob = blobs.get(digest)
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
  }

  return {
    receive,
    survey: (source) => openIntake({ whole: () => undefined, begin: () => 0, piece: () => undefined, end: () => undefined }).read(source),
    has: (digest) => blobOf(digest) !== undefined,
    bytes: () => db.all('SELECT id FROM context_pack').reduce((sum, row) => sum + (statSync(`${home}/${String(row['id'])}`, { throwIfNoEntry: false })?.size ?? 0), 0),
    prune(usedBefore) {
      let bytes = 0
      for (const row of db.all('SELECT id FROM context_pack WHERE used_at <= ?', usedBefore)) {
        const id = String(row['id'])
        if (held.has(id)) continue
        bytes += statSync(`${home}/${id}`, { throwIfNoEntry: false })?.size ?? 0
        db.run('DELETE FROM context_pack WHERE id = ?', id)
        rmSync(`${home}/${id}`, { force: true })
      }
      return bytes
    },
  }
}
