import type { HostConfig, Resources } from '@gantry/api'
import type { ExecDriver } from '@gantry/runtime'
import { EngineError } from '@gantry/std'
import type { Container } from './container.ts'
import { changeMounts, type LiveMountPorts, type MountChange } from './mounts/live.ts'
import { type CgroupLimits, withoutUnsupported } from './request/limits.ts'
import { checkHostConfig } from './request/validate.ts'
import { settleResources } from './spec/resources.ts'
import type { ContainerStore } from './store.ts'

/** What an update needs of the rest of the house. */
export interface UpdatePorts {
  readonly store: ContainerStore
  readonly driver: ExecDriver
  readonly limits: CgroupLimits
  republish(container: Container, hostConfig: HostConfig): Promise<void>
  readonly mounts: LiveMountPorts
  emit(container: Container, action: string): void
}

/** What may change while a container lives; zero values change nothing. */
export interface UpdateRequest {
  readonly resources: Resources
  readonly restartPolicy: HostConfig['RestartPolicy'] | undefined
  /** Ours: ports that are published from now on, and keys (`80/tcp`) that are not any more. */
  readonly publish: { readonly add: HostConfig['PortBindings']; readonly remove: readonly string[] }
  readonly mounts: MountChange
}

const FIELDS = ['CpuShares', 'Memory', 'NanoCpus', 'BlkioWeight', 'CpuPeriod', 'CpuQuota', 'CpuRealtimePeriod', 'CpuRealtimeRuntime', 'CpusetCpus', 'CpusetMems', 'KernelMemoryTCP', 'MemoryReservation', 'MemorySwap', 'PidsLimit'] as const satisfies readonly (keyof Resources)[]
const LISTS = ['Devices', 'Ulimits'] as const satisfies readonly (keyof Resources)[]
const THROTTLES = ['BlkioDeviceReadBps', 'BlkioDeviceWriteBps', 'BlkioDeviceReadIOps', 'BlkioDeviceWriteIOps'] as const satisfies readonly (keyof Resources)[]

/** Limits of devices: one that is named again has the new limit, the others keep theirs. */
function byDevice<T extends { readonly Path: string }>(old: readonly T[], wanted: readonly T[]): readonly T[] {
  return [...old.filter((one) => !wanted.some((other) => other.Path === one.Path)), ...wanted]
}

/** A limit of 0 takes the limit away: the kernel is told, the record forgets it. */
function withoutZeros(hostConfig: HostConfig): HostConfig {
  return { ...hostConfig, ...Object.fromEntries(THROTTLES.map((name) => [name, hostConfig[name].filter((one) => one.Rate > 0)])), BlkioWeightDevice: hostConfig.BlkioWeightDevice.filter((one) => one.Weight > 0) }
}

/** The old settings with what the request sets. */
export function mergeResources(old: HostConfig, request: UpdateRequest): HostConfig {
  const wanted = request.resources
  const fields = Object.fromEntries(FIELDS.filter((field) => wanted[field] !== 0 && wanted[field] !== '' && wanted[field] !== null).map((field) => [field, wanted[field]]))
  if (wanted.NanoCpus > 0 && (old.CpuPeriod > 0 || old.CpuQuota > 0)) throw new EngineError('invalid', 'Conflicting options: Nano CPUs cannot be updated as CPU Period or Quota has already been set')
  for (const [name, value] of [['Period', wanted.CpuPeriod], ['Quota', wanted.CpuQuota]] as const) if (value > 0 && old.NanoCpus > 0) throw new EngineError('invalid', `Conflicting options: CPU ${name} cannot be updated as NanoCPUs has already been set`)
  if (wanted.Memory > 0 && wanted.MemorySwap === 0 && old.MemorySwap > 0 && wanted.Memory > old.MemorySwap) throw new EngineError('invalid', 'Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time')
  for (const list of LISTS) if (wanted[list].length > 0) throw new EngineError('unsupported', `update of ${list} is not supported`)
  if (wanted.MemorySwappiness !== null && wanted.MemorySwappiness >= 0) throw new EngineError('unsupported', 'update of MemorySwappiness is not supported')
  const devices = { ...Object.fromEntries(THROTTLES.map((name) => [name, byDevice(old[name], wanted[name])])), BlkioWeightDevice: byDevice(old.BlkioWeightDevice, wanted.BlkioWeightDevice) }
  return { ...old, ...fields, ...devices, ...(request.restartPolicy !== undefined && request.restartPolicy.Name !== '' && { RestartPolicy: request.restartPolicy }) }
}

/** The bindings with what is added and without what is taken away. */
function publishedPorts(old: HostConfig['PortBindings'], { add, remove }: UpdateRequest['publish']): HostConfig['PortBindings'] {
  const gone = remove.map((key) => (key.includes('/') ? key : `${key}/tcp`))
  for (const key of gone) if (old[key] === undefined) throw new EngineError('invalid', `port ${key} is not published`)
  const kept = Object.entries(old).filter(([key]) => !gone.includes(key))
  const bindings = new Map(kept)
  for (const [key, list] of Object.entries(add)) bindings.set(key, [...(bindings.get(key) ?? []), ...list])
  return Object.fromEntries(bindings)
}

async function update(ports: UpdatePorts, container: Container, request: UpdateRequest): Promise<readonly string[]> {
  if (container.removing) throw new EngineError('conflict', `Container is marked for removal and cannot be "update".`)
  const old = container.document.hostConfig
  if (request.restartPolicy !== undefined && !['', 'no'].includes(request.restartPolicy.Name) && old.AutoRemove) throw new EngineError('conflict', 'Restart policy cannot be updated because AutoRemove is enabled for the container')
  const { publish } = request
  const changesPorts = Object.keys(publish.add).length > 0 || publish.remove.length > 0
  const merged = mergeResources(old, request)
  const { hostConfig, warnings } = withoutUnsupported(changesPorts ? { ...merged, PortBindings: publishedPorts(old.PortBindings, publish) } : merged, ports.limits)
  checkHostConfig(hostConfig)
  if (container.task !== undefined) await ports.driver.update(container.id, settleResources(hostConfig, []))
  if (changesPorts) await ports.republish(container, hostConfig)
  ports.store.replace(container, { ...container.document, hostConfig: withoutZeros(hostConfig) })
  if (request.mounts.add.length > 0 || request.mounts.remove.length > 0) await changeMounts(ports.mounts, container, request.mounts)
  ports.emit(container, 'update')
  return warnings
}

/** `POST /containers/{id}/update`: checks, then the kernel, then the record. */
export async function updateContainer(ports: UpdatePorts, container: Container, request: UpdateRequest): Promise<readonly string[]> {
  try {
    return await update(ports, container, request)
  } catch (cause) {
    if (!(cause instanceof EngineError) || !cause.message.startsWith('Conflicting options')) throw cause
    throw new EngineError(cause.kind, `Cannot update container ${container.id}: ${cause.message}`, { cause })
  }
}
