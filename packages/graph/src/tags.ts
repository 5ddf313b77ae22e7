import type { Database } from '@gantry/std'

/** Maps `name:tag` and `name@digest` to image ids. Names are familiar ones (`busybox`, `host:5000/a/b`). */
export interface TagStore {
  set(reference: string, imageId: string): { readonly replaced?: string }
  get(reference: string): string | undefined
  remove(reference: string): boolean
  references(imageId: string): readonly string[]
  list(): readonly { readonly reference: string; readonly imageId: string }[]
}

/** Opens the tag store. */
export function openTags(db: Database): TagStore {
  db.migrate('tags', [
    'CREATE TABLE tag (reference TEXT PRIMARY KEY, image_id TEXT NOT NULL, tagged_at INTEGER NOT NULL) STRICT, WITHOUT ROWID; CREATE INDEX tag_image ON tag (image_id);',
  ])
  const get = (reference: string): string | undefined => {
    const id = db.get('SELECT image_id FROM tag WHERE reference = ?', reference)?.['image_id']
    return id === undefined ? undefined : String(id)
  }
  return {
    get,
    set(reference, imageId) {
      const before = get(reference)
      db.run('INSERT INTO tag VALUES (?, ?, ?) ON CONFLICT (reference) DO UPDATE SET image_id = excluded.image_id, tagged_at = excluded.tagged_at', reference, imageId, Date.now())
      return before === undefined || before === imageId ? {} : { replaced: before }
    },
    remove: (reference) => db.run('DELETE FROM tag WHERE reference = ?', reference) > 0,
    references: (imageId) => db.all('SELECT reference FROM tag WHERE image_id = ? ORDER BY reference', imageId).map((row) => String(row['reference'])),
    list: () => db.all('SELECT reference, image_id FROM tag ORDER BY reference').map((row) => ({ reference: String(row['reference']), imageId: String(row['image_id']) })),
  }
}
