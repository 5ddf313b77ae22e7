import { mkdirSync, readdirSync, rmSync, statSync } from 'node:fs'
import { type Database, logger } from '@gantry/std'
import { readArchive, UNKEPT } from './archive.ts'
import { type ListedFile, type ListedIntake, openListedIntake, type Remembered } from './listed.ts'
import type { Blob, Pack } from './pack.ts'
import { type BuildContext, type KnownContents, openShelf, type Shelf } from './shelf.ts'
import type { ContextTree } from './tree.ts'

export type { BuildContext } from './shelf.ts'

const log = logger('builder.context')

/** Contents of contexts by digest: what came once is neither written nor sent again. */
export interface ContextStore {
  /** Takes an archive, compressed or not. Nothing is unpacked; only content that is new is written. */
  receive(source: AsyncIterable<Uint8Array>): Promise<BuildContext>
  /** Takes files that are listed first. `from` names where they are: files that came from there before, and look the same, are not sent again. */
  receiveListed(from: string, read: (raw: Uint8Array) => ListedFile | undefined): ListedIntake
  /** Reads an archive for what it holds; content is hashed and not kept. */
  survey(source: AsyncIterable<Uint8Array>): Promise<ContextTree>
  /** Removes what was not used since then (milliseconds since 1970) and is in no build's hands. Gives the bytes that went. */
  prune(usedBefore: number): number
}

const MAX_MEMORIES = 8

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
  /** What was listed last, by where it was; the one that was used last comes last. */
  const memories = new Map<string, Remembered>()
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
  const used = (packs: Iterable<string>, own: Pack): void => {
    const now = Date.now()
    for (const id of packs) if (id !== own.id) db.run('UPDATE context_pack SET used_at = ? WHERE id = ?', now, id)
    if (own.isEmpty) return own.remove()
    // Records name only what is on the disk; the build does not wait for that.
    hold(own.id)
    own.sync().then(() => keep(own)).catch((cause: unknown) => log.warn('a context is not kept', { cause })).finally(() => {
      own.close()
      letGo(own.id)
    })
  }
  const shelfOf = (known?: KnownContents): Shelf => openShelf({ home, hold, letGo, used, known, find: blobOf })
  const remember = (from: string, made: Remembered): void => {
    memories.delete(from)
    memories.set(from, made)
    for (const oldest of memories.keys()) if (memories.size > MAX_MEMORIES) memories.delete(oldest)
  }
  return {
    async receive(source) {
      const shelf = shelfOf()
      try {
        return shelf.finish(await readArchive(source, shelf))
      } catch (error) {
        shelf.abandon()
        throw error
      }
    },
    receiveListed(from, read) {
      const before = memories.get(from)
      if (before !== undefined) remember(from, before)
      return openListedIntake(shelfOf(before?.contents), before, read, (made) => remember(from, made))
    },
    survey: (source) => readArchive(source, UNKEPT),
    prune(usedBefore) {
      let bytes = 0
      // What they know may be among what goes.
      memories.clear()
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
