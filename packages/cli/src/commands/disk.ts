import { humanSize } from '@gantry/std'
import { type Command, type Context, filterQuery } from '../command.ts'
import type { Parsed } from '../flags.ts'
import { listing, short, table } from '../output.ts'
import { compileTemplate } from '../template.ts'
import { confirm, FORCE } from './prune.ts'

interface BuildRecord {
  readonly ID: string
  readonly Type: string
  readonly Description: string
  readonly Size: number
  readonly Shared: boolean
  readonly InUse: boolean
  readonly UsageCount: number
}

interface Usage {
  readonly LayersSize: number
  readonly Images: readonly { readonly Id: string; readonly RepoTags: readonly string[]; readonly Size: number; readonly SharedSize: number; readonly Containers: number }[]
  readonly Containers: readonly { readonly Id: string; readonly Names: readonly string[]; readonly Image: string; readonly SizeRw: number; readonly State: string }[]
  readonly Volumes: readonly { readonly Name: string; readonly UsageData: { readonly Size: number; readonly RefCount: number } }[]
  readonly BuildCache: readonly BuildRecord[]
  readonly BuilderSize: number
  readonly Gantry?: { readonly Root: string; readonly Bytes: number; readonly Parts: readonly { readonly Name: string; readonly Bytes: number }[] }
}

interface Row {
  readonly Type: string
  readonly TotalCount: string
  readonly Active: string
  readonly Size: string
  readonly Reclaimable: string
}

const sum = (list: readonly number[]): number => list.reduce((total, one) => total + one, 0)

function reclaimable(bytes: number, of: number): string {
  return of === 0 ? humanSize(bytes) : `${humanSize(bytes)} (${Math.floor((bytes / of) * 100)}%)`
}

function rowsOf(usage: Usage): readonly Row[] {
  const used = usage.Images.filter((image) => image.Containers > 0)
  const active = usage.Containers.filter((container) => ['running', 'paused', 'restarting'].includes(container.State))
  const inUse = usage.Volumes.filter((volume) => volume.UsageData.RefCount > 0)
  const containers = sum(usage.Containers.map((one) => one.SizeRw))
  const volumes = sum(usage.Volumes.map((one) => one.UsageData.Size))
  // What no container needs; layers that several images share go with the last of them.
  const images = used.length === 0 ? usage.LayersSize : Math.max(0, usage.LayersSize - sum(used.map((one) => one.Size - one.SharedSize)) - Math.max(0, ...used.map((one) => one.SharedSize)))
  return [
    { Type: 'Images', TotalCount: String(usage.Images.length), Active: String(used.length), Size: humanSize(usage.LayersSize), Reclaimable: reclaimable(images, usage.LayersSize) },
    { Type: 'Containers', TotalCount: String(usage.Containers.length), Active: String(active.length), Size: humanSize(containers), Reclaimable: reclaimable(containers - sum(active.map((one) => one.SizeRw)), containers) },
    { Type: 'Local Volumes', TotalCount: String(usage.Volumes.length), Active: String(inUse.length), Size: humanSize(volumes), Reclaimable: reclaimable(volumes - sum(inUse.map((one) => one.UsageData.Size)), volumes) },
    { Type: 'Build Cache', TotalCount: String(usage.BuildCache.length), Active: String(usage.BuildCache.filter((one) => one.InUse).length), Size: humanSize(usage.BuilderSize), Reclaimable: humanSize(usage.BuilderSize) },
  ]
}

/** Parts that are objects of the table above. */
const OBJECTS: ReadonlySet<string> = new Set(['Images', 'Containers', 'Volumes', 'Build cache'])

function rest(usage: Usage): string {
  if (usage.Gantry === undefined) return ''
  const others = usage.Gantry.Parts.filter((part) => !OBJECTS.has(part.Name)).map((part) => [part.Name, humanSize(part.Bytes)])
  return `\n${table([['BESIDE THEM', 'SIZE'], ...others, [`All of ${usage.Gantry.Root}`, humanSize(usage.Gantry.Bytes)]])}`
}

