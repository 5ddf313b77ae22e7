import { linkSync, mkdirSync, rmSync } from 'node:fs'
import { createHash } from 'node:crypto'
import { type Database, EngineError, keyedLock, newId, type Row, undoStack, writePaced } from '@gantry/std'
import type { Trees } from '@gantry/linux'
import { fileChunks } from './apply/file-chunks.ts'
import { layerWriter, type LayerTarget, type WrittenLayer } from './apply/layer-writer.ts'
import type { LayerSource } from './apply/skeleton-tar.ts'
import { convertSkeletons } from './apply/skeleton-convert.ts'
import { skeletonWriter } from './apply/skeleton.ts'
import type { SpooledMember } from './archive-load.ts'
import { decompressed } from './compression.ts'
import type { GraphDriver, LayerPlace } from './driver.ts'
import { feedRemovals, feedTar } from './tar-stream.ts'

/** A read-only layer. Its chain id names it together with everything below it (image-spec, config.md, "Layer ChainID"). */
export interface Layer {
  readonly chainId: string
  readonly diffId: string
  readonly parent: string | undefined
  readonly place: LayerPlace
  /** Bytes of file content. */
  readonly bytes: number
  /** Bytes of its archive. */
  readonly tarBytes: number
}

/** Room for a layer that is being written. */
export interface StagedLayer {
  readonly place: LayerPlace
  readonly target: LayerTarget
}

/** A layer that is complete but stands above nothing yet. */
export interface SettledLayer {
  readonly place: LayerPlace
  readonly diffId: string
  readonly bytes: number
  readonly tarBytes: number
}

/** Layers with their references. A layer that nobody refers to is removed, with its parents. */
export interface LayerStore {
  get(chainId: string): Layer | undefined
  /** The layer and all below it, topmost first. */
  chain(chainId: string): readonly Layer[]
  /** Unpacks an archive, compressed or not, above a parent and checks its digest when one is given. Adds one reference. A small one is written in this process. */
  register(tar: AsyncIterable<Uint8Array>, parent: string | undefined, expected?: string, options?: { readonly small: boolean }): Promise<Layer>
  /** The same of an archive on disk, which is taken over where the driver keeps archives. */
  registerSpooled(file: SpooledMember & { readonly full: string }, parent: string | undefined, expected: string): Promise<Layer>
  /** Room for a layer that somebody else writes. Only where the driver's layers stand alone. */
  stage(): Promise<StagedLayer>
  /** Takes what was written as complete; kept, over a restart too, until it is put into a chain. */
  settle(staged: StagedLayer, written: WrittenLayer, chainId: string): Promise<SettledLayer>
  settled(chainId: string): SettledLayer | undefined
  /**
   * Puts settled layers (by their chain ids) above those that are there already. Gives the top with one reference for the caller, or
   * undefined when one is missing. To be called inside a transaction with what names it.
   */
  assemble(diffIds: readonly string[]): string | undefined
  /** Forgets room that was not needed in the end. */
  unstage(place: LayerPlace): void
  retain(chainId: string): void
  /** Takes a reference away, but lets the layer be: something will name it soon, or the next boot removes it. */
  loosen(chainId: string): void
  release(chainId: string): readonly string[]
  /** A reference that outlives a restart, of somebody who has a name; one a name. */
  hold(chainId: string, holder: string): void
  letGo(holder: string): readonly string[]
  /** Where the layer's tar stream comes from, for a reader in this process or in another (`layerTar`). */
  source(chainId: string): LayerSource
  list(): readonly Layer[]
  /** At boot: counts references anew, removes layers that nobody refers to and settled ones of yesterday. Gives the ids of all that is kept. */
  sweep(): ReadonlySet<string>
}

const MAX_LAYERS = 127
const SETTLED_LIFE_MS = 24 * 3600 * 1000

/** Chain id of a layer above a parent. */
export function chainIdOf(parent: string | undefined, diffId: string): string {
  return parent === undefined ? diffId : `sha256:${createHash('sha256').update(`${parent} ${diffId}`).digest('hex')}`
}

/** Chain ids of an image's layers, lowest first. */
export function chainIds(diffIds: readonly string[]): readonly string[] {
  const chains: string[] = []
  for (const diffId of diffIds) chains.push(chainIdOf(chains.at(-1), diffId))
  return chains
}

