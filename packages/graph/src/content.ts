import type { Database, Descriptor } from '@gantry/std'

/** A manifest or an index, byte for byte as it came. */
export interface KeptManifest {
  readonly digest: string
  readonly mediaType: string
  readonly bytes: Buffer
}

/** A layer in the form in which registries hold it. */
export interface KnownBlob extends Descriptor {
  readonly mediaType: string
  /** Repositories that are known to hold it, the latest first: `host/path`. */
  readonly repositories: readonly string[]
}

/** Manifests that came with images, and what is known of their layers in registries, so that a push keeps digests and sends nothing twice. */
export interface ContentStore {
  keep(manifest: KeptManifest, imageId: string): void
  manifest(digest: string): KeptManifest | undefined
  /** Manifests of an image, the latest first. */
  manifestsOf(imageId: string): readonly KeptManifest[]
  /** Notes that a repository holds this layer as that blob. */
  noteBlob(diffId: string, blob: Descriptor, repository: string): void
  blobs(diffId: string): readonly KnownBlob[]
  /** Takes back what proved wrong: the repository holds it no more. */
  forgetBlob(digest: string, repository: string): void
  /** Forgets what belonged to an image alone. */
  drop(imageId: string): void
  /** Bytes of all manifests. */
  bytes(): number
}

const REPOSITORIES = 8

/** Opens the store in the state's database. */
export function openContent(db: Database): ContentStore {
  db.migrate('content', [
    `CREATE TABLE manifest (digest TEXT PRIMARY KEY, media_type TEXT NOT NULL, bytes BLOB NOT NULL) STRICT, WITHOUT ROWID;
     CREATE TABLE image_manifest (image_id TEXT NOT NULL, digest TEXT NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (image_id, digest)) STRICT, WITHOUT ROWID;
     CREATE TABLE blob (diff_id TEXT NOT NULL, digest TEXT NOT NULL, media_type TEXT NOT NULL, size INTEGER NOT NULL, PRIMARY KEY (diff_id, digest)) STRICT, WITHOUT ROWID;
     CREATE TABLE blob_place (digest TEXT NOT NULL, repository TEXT NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (digest, repository)) STRICT, WITHOUT ROWID;`,
  ])
  const fromRow = (row: Readonly<Record<string, unknown>>): KeptManifest => ({ digest: String(row['digest']), mediaType: String(row['media_type']), bytes: Buffer.from(row['bytes'] as Uint8Array) })
  return {
    keep(manifest, imageId) {
      db.transaction(() => {
        db.run('INSERT OR IGNORE INTO manifest VALUES (?, ?, ?)', manifest.digest, manifest.mediaType, manifest.bytes)
        db.run('INSERT OR REPLACE INTO image_manifest VALUES (?, ?, ?)', imageId, manifest.digest, Date.now())
      })
    },
    manifest(digest) {
      const row = db.get('SELECT * FROM manifest WHERE digest = ?', digest)
      return row === undefined ? undefined : fromRow(row)
    },
    manifestsOf: (imageId) => db.all('SELECT manifest.* FROM manifest JOIN image_manifest USING (digest) WHERE image_id = ? ORDER BY at DESC', imageId).map(fromRow),
    noteBlob(diffId, blob, repository) {
      db.transaction(() => {
        db.run('INSERT OR REPLACE INTO blob VALUES (?, ?, ?, ?)', diffId, blob.digest, blob.mediaType ?? '', blob.size)
        db.run('INSERT OR REPLACE INTO blob_place VALUES (?, ?, ?)', blob.digest, repository, Date.now())
      })
    },
    blobs: (diffId) =>
      db.all('SELECT * FROM blob WHERE diff_id = ?', diffId).map((row) => ({
        digest: String(row['digest']), mediaType: String(row['media_type']), size: Number(row['size']),
        repositories: db.all('SELECT repository FROM blob_place WHERE digest = ? ORDER BY at DESC LIMIT ?', String(row['digest']), REPOSITORIES).map((place) => String(place['repository'])),
      })),
    forgetBlob: (digest, repository) => void db.run('DELETE FROM blob_place WHERE digest = ? AND repository = ?', digest, repository),
    drop(imageId) {
      db.transaction(() => {
        db.run('DELETE FROM image_manifest WHERE image_id = ?', imageId)
        db.run('DELETE FROM manifest WHERE digest NOT IN (SELECT digest FROM image_manifest)')
        db.run('DELETE FROM blob WHERE diff_id NOT IN (SELECT diff_id FROM layer)')
        db.run('DELETE FROM blob_place WHERE digest NOT IN (SELECT digest FROM blob)')
      })
    },
    bytes: () => Number(db.get('SELECT coalesce(sum(length(bytes)), 0) AS total FROM manifest')?.['total'] ?? 0),
  }
}
