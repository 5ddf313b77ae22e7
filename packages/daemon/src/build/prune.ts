import type { CacheRecord } from '@gantry/builder'
import type { BuildCacheRow } from '../jobs/build.ts'
import type { BuildHandlerPorts } from './ports.ts'

/** What is removed of the cache. */
export interface PruneRequest {
  /** So much stays of what was used last; 0: nothing. */
  readonly keepBytes: number
  wanted(row: BuildCacheRow): boolean
  /** Contents of contexts go, too. */
  readonly withContexts: boolean
}

/** Removes records; gives them, and the bytes of all that went. */
export type PruneCache = (request: PruneRequest) => Promise<{ readonly gone: readonly BuildCacheRow[]; readonly bytes: number }>

const rowOf = (record: CacheRecord): BuildCacheRow => ({ id: record.id, type: record.kind, description: record.description, inUse: false, chainId: record.chainId, bytes: record.bytes, createdAt: record.createdAt, usedAt: record.usedAt, uses: record.uses })
const nameOf = (path: string): string => path.slice(path.lastIndexOf('/') + 1)

/** What the cache holds: layers of steps, and directories that steps share. */
export async function cacheRows({ cache, mounts, graph }: BuildHandlerPorts): Promise<readonly BuildCacheRow[]> {
  const directories = await Promise.all(mounts.list().map(async (mount) => ({ id: nameOf(mount.path), type: 'exec.cachemount', description: `cached mount ${mount.id}`, inUse: mount.inUse, chainId: '', bytes: await graph.bytesIn(mount.path), createdAt: mount.createdAt, usedAt: mount.usedAt, uses: 1 })))
  return [...cache.list().map(rowOf), ...directories]
}

/** Removes from the cache what nobody uses: what was used last stays longest. */
export function cachePruner(ports: BuildHandlerPorts): PruneCache {
  return async ({ keepBytes, wanted, withContexts }) => {
    const all = [...(await cacheRows(ports))].sort((a, b) => b.usedAt - a.usedAt)
    let kept = 0
    const gone = all.filter((row) => {
      if (!row.inUse && wanted(row) && (keepBytes === 0 || kept + row.bytes > keepBytes)) return true
      kept += row.bytes
      return false
    })
    const ids = new Set(gone.map((row) => row.id))
    ports.cache.prune((record) => ids.has(record.id))
    for (const mount of ports.mounts.list()) if (ids.has(nameOf(mount.path))) ports.mounts.remove(mount)
    const contexts = withContexts && keepBytes === 0 ? ports.contexts.prune(Date.now()) : 0
    return { gone, bytes: gone.reduce((sum, row) => sum + row.bytes, 0) + contexts }
  }
}
