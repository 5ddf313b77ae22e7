import { readFileSync } from 'node:fs'
import { EngineError } from '@gantry/std'

/** Flags of `update` that stand for one field of `linux.resources`, as runc names them. */
export const UPDATES: Readonly<Record<string, readonly [section: 'memory' | 'cpu' | 'pids' | 'blockIO', field: string]>> = {
  'blkio-weight': ['blockIO', 'weight'],
  'cpu-period': ['cpu', 'period'], 'cpu-quota': ['cpu', 'quota'], 'cpu-burst': ['cpu', 'burst'], 'cpu-share': ['cpu', 'shares'], 'cpu-rt-period': ['cpu', 'realtimePeriod'], 'cpu-rt-runtime': ['cpu', 'realtimeRuntime'], 'cpuset-cpus': ['cpu', 'cpus'], 'cpuset-mems': ['cpu', 'mems'], 'cpu-idle': ['cpu', 'idle'],
  memory: ['memory', 'limit'], 'memory-reservation': ['memory', 'reservation'], 'memory-swap': ['memory', 'swap'], 'pids-limit': ['pids', 'limit'],
}
const TEXTS: ReadonlySet<string> = new Set(['cpus', 'mems'])

/** The resources that an update asks for: a document, or flags. */
export function updatedResources(values: Readonly<Record<string, unknown>>): unknown {
  const from = values['resources']
  if (typeof from === 'string' && from !== '') return JSON.parse(readFileSync(from === '-' ? 0 : from, 'utf8'))
  const resources: Record<string, Record<string, unknown>> = {}
  for (const [flag, [section, field]] of Object.entries(UPDATES)) {
    const value = values[flag]
    if (typeof value !== 'string') continue
    if (!TEXTS.has(field) && !/^-?\d+$/.test(value)) throw new EngineError('invalid', `--${flag}: expected a number, got "${value}"`)
    resources[section] = { ...resources[section], [field]: TEXTS.has(field) ? value : Number(value) }
  }
  if (Object.keys(resources).length === 0) throw new EngineError('invalid', 'update: expected --resources or a limit')
  return resources
}
