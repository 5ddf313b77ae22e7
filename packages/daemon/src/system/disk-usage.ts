import { isSince } from '@gantry/api'
import { formatNanos } from '@gantry/std'
import type { Graph } from '@gantry/graph'
import type { Container } from '../containers/container.ts'
import type { BuildCacheRow } from '../jobs/build.ts'
import type { Volumes } from '../volumes/volumes.ts'

/** What counting needs of the house. */
export interface DiskUsagePorts {
  readonly graph: Graph
  readonly volumes: Volumes
  readonly dataRoot: string
  containers(): readonly Container[]
  containerDirectory(id: string): string
  imageRows(): readonly unknown[]
  containerRows(): Promise<readonly unknown[]>
  buildCache(): Promise<readonly BuildCacheRow[]>
  volumeView(name: string): object
  volumeUsers(name: string): readonly string[]
  /** Bytes on the disk by group (`UsageRequest`). */
  count(request: { readonly root: string; readonly groups: Readonly<Record<string, string>>; readonly rest: string }): Promise<Readonly<Record<string, number>>>
}

/** Kinds of objects that a client may ask for. */
export const USAGE_TYPES: ReadonlySet<string> = new Set(['container', 'image', 'volume', 'build-cache'])

/** Groups that belong to no object of the API: people ask where the rest of the disk went (moby 43586, 32420). */
const PARTS = { build: 'Build cache', log: 'Container logs', staging: 'Downloads and uploads in progress', trash: 'Removed, not yet cleared', database: 'Database', rest: 'Metadata and directories' } as const

function groupsOf(ports: DiskUsagePorts): Readonly<Record<string, string>> {
  const { graph, dataRoot } = ports
  const groups: Record<string, string> = { [graph.staging]: PARTS.staging, [`${dataRoot}/trash`]: PARTS.trash, [`${dataRoot}/build`]: PARTS.build }
  for (const suffix of ['', '-wal', '-shm']) groups[`${dataRoot}/gantry.db${suffix}`] = PARTS.database
  for (const layer of graph.layers.list()) groups[graph.driver.pathOf(layer.place.cacheId)] = `layer ${layer.chainId}`
  for (const container of ports.containers()) {
    groups[graph.driver.pathOf(container.id)] = `container ${container.id}`
    groups[ports.containerDirectory(container.id)] = PARTS.log
  }
  for (const volume of ports.volumes.list()) groups[volume.mountPoint.replace(/\/_data$/, '')] = `volume ${volume.name}`
  return groups
}

/** Bytes of layers that more than one image has, by image: each image's share of what others have, too. */
function sharedBytes(graph: Graph, counted: Readonly<Record<string, number>>): ReadonlyMap<string, number> {
  const users = new Map<string, number>()
  const images = graph.images.list().map((image) => ({ image, chain: graph.images.layers(image).map((layer) => layer.chainId) }))
  for (const { chain } of images) for (const id of chain) users.set(id, (users.get(id) ?? 0) + 1)
  return new Map(images.map(({ image, chain }) => [image.id, chain.filter((id) => (users.get(id) ?? 0) > 1).reduce((sum, id) => sum + (counted[`layer ${id}`] ?? 0), 0)]))
}

