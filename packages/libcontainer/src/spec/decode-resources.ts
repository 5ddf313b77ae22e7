import { asBoolean, asInteger, asObject, asString, asStringMap, EngineError, type JsonObject } from '@gantry/std'
import { limitOf, objects, optional, refuse } from './decode-parts.ts'
import type { OciDeviceRule, OciResources, OciThrottle } from './oci.ts'

function ruleOf(o: JsonObject, field: string): OciDeviceRule {
  const type = asString(o['type'], `${field}.type`)
  const part = (name: string): number | undefined => optional(o[name], (value) => asInteger(value, `${field}.${name}`))
  const [major, minor] = [part('major'), part('minor')]
  const access = asString(o['access'], `${field}.access`)
  return { allow: asBoolean(o['allow'], `${field}.allow`), type: type === 'c' || type === 'b' ? type : 'a', ...(major !== undefined && { major }), ...(minor !== undefined && { minor }), access: access === '' ? 'rwm' : access }
}

function pick<K extends string>(o: JsonObject, field: string, names: readonly K[]): Partial<Record<K, number>> {
  return Object.fromEntries(names.flatMap((name) => (o[name] === undefined || o[name] === null ? [] : [[name, limitOf(o[name], `${field}.${name}`)]]))) as Partial<Record<K, number>>
}

function networkOf(object: JsonObject): NonNullable<OciResources['network']> {
  const classID = optional(object['classID'], (value) => asInteger(value, 'linux.resources.network.classID'))
  return {
    ...(classID !== undefined && { classID }),
    priorities: objects(object['priorities'], 'linux.resources.network.priorities', (o, field) => ({ name: asString(o['name'], `${field}.name`), priority: asInteger(o['priority'], `${field}.priority`) })),
  }
}

const UNIFIED_FILE = /^[a-z0-9_]+(\.[A-Za-z0-9_]+)+$/

function unifiedOf(value: unknown): Readonly<Record<string, string>> {
  const files = asStringMap(value, 'linux.resources.unified')
  // A file of the container's own directory, by its name alone.
  for (const file of Object.keys(files)) if (!UNIFIED_FILE.test(file)) throw new EngineError('invalid', `linux.resources.unified: expected the name of a cgroup file, got "${file}"`)
  return files
}

function blockOf(block: JsonObject): NonNullable<OciResources['blockIO']> {
  const prefix = 'linux.resources.blockIO'
  const throttles = (name: string): readonly OciThrottle[] => objects(block[name], `${prefix}.${name}`, (o, field) => ({ major: asInteger(o['major'], `${field}.major`), minor: asInteger(o['minor'], `${field}.minor`), rate: asInteger(o['rate'], `${field}.rate`) }))
  return {
    ...pick(block, prefix, ['weight']),
    weightDevice: objects(block['weightDevice'], `${prefix}.weightDevice`, (o, field) => ({ major: asInteger(o['major'], `${field}.major`), minor: asInteger(o['minor'], `${field}.minor`), weight: asInteger(o['weight'], `${field}.weight`) })),
    throttleReadBpsDevice: throttles('throttleReadBpsDevice'), throttleWriteBpsDevice: throttles('throttleWriteBpsDevice'), throttleReadIOPSDevice: throttles('throttleReadIOPSDevice'), throttleWriteIOPSDevice: throttles('throttleWriteIOPSDevice'),
  }
}

/** Reads `linux.resources`, also for an update of what runs (config-linux.md, Control groups). */
export function decodeResources(value: unknown): OciResources {
  const prefix = 'linux.resources'
  const object = asObject(value, prefix)
  const [memory, cpu, block] = ['memory', 'cpu', 'blockIO'].map((name) => asObject(object[name], `${prefix}.${name}`)) as [JsonObject, JsonObject, JsonObject]
  // Gone from the kernel: the limit of its own memory (5.16), and weights of leaves.
  refuse(memory, ['kernel'], `${prefix}.memory.`)
  refuse(block, ['leafWeight'], `${prefix}.blockIO.`)
  const [cpus, mems] = [asString(cpu['cpus'], `${prefix}.cpu.cpus`), asString(cpu['mems'], `${prefix}.cpu.mems`)]
  const pids = asObject(object['pids'], `${prefix}.pids`)
  const [network, rdma, unified] = [optional(object['network'], (one) => networkOf(asObject(one, `${prefix}.network`))), optional(object['rdma'], (one) => asObject(one, `${prefix}.rdma`)), optional(object['unified'], unifiedOf)]
  return {
    devices: objects(object['devices'], `${prefix}.devices`, ruleOf),
    memory: { ...pick(memory, `${prefix}.memory`, ['limit', 'reservation', 'swap', 'swappiness', 'kernelTCP']), ...(memory['disableOOMKiller'] === true && { disableOOMKiller: true }) },
    cpu: { ...pick(cpu, `${prefix}.cpu`, ['shares', 'quota', 'period', 'realtimeRuntime', 'realtimePeriod', 'burst', 'idle']), ...(cpus !== '' && { cpus }), ...(mems !== '' && { mems }) },
    ...(pids['limit'] !== undefined && pids['limit'] !== null && pids['limit'] !== 0 && { pids: { limit: limitOf(pids['limit'], `${prefix}.pids.limit`) } }),
    blockIO: blockOf(block),
    hugepageLimits: objects(object['hugepageLimits'], `${prefix}.hugepageLimits`, (o, field) => ({ pageSize: asString(o['pageSize'], `${field}.pageSize`), limit: limitOf(o['limit'], `${field}.limit`) })),
    ...(network && { network }),
    ...(rdma && { rdma: Object.fromEntries(Object.entries(rdma).map(([device, limits]) => [device, pick(asObject(limits, `${prefix}.rdma.${device}`), `${prefix}.rdma.${device}`, ['hcaHandles', 'hcaObjects'])])) }),
    ...(unified && { unified }),
  }
}