/** Writes an archive, compressed or not, to where a layer goes. */
export type WriteLayer = (tar: AsyncIterable<Uint8Array>, target: LayerTarget, expected: string | undefined) => Promise<WrittenLayer>

/** Writes it in this process. */
export const writeHere: WriteLayer = async (tar, target) => {
  const writer = layerWriter(target)
  try {
    for await (const chunk of await decompressed(tar)) writer.push(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength))
  } catch (error) {
    writer.abort()
    throw error
  }
  return writer.close()
}

/** Opens the layer store. */
export function openLayers(db: Database, root: string, driver: GraphDriver, trees: Trees, write: WriteLayer = writeHere): LayerStore {
  db.migrate('layers', [
    `CREATE TABLE layer (chain_id TEXT PRIMARY KEY, diff_id TEXT NOT NULL, parent TEXT REFERENCES layer, cache_id TEXT NOT NULL UNIQUE,
       bytes INTEGER NOT NULL, refs INTEGER NOT NULL) STRICT, WITHOUT ROWID;`,
    `ALTER TABLE layer ADD COLUMN tar_bytes INTEGER NOT NULL DEFAULT 0;
     CREATE TABLE settled (key TEXT PRIMARY KEY, diff_id TEXT NOT NULL, cache_id TEXT NOT NULL, bytes INTEGER NOT NULL, tar_bytes INTEGER NOT NULL, at INTEGER NOT NULL) STRICT, WITHOUT ROWID;`,
    'CREATE TABLE layer_hold (holder TEXT PRIMARY KEY, chain_id TEXT NOT NULL) STRICT, WITHOUT ROWID; CREATE INDEX layer_hold_chain ON layer_hold (chain_id);',
  ])
  const home = `${root}/layers`
  mkdirSync(home, { recursive: true, mode: 0o700 })
  convertSkeletons(home, (cacheId, tarBytes) => void db.run('UPDATE layer SET tar_bytes = ? WHERE cache_id = ?', tarBytes, cacheId))
  const skeletonOf = (place: LayerPlace): string => `${home}/${place.cacheId}.skeleton`
  const lock = keyedLock()
  const placeOf = (cacheId: string): LayerPlace => ({ cacheId, link: cacheId })
  const fromRow = (row: Row): Layer => ({
    chainId: String(row['chain_id']),
    diffId: String(row['diff_id']),
    parent: row['parent'] === null ? undefined : String(row['parent']),
    place: placeOf(String(row['cache_id'])),
    bytes: Number(row['bytes']),
    tarBytes: Number(row['tar_bytes']),
  })
  const get = (chainId: string): Layer | undefined => {
    const row = db.get('SELECT * FROM layer WHERE chain_id = ?', chainId)
    return row === undefined ? undefined : fromRow(row)
  }
  const chain = (chainId: string): readonly Layer[] => {
    const layers: Layer[] = []
    for (let at: string | undefined = chainId; at !== undefined; ) {
      const layer = get(at)
      if (layer === undefined) throw new EngineError('not-found', `layer ${at} does not exist`)
      layers.push(layer)
      at = layer.parent
    }
    return layers
  }
  const retain = (chainId: string): void => {
    if (db.run('UPDATE layer SET refs = refs + 1 WHERE chain_id = ?', chainId) === 0) throw new EngineError('not-found', `layer ${chainId} does not exist`)
  }
  const removePlace = (place: LayerPlace): void => {
    driver.remove(place.cacheId)
    rmSync(skeletonOf(place), { force: true })
  }
  const checkDepth = (parent: string | undefined): readonly Layer[] => {
    const parents = parent === undefined ? [] : chain(parent)
    if (parents.length >= MAX_LAYERS) throw new EngineError('invalid', `max depth exceeded: an image has at most ${MAX_LAYERS} layers`)
    return parents
  }
  const insert = (settled: SettledLayer, parent: string | undefined): Layer => {
    const chainId = chainIdOf(parent, settled.diffId)
    const known = get(chainId)
    if (known !== undefined) {
      retain(chainId)
      removePlace(settled.place)
      return known
    }
    db.run('INSERT INTO layer (chain_id, diff_id, parent, cache_id, bytes, refs, tar_bytes) VALUES (?, ?, ?, ?, ?, 1, ?)', chainId, settled.diffId, parent ?? null, settled.place.cacheId, settled.bytes, settled.tarBytes)
    if (parent !== undefined) retain(parent)
    return { chainId, parent, ...settled }
  }
  const finishRest = async (staged: StagedLayer, written: WrittenLayer): Promise<void> => {
    const { rest } = written
    if (rest !== undefined && staged.target.kind === 'directory') await trees.write({ kind: 'directory', path: staged.target.path }, '/', { strict: false }, (socket) => writePaced(socket, rest))
  }
  /** Where a layer is a whole tree, its parent's files included, the helper carries every change out: first what the layer takes away. */
  const applyStacked = async (archive: string, path: string, place: LayerPlace): Promise<WrittenLayer> => {
    const skeleton = skeletonWriter(skeletonOf(place))
    let applied: WrittenLayer | undefined
    await trees.write({ kind: 'directory', path }, '/', { strict: false }, async (socket) => {
      await feedRemovals(fileChunks(archive), socket)
      applied = await feedTar(fileChunks(archive), socket, 'apply', { skeleton, removals: 'done' })
    }).finally(() => skeleton.close())
    if (applied === undefined) throw new EngineError('internal', 'the layer was not written')
    return applied
  }
  const writeStacked = async (tar: AsyncIterable<Uint8Array>, path: string, place: LayerPlace, expected: string | undefined, small: boolean): Promise<WrittenLayer> => {
    const archive = `${root}/staging/${place.cacheId}.tar`
    try {
      await (small ? writeHere : write)(tar, { kind: 'tar', path: archive }, expected)
      return await applyStacked(archive, path, place)
    } finally {
      rmSync(archive, { force: true })
    }
  }
  const unpack = async (tar: AsyncIterable<Uint8Array>, parent: string | undefined, expected: string | undefined, small: boolean): Promise<Layer> => {
    await using undo = undoStack()
    const parents = checkDepth(parent)
    const place = placeOf(newId().slice(0, 26))
    undo.add('remove layer', () => removePlace(place))
    const target = await driver.create(place, parents.map((layer) => layer.place), skeletonOf(place))
    const written = target.kind === 'tree' ? await writeStacked(tar, target.path, place, expected, small) : await (small ? writeHere : write)(tar, target, expected)
    if (target.kind !== 'tree') await finishRest({ place, target }, written)
    const { diffId } = written
    if (expected !== undefined && diffId !== expected) throw new EngineError('invalid', `layer digest mismatch: expected ${expected}, got ${diffId}`)
    const layer = db.transaction(() => insert({ place, diffId, bytes: written.bytes, tarBytes: written.tarBytes }, parent), { durable: true })
    undo.commit()
    return layer
  }
  const release = (chainId: string): readonly string[] => {
    const removed: string[] = []
    db.transaction(() => {
      for (let at: string | undefined = chainId; at !== undefined; ) {
        db.run('UPDATE layer SET refs = refs - 1 WHERE chain_id = ?', at)
        const row: Row | undefined = db.get('SELECT * FROM layer WHERE chain_id = ?', at)
        if (row === undefined || Number(row['refs']) > 0) break
        const layer = fromRow(row)
        db.run('DELETE FROM layer WHERE chain_id = ?', at)
        removePlace(layer.place)
        removed.push(layer.chainId)
        at = layer.parent
      }
    })
    return removed
  }
  const hold = (chainId: string, holder: string): void => {
    db.transaction(() => {
      db.run('INSERT INTO layer_hold VALUES (?, ?)', holder, chainId)
      retain(chainId)
    })
  }
  const letGo = (holder: string): readonly string[] => {
    const row = db.get('SELECT chain_id FROM layer_hold WHERE holder = ?', holder)
    if (row === undefined) return []
    return db.transaction(() => {
      db.run('DELETE FROM layer_hold WHERE holder = ?', holder)
      return release(String(row['chain_id']))
    })
  }
  const settled = (key: string): SettledLayer | undefined => {
    const row = db.get('SELECT * FROM settled WHERE key = ?', key)
    if (row === undefined) return undefined
    const place = placeOf(String(row['cache_id']))
    if (driver.exists(place.cacheId)) return { place, diffId: String(row['diff_id']), bytes: Number(row['bytes']), tarBytes: Number(row['tar_bytes']) }
    db.run('DELETE FROM settled WHERE key = ?', key)
    return undefined
  }
  return {
    get,
    chain,
    retain,
    release,
    hold,
    letGo,
    settled,
    list: () => db.all('SELECT * FROM layer').map(fromRow),
    register: (tar, parent, expected, options) => {
      const small = options?.small === true
      if (expected === undefined) return unpack(tar, parent, expected, small)
      return lock.run(chainIdOf(parent, expected), async () => {
        const known = get(chainIdOf(parent, expected))
        if (known === undefined) return unpack(tar, parent, expected, small)
        retain(known.chainId)
        return known
      })
    },
    registerSpooled: (file, parent, expected) =>
      lock.run(chainIdOf(parent, expected), async () => {
        const known = get(chainIdOf(parent, expected))
        if (known !== undefined) {
          retain(known.chainId)
          return known
        }
        checkDepth(parent)
        const { layer } = file
        const place = placeOf(newId().slice(0, 26))
        if (layer?.diffId !== expected || !driver.archives) return unpack(fileChunks(file.full, layer?.tarBytes), parent, expected, false)
        await using undo = undoStack()
        undo.add('remove layer', () => removePlace(place))
        const target = await driver.create(place, [], skeletonOf(place))
        if (target.kind !== 'tar' || target.index === undefined) throw new EngineError('internal', `${driver.name} keeps no archives`)
        // A second name: another layer of the image may be the same file.
        linkSync(file.full, target.path)
        linkSync(`${file.full}.index`, target.index)
        const made = db.transaction(() => insert({ place, ...layer }, parent), { durable: true })
        undo.commit()
        return made
      }),
    async stage() {
      const place = placeOf(newId().slice(0, 26))
      const target = await driver.create(place, [], skeletonOf(place))
      if (target.kind === 'tree') throw new EngineError('internal', `a layer of ${driver.name} cannot be made without its parent`)
      return { place, target }
    },
    async settle(staged, written, chainId) {
      await finishRest(staged, written)
      const { place } = staged
      db.run('INSERT OR REPLACE INTO settled VALUES (?, ?, ?, ?, ?, ?)', chainId, written.diffId, place.cacheId, written.bytes, written.tarBytes, Date.now())
      return { place, diffId: written.diffId, bytes: written.bytes, tarBytes: written.tarBytes }
    },
    assemble(diffIds) {
      const chains = chainIds(diffIds)
      if (!chains.every((id) => get(id) !== undefined || settled(id) !== undefined)) return undefined
      let parent: string | undefined
      let ours: string | undefined
      for (const id of chains) {
        const known = get(id)
        if (known === undefined) {
          const layer = settled(id)
          if (layer === undefined) throw new EngineError('internal', `layer ${id} is gone`)
          checkDepth(parent)
          db.run('DELETE FROM settled WHERE key = ?', id)
          insert(layer, parent)
          // The layer above holds it from here on.
          if (ours !== undefined) release(ours)
          ours = id
        }
        parent = id
      }
      if (ours === undefined && parent !== undefined) retain(parent)
      return parent
    },
    unstage: removePlace,
    loosen: (chainId) => void db.run('UPDATE layer SET refs = refs - 1 WHERE chain_id = ?', chainId),
    source(chainId) {
      const layer = get(chainId)
      if (layer === undefined) throw new EngineError('not-found', `layer ${chainId} does not exist`)
      return driver.source(layer.place, skeletonOf(layer.place), layer.tarBytes)
    },
    sweep() {
      db.run('DELETE FROM settled WHERE at < ?', Date.now() - SETTLED_LIFE_MS)
      db.run('UPDATE layer SET refs = (SELECT count(*) FROM image WHERE image.chain_id = layer.chain_id) + (SELECT count(*) FROM layer AS child WHERE child.parent = layer.chain_id) + (SELECT count(*) FROM layer_hold WHERE layer_hold.chain_id = layer.chain_id)')
      for (const row of db.all('SELECT chain_id FROM layer WHERE refs = 0')) {
        retain(String(row['chain_id']))
        release(String(row['chain_id']))
      }
      return new Set(db.all('SELECT cache_id FROM layer UNION SELECT cache_id FROM settled').map((row) => String(row['cache_id'])))
    },
  }
}
