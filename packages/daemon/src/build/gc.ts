import { statfsSync } from 'node:fs'
import { asList, asObject, asString, asStrings, EngineError, type JsonObject, logger, messageOf, parseBytes, parseDuration } from '@gantry/std'
import type { BuildCacheRow } from '../jobs/build.ts'
import type { PruneCache } from './prune.ts'

const log = logger('daemon.build.gc')
const EVERY_MS = 3600 * 1000
const HOUR_MS = 3600 * 1000
/** So long after a build the cache is looked through: the next one may follow at once. */
const AFTER_BUILD_MS = 60_000

/** What of the cache goes by itself (daemon.json, `builder.gc.policy`). Rules are followed in their order. */
export interface GcRule {
  /** Only such records; empty: all. */
  readonly types: readonly string[]
  /** Only what was not used for so long (milliseconds). */
  readonly unusedMs: number
  /** So much stays in any case. */
  readonly reservedBytes: number
  /** More than this goes, the longest unused first; 0: there is no such limit. */
  readonly maxUsedBytes: number
  /** The cache gives way until so much of the disk is free; 0: it does not. */
  readonly minFreeBytes: number
}

/** Shares of the disk that the cache has without being told; as with dockerd 28. */
const RESERVED = 0.1
const MAX_USED = 0.6
const MIN_FREE = 0.2

/** The rules where none are given. */
export function defaultRules(diskBytes: number, given: Partial<GcRule> = {}): readonly GcRule[] {
  const limits = { reservedBytes: diskBytes * RESERVED, maxUsedBytes: diskBytes * MAX_USED, minFreeBytes: diskBytes * MIN_FREE, ...given }
  return [
    { types: ['exec.cachemount', 'source.local'], unusedMs: 48 * HOUR_MS, reservedBytes: 0, maxUsedBytes: 512e6, minFreeBytes: 0 },
    { types: [], unusedMs: 60 * 24 * HOUR_MS, ...limits, maxUsedBytes: 0, minFreeBytes: 0 },
    { types: [], unusedMs: 0, ...limits },
  ]
}

/** Bytes of the file system below a directory. */
export function diskBytesOf(path: string): number {
  const { blocks, bsize } = statfsSync(path)
  return blocks * bsize
}

/** `20GB` or `10%` of the disk. */
function sizeOf(value: unknown, field: string, diskBytes: number): number | undefined {
  if (value === undefined || value === '') return undefined
  const text = typeof value === 'number' ? String(value) : asString(value, field)
  const percent = /^(\d{1,3})%$/.exec(text)?.[1]
  return percent === undefined ? parseBytes(text) : (diskBytes * Number(percent)) / 100
}

function limitsOf(o: JsonObject, prefix: (name: string) => string, field: string, diskBytes: number): Partial<GcRule> {
  const read = (...names: readonly string[]): number | undefined => names.map((name) => sizeOf(o[prefix(name)], `${field}.${prefix(name)}`, diskBytes)).find((one) => one !== undefined)
  const [reservedBytes, maxUsedBytes, minFreeBytes] = [read('reservedSpace', 'keepStorage'), read('maxUsedSpace'), read('minFreeSpace')]
  return { ...(reservedBytes !== undefined && { reservedBytes }), ...(maxUsedBytes !== undefined && { maxUsedBytes }), ...(minFreeBytes !== undefined && { minFreeBytes }) }
}

function ruleOf(value: unknown, index: number, diskBytes: number): GcRule {
  const field = `builder.gc.policy[${index}]`
  const o = asObject(value, field)
  const types: string[] = []
  let unusedMs = 0
  for (const filter of asStrings(o['filter'] ?? [], `${field}.filter`)) {
    const [, name, text = ''] = /^(unused-for|until|type)==?(.+)$/.exec(filter) ?? []
    const ms = name === 'type' ? undefined : parseDuration(text)
    if (name === 'type') types.push(text)
    else if (ms === undefined) throw new EngineError('invalid', `${field}.filter: ${JSON.stringify(filter)}: expected unused-for=DURATION or type=TYPE`)
    else unusedMs = ms
  }
  return { types, unusedMs, reservedBytes: 0, maxUsedBytes: 0, minFreeBytes: 0, ...limitsOf(o, (name) => name, field, diskBytes) }
}

