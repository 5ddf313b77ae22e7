import type { Methods } from '@gantry/buildkit'
import { EngineError } from '@gantry/std'
import type { BuildCacheRow } from '../../jobs/build.ts'
import type { PruneCache } from '../prune.ts'
import { timestamp } from './status-log.ts'

interface PruneRequest {
  readonly filter: readonly string[]
  readonly all: boolean
  /** Nanoseconds. */
  readonly keepDuration: bigint
  readonly reservedSpace: bigint
  readonly maxUsedSpace: bigint
  readonly minFreeSpace: bigint
}

const NANOS_IN_MS = 1_000_000n

function usageOf(row: BuildCacheRow): object {
  return { ID: row.id, Mutable: row.type === 'exec.cachemount', InUse: row.inUse, Size: BigInt(row.bytes), CreatedAt: timestamp(row.createdAt), LastUsedAt: timestamp(row.usedAt), UsageCount: BigInt(row.uses), Description: row.description, RecordType: row.type, Shared: false, Parents: [] }
}

const FIELDS: Readonly<Record<string, (row: BuildCacheRow) => string>> = { id: (row) => row.id, type: (row) => row.type, description: (row) => row.description, inuse: (row) => String(row.inUse), mutable: (row) => String(row.type === 'exec.cachemount'), shared: () => 'false', private: () => 'true' }

/** A filter: conditions that all hold, `FIELD==VALUE`, `FIELD!=VALUE`, `FIELD~=PATTERN`, or a field alone (containerd's filters). */
function filterOf(text: string): (row: BuildCacheRow) => boolean {
  const conditions = text.split(',').map((part) => {
    const [, field = '', operator = '', value = ''] = /^(\w+)(?:(==|!=|~=)(.*))?$/.exec(part.trim()) ?? []
    const read = FIELDS[field.toLowerCase()]
    if (read === undefined) throw new EngineError('invalid', `filter ${JSON.stringify(part)}: expected one of ${Object.keys(FIELDS).join(', ')}`)
    const plain = value.replace(/^"(.*)"$/, '$1')
    if (operator === '~=') {
      const pattern = new RegExp(plain)
      return (row: BuildCacheRow) => pattern.test(read(row))
    }
    if (operator === '') return (row: BuildCacheRow) => read(row) === 'true'
    return (row: BuildCacheRow) => (read(row) === plain) === (operator === '==')
  })
  return (row) => conditions.every((condition) => condition(row))
}

/** Any of the filters; none: all rows. */
function anyOf(filters: readonly string[]): (row: BuildCacheRow) => boolean {
  const all = filters.filter((text) => text !== '').map(filterOf)
  return (row) => all.length === 0 || all.some((one) => one(row))
}

/** Makes the methods of the control service that are about the cache. */
export function cacheMethods(rows: () => Promise<readonly BuildCacheRow[]>, prune: PruneCache): Methods {
  return {
    async DiskUsage({ filter }: { readonly filter: readonly string[] }) {
      const wanted = anyOf(filter)
      return { record: (await rows()).filter(wanted).map(usageOf) }
    },
    async *Prune({ filter, keepDuration, reservedSpace, maxUsedSpace, minFreeSpace }: PruneRequest) {
      if (minFreeSpace > 0n) throw new EngineError('unsupported', 'min-free-space: not supported by this version of Gantry: expected max-used-space or reserved-space')
      const matches = anyOf(filter)
      const before = keepDuration > 0n ? Date.now() - Number(keepDuration / NANOS_IN_MS) : Number.POSITIVE_INFINITY
      const { gone } = await prune({ keepBytes: Number(maxUsedSpace > 0n ? maxUsedSpace : reservedSpace), wanted: (row) => matches(row) && row.usedAt < before, withContexts: filter.length === 0 && keepDuration === 0n })
      yield* gone.map(usageOf)
    },
  }
}