/** `GET /system/df`: what takes the disk. `Gantry` is ours: every byte below the data root is in one of its parts. */
export async function diskUsage(ports: DiskUsagePorts, { types, apiVersion, verbose }: { readonly types: readonly string[]; readonly apiVersion: number; readonly verbose: boolean }): Promise<unknown> {
  const { graph } = ports
  const wants = (type: string): boolean => types.length === 0 || types.includes(type)
  const counted = await ports.count({ root: ports.dataRoot, groups: groupsOf(ports), rest: PARTS.rest })
  const sum = (prefix: string): number => Object.entries(counted).reduce((total, [group, bytes]) => total + (group.startsWith(prefix) ? bytes : 0), 0)
  const shared = sharedBytes(graph, counted)
  const diskOf = (id: string): number => {
    const image = graph.images.get(id)
    return image === undefined ? 0 : graph.images.layers(image).reduce((total, layer) => total + (counted[`layer ${layer.chainId}`] ?? 0), 0)
  }
  const images = wants('image') ? ports.imageRows().map((row) => ({ ...(row as { readonly Id: string }), Size: diskOf((row as { readonly Id: string }).Id), SharedSize: shared.get((row as { readonly Id: string }).Id) ?? 0 })) : []
  const containers = wants('container') ? (await ports.containerRows()).map((one) => {
    const row = one as { readonly Id: string; readonly ImageID: string }
    const SizeRw = counted[`container ${row.Id}`] ?? 0
    return { ...row, SizeRw, SizeRootFs: SizeRw + diskOf(row.ImageID) }
  }) : []
  const volumes = wants('volume') ? ports.volumes.list().map(({ name }) => ({ ...ports.volumeView(name), UsageData: { Size: counted[`volume ${name}`] ?? 0, RefCount: ports.volumeUsers(name).length } })) : []
  const ofImages = new Set(graph.images.list().flatMap((image) => graph.images.layers(image).map((layer) => layer.chainId)))
  const layers = [...ofImages].reduce((total, id) => total + (counted[`layer ${id}`] ?? 0), 0)
  // Layers that only the cache has, and what builds keep beside layers.
  const built = sum('layer ') - layers + (counted[PARTS.build] ?? 0)
  const cache = wants('build-cache') ? (await ports.buildCache()).map((row) => cacheView(row, row.chainId === '' ? row.bytes : (counted[`layer ${row.chainId}`] ?? 0), ofImages.has(row.chainId))) : []
  const { build: _, ...others } = PARTS
  const parts = [
    { Name: 'Images', Bytes: layers }, { Name: 'Containers', Bytes: sum('container ') }, { Name: 'Volumes', Bytes: sum('volume ') }, { Name: PARTS.build, Bytes: built },
    ...Object.values(others).map((Name) => ({ Name, Bytes: counted[Name] ?? 0 })),
  ]
  const usage = (active: readonly unknown[], items: readonly unknown[], reclaimable: number, total: number): object => ({ ActiveCount: active.length, TotalCount: items.length, Reclaimable: reclaimable, TotalSize: total, ...(verbose && items.length > 0 && { Items: items }) })
  const [written, kept] = [bytesOf(containers.map((one) => one.SizeRw)), bytesOf(volumes.map((one) => one.UsageData.Size))]
  const [usedImages, runs, usedVolumes] = [images.filter((one) => (one as { readonly Containers?: number }).Containers !== 0), containers.filter((one) => ACTIVE.has((one as { readonly State?: string }).State ?? '')), volumes.filter((one) => one.UsageData.RefCount > 0)]
  // Layers that several images share go with the last of them.
  const needed = usedImages.length === 0 ? 0 : bytesOf(usedImages.map((one) => one.Size - one.SharedSize)) + Math.max(...usedImages.map((one) => one.SharedSize))
  return {
    ...(!isSince(apiVersion, '1.53') && { LayersSize: wants('image') ? layers : 0, Images: images, Containers: containers, Volumes: volumes, BuildCache: cache, BuilderSize: wants('build-cache') ? built : 0 }),
    ...(isSince(apiVersion, '1.52') && {
      ...(wants('image') && { ImageUsage: usage(usedImages, images, Math.max(0, layers - needed), layers) }),
      ...(wants('container') && { ContainerUsage: usage(runs, containers, written - bytesOf(runs.map((one) => one.SizeRw)), written) }),
      ...(wants('volume') && { VolumeUsage: usage(usedVolumes, volumes, kept - bytesOf(usedVolumes.map((one) => one.UsageData.Size)), kept) }),
      ...(wants('build-cache') && { BuildCacheUsage: usage(cache.filter((one) => one.InUse), cache, built, built) }),
    }),
    Gantry: { Root: ports.dataRoot, Bytes: parts.reduce((total, part) => total + part.Bytes, 0), Parts: parts },
  }
}

/** A record as the API has it (BuildCache). */
function cacheView(row: BuildCacheRow, bytes: number, shared: boolean): { readonly InUse: boolean } {
  const time = (ms: number): string => formatNanos(BigInt(ms) * 1_000_000n)
  return { ...{ ID: row.id, Type: row.type, Description: row.description, Shared: shared, Size: bytes, CreatedAt: time(row.createdAt), LastUsedAt: time(row.usedAt), UsageCount: row.uses }, InUse: row.inUse }
}

const ACTIVE: ReadonlySet<string> = new Set(['running', 'paused', 'restarting'])
const bytesOf = (list: readonly number[]): number => list.reduce((total, one) => total + one, 0)
