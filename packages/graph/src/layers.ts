import { createReadStream, mkdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { zstdCompressSync, zstdDecompressSync } from 'node:zlib'
import { createHash } from 'node:crypto'
import { type Database, digester, EngineError, keyedLock, newId, type Row, undoStack } from '@gantry/std'
import type { Trees } from '@gantry/linux'
import type { GraphDriver, LayerPlace } from './driver.ts'
import { feedTar } from './tar-stream.ts'
import type { TarObserver } from './tar-reader.ts'

/** A read-only layer. Its chain id names it together with everything below it (image-spec, config.md, "Layer ChainID"). */
export interface Layer {
  readonly chainId: string
  readonly diffId: string
  readonly parent: string | undefined
  readonly place: LayerPlace
  /** Bytes of file content. */
  readonly bytes: number
}

/** Layers with their references. A layer that nobody refers to is removed, with its parents. */
export interface LayerStore {
  get(chainId: string): Layer | undefined
  /** The layer and all below it, topmost first. */
  chain(chainId: string): readonly Layer[]
  /** Unpacks a tar stream above a parent and checks its digest when one is given. Adds one reference. */
  register(tar: AsyncIterable<Uint8Array>, parent: string | undefined, expected?: string): Promise<Layer>
  retain(chainId: string): void
  release(chainId: string): readonly string[]
  /** The layer's tar stream, byte for byte as it came. */
  tar(chainId: string): AsyncGenerator<Buffer>
  list(): readonly Layer[]
}

const MAX_LAYERS = 127

/** Chain id of a layer above a parent. */
export function chainIdOf(parent: string | undefined, diffId: string): string {
  return parent === undefined ? diffId : `sha256:${createHash('sha256').update(`${parent} ${diffId}`).digest('hex')}`
}

/** One part of a layer's skeleton: bytes as they came, or the content of a file. */
type Segment = { readonly raw: string } | { readonly file: string; readonly size: number }

/** Notes everything of an archive but the content of its files, so that it can be put together again. */
function skeletonRecorder(): { readonly observer: TarObserver; bytes(): Buffer } {
  const segments: Segment[] = []
  let raw: Buffer[] = []
  const flush = (): void => {
    if (raw.length > 0) segments.push({ raw: Buffer.concat(raw).toString('base64') })
    raw = []
  }
  return {
    observer: {
      raw: (bytes) => {
        raw.push(Buffer.from(bytes))
      },
      file: (entry) => {
        flush()
        segments.push({ file: Buffer.from(entry.path, 'latin1').toString('base64'), size: entry.size })
      },
    },
    bytes() {
      flush()
      return zstdCompressSync(Buffer.from(JSON.stringify(segments)))
    },
  }
}

async function* digested(source: AsyncIterable<Uint8Array>, update: (chunk: Uint8Array) => void): AsyncGenerator<Uint8Array> {
  for await (const chunk of source) {
    update(chunk)
    yield chunk
  }
}

/** Opens the layer store. */
export function openLayers(db: Database, root: string, driver: GraphDriver, trees: Trees): LayerStore {
  db.migrate('layers', [
    `CREATE TABLE layer (chain_id TEXT PRIMARY KEY, diff_id TEXT NOT NULL, parent TEXT REFERENCES layer, cache_id TEXT NOT NULL UNIQUE,
       bytes INTEGER NOT NULL, refs INTEGER NOT NULL) STRICT, WITHOUT ROWID;`,
  ])
  const skeletons = `${root}/layers`
  mkdirSync(skeletons, { recursive: true, mode: 0o700 })
  const lock = keyedLock()
  const fromRow = (row: Row): Layer => ({
    chainId: String(row['chain_id']),
    diffId: String(row['diff_id']),
    parent: row['parent'] === null ? undefined : String(row['parent']),
    place: { cacheId: String(row['cache_id']), link: String(row['cache_id']) },
    bytes: Number(row['bytes']),
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
  const unpack = async (tar: AsyncIterable<Uint8Array>, parent: string | undefined, expected: string | undefined): Promise<Layer> => {
    await using undo = undoStack()
    const parents = parent === undefined ? [] : chain(parent)
    if (parents.length >= MAX_LAYERS) throw new EngineError('invalid', `max depth exceeded: an image has at most ${MAX_LAYERS} layers`)
    const cacheId = newId().slice(0, 26)
    const place = { cacheId, link: cacheId }
    undo.add('remove layer', () => driver.remove(cacheId))
    const target = await driver.create(place, parents.map((layer) => layer.place))
    const digest = digester()
    const skeleton = skeletonRecorder()
    let bytes = 0
    await trees.write({ kind: 'directory', path: target.path }, '/', { strict: false }, async (socket) => {
      const source = digested(tar, (chunk) => digest.update(chunk))
      const applied = await feedTar(source, socket, target.whiteouts, { observer: skeleton.observer })
      bytes = applied.bytes
    })
    const diffId = digest.digest()
    if (expected !== undefined && diffId !== expected) throw new EngineError('invalid', `layer digest mismatch: expected ${expected}, got ${diffId}`)
    const chainId = chainIdOf(parent, diffId)
    const known = get(chainId)
    if (known !== undefined) {
      retain(chainId)
      return known
    }
    writeFileSync(`${skeletons}/${cacheId}.tar-skeleton`, skeleton.bytes(), { mode: 0o600 })
    db.transaction(
      () => {
        db.run('INSERT INTO layer VALUES (?, ?, ?, ?, ?, 1)', chainId, diffId, parent ?? null, cacheId, bytes)
        if (parent !== undefined) retain(parent)
      },
      { durable: true },
    )
    undo.commit()
    return { chainId, diffId, parent, place, bytes }
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
        driver.remove(layer.place.cacheId)
        rmSync(`${skeletons}/${layer.place.cacheId}.tar-skeleton`, { force: true })
        removed.push(layer.chainId)
        at = layer.parent
      }
    })
    return removed
  }
  return {
    get,
    chain,
    retain,
    release,
    list: () => db.all('SELECT * FROM layer').map(fromRow),
    register: (tar, parent, expected) => {
      if (expected === undefined) return unpack(tar, parent, expected)
      return lock.run(chainIdOf(parent, expected), async () => {
        const known = get(chainIdOf(parent, expected))
        if (known === undefined) return unpack(tar, parent, expected)
        retain(known.chainId)
        return known
      })
    },
    async *tar(chainId) {
      const layer = get(chainId)
      if (layer === undefined) throw new EngineError('not-found', `layer ${chainId} does not exist`)
      const directory = driver.layerDirectory(layer.place)
      const segments = JSON.parse(zstdDecompressSync(readFileSync(`${skeletons}/${layer.place.cacheId}.tar-skeleton`)).toString()) as readonly Segment[]
      for (const segment of segments) {
        if ('raw' in segment) yield Buffer.from(segment.raw, 'base64')
        else yield* fileContent(directory, Buffer.from(segment.file, 'base64'), segment.size)
      }
    },
  }
}

/** The content of a file of a layer; a path that leads out of the layer is refused. */
async function* fileContent(directory: string, path: Buffer, size: number): AsyncGenerator<Buffer> {
  const name = Buffer.concat([Buffer.from(`${directory}/`), path])
  const real = realpathSync(name, 'buffer')
  if (!real.subarray(0, Buffer.byteLength(`${realpathSync(directory)}/`)).equals(Buffer.from(`${realpathSync(directory)}/`))) throw new EngineError('internal', `layer file ${path.toString()} lies outside its layer`)
  let left = size
  for await (const chunk of createReadStream(real, { highWaterMark: 1 << 20, end: Math.max(0, size - 1) })) {
    left -= (chunk as Buffer).length
    yield chunk as Buffer
  }
  if (left !== 0) throw new EngineError('internal', `layer file ${path.toString()} has changed: ${left} bytes are missing`)
}
