import { createHash } from 'node:crypto'
import { type Database, digestOf, EngineError, type ImageConfig, type ImageRunConfig, newId } from '@gantry/std'
import { chainIds, type Layer, type LayerStore } from './layers.ts'

/** An image: its configuration, and the top of its layers. */
export interface Image {
  /** Digest of the configuration's bytes. */
  readonly id: string
  readonly config: ImageConfig
  readonly raw: Buffer
  readonly chainId: string | undefined
  /** Milliseconds since 1970, when it came into the store. */
  readonly addedAt: number
  readonly parent: string | undefined
}

/** Images by id. */
export interface ImageStore {
  /** Keeps an image whose layers are registered; takes over one reference to its top layer. */
  create(raw: Buffer, options?: { readonly parent?: string }): Image
  get(id: string): Image | undefined
  /** Layers as an image that lives only as long as this process, and at most until it is taken back: steps of builds run on it. It is in no list. */
  lend(config: ImageRunConfig, chainId: string | undefined): Image & Disposable
  /** Ids that begin so; more than one is ambiguous. */
  find(prefix: string): readonly string[]
  list(): readonly Image[]
  children(id: string): readonly string[]
  /** Notes that somebody uses the image now. */
  touch(id: string): void
  /** When it was used last, or came: milliseconds since 1970. */
  usedAt(image: Image): number
  /** Forgets the image and releases its layers; gives the layers that went. */
  remove(id: string): readonly string[]
  /** Sum of its layers' file content. */
  bytes(image: Image): number
  layers(image: Image): readonly Layer[]
}

/** Reads a configuration; wrong shapes are refused before anything is kept. */
export function parseImageConfig(raw: Buffer): ImageConfig {
  let config: ImageConfig
  try {
    config = JSON.parse(raw.toString('utf8')) as ImageConfig
  } catch (cause) {
    throw new EngineError('invalid', 'image configuration is not JSON', { cause })
  }
  const ids = config?.rootfs?.diff_ids
  if (!Array.isArray(ids) || !ids.every((id) => /^sha256:[0-9a-f]{64}$/.test(String(id)))) throw new EngineError('invalid', 'image configuration: rootfs.diff_ids: expected a list of sha256 digests')
  return config
}

/** Opens the image store. */
export function openImages(db: Database, layers: LayerStore): ImageStore {
  db.migrate('images', ['CREATE TABLE image (id TEXT PRIMARY KEY, raw BLOB NOT NULL, chain_id TEXT, parent TEXT, added_at INTEGER NOT NULL) STRICT, WITHOUT ROWID;', 'ALTER TABLE image ADD COLUMN used_at INTEGER NOT NULL DEFAULT 0;'])
  const cache = new Map<string, Image>()
  const load = (row: Readonly<Record<string, unknown>>): Image => {
    const id = String(row['id'])
    const known = cache.get(id)
    if (known !== undefined) return known
    const raw = Buffer.from(row['raw'] as Uint8Array)
    const image: Image = { id, raw, config: parseImageConfig(raw), chainId: row['chain_id'] === null ? undefined : String(row['chain_id']), addedAt: Number(row['added_at']), parent: row['parent'] === null ? undefined : String(row['parent']) }
    cache.set(id, image)
    return image
  }
  const get = (id: string): Image | undefined => {
    const known = cache.get(id)
    if (known !== undefined) return known
    const row = db.get('SELECT * FROM image WHERE id = ?', id)
    return row === undefined ? undefined : load(row)
  }
  const layersOf = (image: Image): readonly Layer[] => (image.chainId === undefined ? [] : layers.chain(image.chainId))
  return {
    get,
    lend(config, chainId) {
      const id = `sha256:${createHash('sha256').update(newId()).digest('hex')}`
      const diffIds = chainId === undefined ? [] : layers.chain(chainId).map((layer) => layer.diffId).reverse()
      const lent: Image = { id, raw: Buffer.alloc(0), config: { rootfs: { type: 'layers', diff_ids: diffIds }, config }, chainId, addedAt: Date.now(), parent: undefined }
      cache.set(id, lent)
      if (chainId !== undefined) layers.retain(chainId)
      return {
        ...lent,
        [Symbol.dispose]() {
          cache.delete(id)
          if (chainId !== undefined) layers.release(chainId)
        },
      }
    },
    create(raw, options = {}) {
      const config = parseImageConfig(raw)
      const chainId = chainIds(config.rootfs.diff_ids).at(-1)
      if (chainId !== undefined && layers.get(chainId) === undefined) throw new EngineError('internal', `layer ${chainId} is not registered`)
      const id = digestOf(raw)
      const known = get(id)
      if (known !== undefined) {
        if (chainId !== undefined) layers.release(chainId)
        return known
      }
      db.transaction(() => db.run('INSERT INTO image (id, raw, chain_id, parent, added_at) VALUES (?, ?, ?, ?, ?)', id, raw, chainId ?? null, options.parent ?? null, Date.now()), { durable: true })
      const image = get(id)
      if (image === undefined) throw new EngineError('internal', `image ${id} was not kept`)
      return image
    },
    find: (prefix) => db.all('SELECT id FROM image WHERE id >= ? AND id < ? LIMIT 2', `sha256:${prefix}`, `sha256:${prefix}g`).map((row) => String(row['id'])),
    list: () => db.all('SELECT * FROM image').map(load),
    children: (id) => db.all('SELECT id FROM image WHERE parent = ?', id).map((row) => String(row['id'])),
    touch: (id) => void db.run('UPDATE image SET used_at = ? WHERE id = ?', Date.now(), id),
    usedAt: (image) => Math.max(image.addedAt, Number(db.get('SELECT used_at FROM image WHERE id = ?', image.id)?.['used_at'] ?? 0)),
    remove(id) {
      const image = get(id)
      if (image === undefined) return []
      cache.delete(id)
      db.run('DELETE FROM image WHERE id = ?', id)
      return image.chainId === undefined ? [] : layers.release(image.chainId)
    },
    bytes: (image) => layersOf(image).reduce((sum, layer) => sum + layer.bytes, 0),
    layers: layersOf,
  }
}