/** Rights that a client may ask for steps of its builds (`builder.entitlements`): as with dockerd the host's network, unless that is forbidden, and all rights only where that is allowed. */
export function readEntitlements(value: unknown): ReadonlySet<string> {
  const given = asObject(asObject(value ?? {}, 'builder')['entitlements'] ?? {}, 'builder.entitlements')
  for (const [key, one] of Object.entries(given)) if (!['network-host', 'security-insecure'].includes(key) || typeof one !== 'boolean') throw new EngineError('invalid', `builder.entitlements.${key}: expected network-host or security-insecure, true or false`)
  return new Set([...(given['network-host'] === false ? [] : ['network.host']), ...(given['security-insecure'] === true ? ['security.insecure'] : [])])
}

/** Reads `builder` of the configuration file; undefined: nothing goes by itself. */
export function readGc(value: unknown, diskBytes: number): readonly GcRule[] | undefined {
  const builder = asObject(value ?? {}, 'builder')
  for (const key of Object.keys(builder)) if (key !== 'gc' && key !== 'entitlements') throw new EngineError('invalid', `builder.${key}: expected gc`)
  const gc = asObject(builder['gc'] ?? {}, 'builder.gc')
  if (gc['enabled'] === false) return undefined
  const policy = asList(gc['policy'] ?? [], 'builder.gc.policy')
  const capital = (name: string): string => `default${name.charAt(0).toUpperCase()}${name.slice(1)}`
  return policy.length === 0 ? defaultRules(diskBytes, limitsOf(gc, capital, 'builder.gc', diskBytes)) : policy.map((one, index) => ruleOf(one, index, diskBytes))
}

/** Ids of what goes by one rule: the longest unused first, and no more than has to. */
export function collectible(rule: GcRule, rows: readonly BuildCacheRow[], disk: { readonly now: number; readonly freeBytes: number }): ReadonlySet<string> {
  const counted = rows.filter((row) => rule.types.length === 0 || rule.types.includes(row.type))
  const candidates = counted.filter((row) => !row.inUse && row.usedAt < disk.now - rule.unusedMs).sort((a, b) => a.usedAt - b.usedAt)
  const bounded = rule.maxUsedBytes > 0 || rule.minFreeBytes > 0
  let [used, free] = [counted.reduce((sum, row) => sum + row.bytes, 0), disk.freeBytes]
  const gone = new Set<string>()
  for (const row of candidates) {
    const over = !bounded || (rule.maxUsedBytes > 0 && used > rule.maxUsedBytes) || (rule.minFreeBytes > 0 && free < rule.minFreeBytes)
    if (!over || used <= rule.reservedBytes) break
    gone.add(row.id)
    used -= row.bytes
    free += row.bytes
  }
  return gone
}

/** What watching the cache stands on. */
export interface GcPorts {
  readonly rules: readonly GcRule[] | undefined
  readonly home: string
  rows(): Promise<readonly BuildCacheRow[]>
  readonly prune: PruneCache
  /** Removes contents of contexts that were not used since then. */
  pruneContexts(usedBefore: number): number
}

const CONTEXT_MS = 7 * 24 * HOUR_MS

/** Looks through the cache now and then, and a while after builds. Gives what says that a build has ended. */
export function watchCache({ rules, home, rows, prune, pruneContexts }: GcPorts): () => void {
  if (rules === undefined) return () => undefined
  const turn = async (): Promise<void> => {
    let [records, bytes] = [0, pruneContexts(Date.now() - CONTEXT_MS)]
    for (const rule of rules) {
      const { bavail, bsize } = statfsSync(home)
      const ids = collectible(rule, await rows(), { now: Date.now(), freeBytes: bavail * bsize })
      if (ids.size === 0) continue
      const done = await prune({ keepBytes: 0, wanted: (row) => ids.has(row.id), withContexts: false })
      records += done.gone.length
      bytes += done.bytes
    }
    if (records > 0) log.info('removed what was not used of the build cache', { records, bytes })
  }
  const run = (): void => void turn().catch((cause: unknown) => log.warn('cannot look through the build cache', { reason: messageOf(cause), cause }))
  setInterval(run, EVERY_MS).unref()
  let soon: NodeJS.Timeout | undefined
  return () => {
    clearTimeout(soon)
    soon = setTimeout(run, AFTER_BUILD_MS)
    soon.unref()
  }
}
