import type { LayerStore } from '@gantry/graph'
import { logger, messageOf } from '@gantry/std'
import type { NewRecord } from './cache.ts'

const log = logger('builder.remote-cache')

/** What a step came to, and where it stands: enough for somebody else to use it (see `BuildCache`). */
export interface CacheUse extends NewRecord {
  readonly key: string
  /** Chain id of the layer below; empty: there is none. */
  readonly parent: string
  /** Milliseconds since 1970. */
  readonly createdAt: number
}

/** A use that somebody else has told of. */
export interface RemoteUse extends Omit<CacheUse, 'chainId' | 'bytes'> {
  /** The layer's archive, compressed or not. */
  open(): AsyncIterable<Uint8Array>
}

/** What steps came to elsewhere, by their keys. */
export interface RemoteCache {
  find(key: string): RemoteUse | undefined
}

/** Takes a layer over that somebody else has made, with one reference; undefined: there is none, or it cannot be had. */
export async function fetchUse(layers: LayerStore, remote: RemoteCache | undefined, key: string): Promise<NewRecord | undefined> {
  const use = remote?.find(key)
  if (use === undefined || (use.parent !== '' && layers.get(use.parent) === undefined)) return undefined
  try {
    const { chainId, diffId, bytes } = await layers.register(use.open(), use.parent === '' ? undefined : use.parent, use.diffId)
    return { kind: use.kind, description: use.description, chainId, diffId, bytes }
  } catch (cause) {
    log.warn('a layer of a cache cannot be had: the step is carried out', { step: use.description, cause: messageOf(cause) })
    return undefined
  }
}
