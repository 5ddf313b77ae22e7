import { createInterface } from 'node:readline'
import { EngineError, humanSize } from '@gantry/std'
import { type Command, type Context, filterQuery } from '../command.ts'
import type { Flag, Parsed } from '../flags.ts'

interface Pruned {
  readonly ContainersDeleted?: readonly string[] | null
  readonly NetworksDeleted?: readonly string[] | null
  readonly VolumesDeleted?: readonly string[] | null
  readonly ImagesDeleted?: readonly { readonly Untagged?: string; readonly Deleted?: string }[] | null
  readonly SpaceReclaimed?: number
}

const FILTER: Flag = { name: 'filter', kind: 'list', help: 'Provide filter values' }
export const FORCE: Flag = { name: 'force', short: 'f', kind: 'bool', help: 'Do not prompt for confirmation' }

/** Asks before something is removed that was not named; anything but `y` is no. */
export async function confirm(parsed: Parsed, warning: string): Promise<void> {
  if (parsed.bool('force')) return
  process.stdout.write(`WARNING! ${warning}\nAre you sure you want to continue? [y/N] `)
  const lines = createInterface({ input: process.stdin })
  let answer = ''
  for await (const line of lines) {
    answer = line
    break
  }
  lines.close()
  if (!/^\s*y(es)?\s*$/i.test(answer)) throw new EngineError('invalid', 'canceled: nothing has been removed')
}

const section = (title: string, lines: readonly string[]): string => (lines.length === 0 ? '' : `Deleted ${title}:\n${lines.map((line) => `${line}\n`).join('')}\n`)

async function prune(context: Context, what: string, filters: readonly string[]): Promise<Pruned> {
  return context.api.json<Pruned>('POST', `/${what}/prune`, { query: { filters: filterQuery(filters) } })
}

async function volumes(context: Context, parsed: Parsed): Promise<number> {
  const all = parsed.bool('all')
  await confirm(parsed, `This will remove ${all ? 'all' : 'anonymous'} local volumes not used by at least one container.`)
  const { VolumesDeleted, SpaceReclaimed } = await prune(context, 'volumes', [...parsed.list('filter'), ...(all ? ['all=1'] : [])])
  process.stdout.write(`${section('Volumes', VolumesDeleted ?? [])}Total reclaimed space: ${humanSize(SpaceReclaimed ?? 0)}\n`)
  return 0
}

async function system(context: Context, parsed: Parsed): Promise<number> {
  const all = parsed.bool('all')
  const [filters, withVolumes] = [parsed.list('filter'), parsed.bool('volumes')]
  if (withVolumes && filters.some((one) => one.startsWith('until='))) throw new EngineError('invalid', 'ERROR: The "until" filter is not supported with "--volumes"')
  const goes = ['all stopped containers', 'all networks not used by at least one container', ...(withVolumes ? ['all anonymous volumes not used by at least one container'] : []), all ? 'all images without at least one container associated to them' : 'all dangling images', all ? 'all build cache' : 'unused build cache']
  await confirm(parsed, `This will remove:\n${goes.map((one) => `  - ${one}\n`).join('')}`)
  const { ContainersDeleted, SpaceReclaimed: ofContainers = 0 } = await prune(context, 'containers', filters)
  const { NetworksDeleted } = await prune(context, 'networks', filters)
  const ofVolumes = withVolumes ? await prune(context, 'volumes', filters) : {}
  const { ImagesDeleted, SpaceReclaimed: ofImages = 0 } = await prune(context, 'images', [...filters, ...(all ? ['dangling=false'] : [])])
  const images = (ImagesDeleted ?? []).map((one) => (one.Untagged === undefined ? `deleted: ${one.Deleted}` : `untagged: ${one.Untagged}`))
  const total = ofContainers + ofImages + (ofVolumes.SpaceReclaimed ?? 0)
  process.stdout.write(`${section('Containers', ContainersDeleted ?? [])}${section('Networks', NetworksDeleted ?? [])}${section('Volumes', ofVolumes.VolumesDeleted ?? [])}${section('Images', images)}Total reclaimed space: ${humanSize(total)}\n`)
  return 0
}

async function buildCache(context: Context, parsed: Parsed): Promise<number> {
  const all = parsed.bool('all')
  await confirm(parsed, all ? 'This will remove all build cache.' : 'This will remove all dangling build cache.')
  const { SpaceReclaimed } = await context.api.json<Pruned>('POST', '/build/prune', { query: { all, filters: filterQuery(parsed.list('filter')), 'keep-storage': parsed.text('keep-storage') } })
  process.stdout.write(`Total reclaimed space: ${humanSize(SpaceReclaimed ?? 0)}\n`)
  return 0
}

/** Commands that tidy up. */
export const PRUNE_COMMANDS: readonly Command[] = [
  { names: ['volume prune'], usage: 'volume prune [OPTIONS]', help: 'Remove unused local volumes', flags: [{ name: 'all', short: 'a', kind: 'bool', help: 'Remove all unused volumes, not just anonymous ones' }, FILTER, FORCE], run: volumes },
  { names: ['builder prune'], usage: 'builder prune [OPTIONS]', help: 'Remove build cache', flags: [{ name: 'all', short: 'a', kind: 'bool', help: 'Remove all unused build cache, not just dangling ones' }, FILTER, FORCE, { name: 'keep-storage', kind: 'text', help: 'Amount of disk space to keep for cache' }], run: buildCache },
  { names: ['system prune'], usage: 'system prune [OPTIONS]', help: 'Remove unused data', flags: [{ name: 'all', short: 'a', kind: 'bool', help: 'Remove all unused images not just dangling ones' }, { name: 'volumes', kind: 'bool', help: 'Prune anonymous volumes' }, FILTER, FORCE], run: system },
]