function verbose(usage: Usage): string {
  const images = usage.Images.map((one) => [one.RepoTags[0] ?? '<none>:<none>', short(one.Id, false), humanSize(one.Size), humanSize(one.SharedSize), humanSize(one.Size - one.SharedSize), String(one.Containers)])
  const containers = usage.Containers.map((one) => [short(one.Id, false), one.Image, (one.Names[0] ?? '').replace(/^\//, ''), one.State, humanSize(one.SizeRw)])
  const volumes = usage.Volumes.map((one) => [one.Name, String(one.UsageData.RefCount), humanSize(one.UsageData.Size)])
  return [
    `Images space usage:\n\n${table([['REPOSITORY:TAG', 'IMAGE ID', 'SIZE', 'SHARED SIZE', 'UNIQUE SIZE', 'CONTAINERS'], ...images])}`,
    `Containers space usage:\n\n${table([['CONTAINER ID', 'IMAGE', 'NAMES', 'STATUS', 'SIZE'], ...containers])}`,
    ...(usage.BuildCache.length === 0 ? [] : [`Build cache usage: ${humanSize(usage.BuilderSize)}\n\n${table([['CACHE ID', 'CACHE TYPE', 'SIZE', 'USAGE', 'SHARED', 'WHAT'], ...usage.BuildCache.map((one) => [one.ID.slice(0, 12), one.Type, humanSize(one.Size), String(one.UsageCount), String(one.Shared), one.Description])])}`]),
    `Local Volumes space usage:\n\n${table([['VOLUME NAME', 'LINKS', 'SIZE'], ...volumes])}`,
  ].join('\n')
}

interface Objects<T> {
  readonly TotalSize: number
  /** Left out where there are none. */
  readonly Items?: T
}

/** The answer since API 1.52. */
interface NewUsage {
  readonly ImageUsage?: Objects<Usage['Images']>
  readonly ContainerUsage?: Objects<Usage['Containers']>
  readonly VolumeUsage?: Objects<Usage['Volumes']>
  readonly BuildCacheUsage?: Objects<Usage['BuildCache']>
}

/** One shape for daemons of either kind. */
function asUsage(answer: Partial<Usage> & NewUsage): Usage {
  return {
    LayersSize: answer.LayersSize ?? answer.ImageUsage?.TotalSize ?? 0, Images: answer.Images ?? answer.ImageUsage?.Items ?? [], Containers: answer.Containers ?? answer.ContainerUsage?.Items ?? [], Volumes: answer.Volumes ?? answer.VolumeUsage?.Items ?? [],
    BuildCache: answer.BuildCache ?? answer.BuildCacheUsage?.Items ?? [], BuilderSize: answer.BuilderSize ?? answer.BuildCacheUsage?.TotalSize ?? 0,
    ...(answer.Gantry !== undefined && { Gantry: answer.Gantry }),
  }
}

async function df(context: Context, parsed: Parsed): Promise<number> {
  const usage = asUsage(await context.api.json<Partial<Usage> & NewUsage>('GET', '/system/df', { query: { verbose: true } }))
  const format = parsed.text('format')
  if (parsed.bool('verbose')) {
    const view = { Images: usage.Images, Containers: usage.Containers, Volumes: usage.Volumes, BuildCache: usage.BuildCache }
    process.stdout.write(format === '' ? verbose(usage) + rest(usage) : format === 'json' ? `${JSON.stringify(view)}\n` : compileTemplate(format)(view))
  }
  else {
    process.stdout.write(listing(rowsOf(usage), format, [['TYPE', (i) => i.Type], ['TOTAL', (i) => i.TotalCount], ['ACTIVE', (i) => i.Active], ['SIZE', (i) => i.Size], ['RECLAIMABLE', (i) => i.Reclaimable]], { Type: 'TYPE', TotalCount: 'TOTAL', Active: 'ACTIVE', Size: 'SIZE', Reclaimable: 'RECLAIMABLE' }))
    if (format === '') process.stdout.write(rest(usage))
  }
  return 0
}

interface Pruned {
  readonly ImagesDeleted?: readonly { readonly Untagged?: string; readonly Deleted?: string }[] | null
  readonly SpaceReclaimed: number
}

async function pruneImages(context: Context, parsed: Parsed): Promise<number> {
  const filters = [...parsed.list('filter'), ...(parsed.bool('all') ? ['dangling=false'] : [])]
  await confirm(parsed, parsed.bool('all') ? 'This will remove all images without at least one container associated to them.' : 'This will remove all dangling images.')
  const { ImagesDeleted, SpaceReclaimed } = await context.api.json<Pruned>('POST', '/images/prune', { query: { filters: filterQuery(filters) } })
  if (ImagesDeleted !== null && ImagesDeleted !== undefined) process.stdout.write(`Deleted Images:\n${ImagesDeleted.map((one) => (one.Untagged === undefined ? `deleted: ${one.Deleted}` : `untagged: ${one.Untagged}`)).join('\n')}\n\n`)
  process.stdout.write(`Total reclaimed space: ${humanSize(SpaceReclaimed)}\n`)
  return 0
}

/** Commands on the disk. */
export const DISK_COMMANDS: readonly Command[] = [
  { names: ['system df'], usage: 'system df [OPTIONS]', help: 'Show disk usage, to the last byte', run: df, flags: [{ name: 'verbose', short: 'v', kind: 'bool', help: 'Show detailed information on space usage' }, { name: 'format', kind: 'text', help: 'Format output using a custom template' }] },
  { names: ['image prune'], usage: 'image prune [OPTIONS]', help: 'Remove unused images', run: pruneImages, flags: [{ name: 'all', short: 'a', kind: 'bool', help: 'Remove all unused images, not just dangling ones' }, { name: 'filter', kind: 'list', help: 'Provide filter values (such as "until=<timestamp>")' }, FORCE] },
]
