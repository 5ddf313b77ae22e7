import { readFileSync, statSync } from 'node:fs'
import type { DeviceMapping, HostConfig, Resources, Ulimit } from '@gantry/api'
import { DEFAULT_DEVICES, type OciDevice, type OciDeviceRule, type OciResources, type OciRlimit } from '@gantry/runtime'
import { EngineError } from '@gantry/std'
import { DEFAULT_DEVICE_RULES } from './defaults.table.ts'

const major = (rdev: number): number => (rdev >> 8) & 0xfff
const minor = (rdev: number): number => (rdev & 0xff) | ((rdev >> 12) & 0xfff00)
const PERIOD_US = 100_000

/** A device node of the host. */
export function hostDevice(path: string): { readonly type: 'c' | 'b'; readonly major: number; readonly minor: number; readonly mode: number; readonly uid: number; readonly gid: number } {
  const stats = statSync(path, { throwIfNoEntry: false })
  if (stats === undefined) throw new EngineError('invalid', `error gathering device information while adding custom device "${path}": no such file or directory`)
  if (!stats.isCharacterDevice() && !stats.isBlockDevice()) throw new EngineError('invalid', `error gathering device information while adding custom device "${path}": not a device node`)
  return { type: stats.isBlockDevice() ? 'b' : 'c', major: major(stats.rdev), minor: minor(stats.rdev), mode: stats.mode & 0o777, uid: stats.uid, gid: stats.gid }
}

function mapped(mapping: DeviceMapping): { readonly device: OciDevice; readonly rule: OciDeviceRule } {
  const host = hostDevice(mapping.PathOnHost)
  const access = mapping.CgroupPermissions === '' ? 'rwm' : mapping.CgroupPermissions
  if (!/^[rwm]{1,3}$/.test(access)) throw new EngineError('invalid', `invalid device mode: ${access}`)
  const { type } = host
  return {
    device: { path: mapping.PathInContainer === '' ? mapping.PathOnHost : mapping.PathInContainer, type, major: host.major, minor: host.minor, fileMode: host.mode, uid: host.uid, gid: host.gid },
    rule: { allow: true, type, major: host.major, minor: host.minor, access },
  }
}

function cgroupRule(text: string): OciDeviceRule {
  const match = /^([acb]) (\d+|\*):(\d+|\*) ([rwm]{1,3})$/.exec(text)
  if (match === null) throw new EngineError('invalid', `invalid device cgroup rule format: '${text}'`)
  const part = (value: string | undefined): number => (value === '*' || value === undefined ? -1 : Number(value))
  return { allow: true, type: match[1] as 'a' | 'b' | 'c', major: part(match[2]), minor: part(match[3]), access: match[4] ?? 'rwm' }
}

/** Device nodes and device rules of a container. */
export function settleDevices(hostConfig: HostConfig): { readonly devices: readonly OciDevice[]; readonly rules: readonly OciDeviceRule[] } {
  const added = hostConfig.Devices.map(mapped)
  if (hostConfig.Privileged) return { devices: [...DEFAULT_DEVICES, ...privilegedDevices(), ...added.map((one) => one.device)], rules: [{ allow: true, type: 'a', access: 'rwm' }] }
  return {
    devices: [...DEFAULT_DEVICES.filter((one) => !added.some((other) => other.device.path === one.path)), ...added.map((one) => one.device)],
    rules: [...DEFAULT_DEVICE_RULES, ...added.map((one) => one.rule), ...(hostConfig.DeviceCgroupRules ?? []).map(cgroupRule)],
  }
}

/** The host's block and character devices that the kernel lists, as far as they have nodes in /dev itself. */
function privilegedDevices(): readonly OciDevice[] {
  const names = ['fuse', 'kvm', 'net/tun', 'loop-control', 'kmsg', ...Array.from({ length: 8 }, (_, n) => `loop${n}`)]
  return names.flatMap((name): readonly OciDevice[] => {
    const path = `/dev/${name}`
    if (statSync(path, { throwIfNoEntry: false }) === undefined) return []
    const host = hostDevice(path)
    return [{ path, type: host.type, major: host.major, minor: host.minor, fileMode: host.mode, uid: host.uid, gid: host.gid }]
  })
}

const when = (value: number): number | undefined => (value === 0 ? undefined : value)

/** Go's zero values mean "not set"; the kernel gets only what was asked for. */
export function settleResources(r: Resources, rules: readonly OciDeviceRule[]): OciResources {
  const quota = r.NanoCpus > 0 ? Math.floor((r.NanoCpus * PERIOD_US) / 1e9) : when(r.CpuQuota)
  const period = r.NanoCpus > 0 ? PERIOD_US : when(r.CpuPeriod)
  const throttles = (list: readonly { readonly Path: string; readonly Rate: number }[]) => list.map((one) => ({ ...numbers(one.Path), rate: one.Rate }))
  const memory = {
    ...(r.Memory > 0 && { limit: r.Memory }),
    ...(r.MemorySwap !== 0 && { swap: r.MemorySwap }),
    ...(r.KernelMemoryTCP > 0 && { kernelTCP: r.KernelMemoryTCP }),
    ...(r.MemoryReservation > 0 && { reservation: r.MemoryReservation }),
    ...(r.MemorySwappiness !== null && r.MemorySwappiness >= 0 && { swappiness: r.MemorySwappiness }),
    ...(r.OomKillDisable === true && { disableOOMKiller: true }),
  }
  const cpu = {
    ...(r.CpuShares > 0 && { shares: r.CpuShares }),
    ...(quota !== undefined && { quota }),
    ...(period !== undefined && { period }),
    ...(r.CpuRealtimePeriod > 0 && { realtimePeriod: r.CpuRealtimePeriod }),
    ...(r.CpuRealtimeRuntime > 0 && { realtimeRuntime: r.CpuRealtimeRuntime }),
    ...(r.CpusetCpus !== '' && { cpus: r.CpusetCpus }),
    ...(r.CpusetMems !== '' && { mems: r.CpusetMems }),
  }
  return {
    devices: rules,
    memory,
    cpu,
    ...(r.PidsLimit !== null && r.PidsLimit !== 0 && { pids: { limit: r.PidsLimit } }),
    blockIO: {
      ...(r.BlkioWeight > 0 && { weight: r.BlkioWeight }),
      weightDevice: r.BlkioWeightDevice.map((one) => ({ ...numbers(one.Path), weight: one.Weight })),
      throttleReadBpsDevice: throttles(r.BlkioDeviceReadBps),
      throttleWriteBpsDevice: throttles(r.BlkioDeviceWriteBps),
      throttleReadIOPSDevice: throttles(r.BlkioDeviceReadIOps),
      throttleWriteIOPSDevice: throttles(r.BlkioDeviceWriteIOps),
    },
  }
}

function numbers(path: string): { readonly major: number; readonly minor: number } {
  const host = hostDevice(path)
  return { major: host.major, minor: host.minor }
}

/** `--ulimit` by the kernel's names. */
export function settleUlimits(list: readonly Ulimit[]): readonly OciRlimit[] {
  return list.map((one) => ({ type: `RLIMIT_${one.Name.toUpperCase()}`, soft: one.Soft, hard: one.Hard }))
}

/** CPUs and memory of the host, for `info`. */
export function hostMemoryBytes(): number {
  return Number(/^MemTotal:\s+(\d+) kB/m.exec(readFileSync('/proc/meminfo', 'utf8'))?.[1] ?? 0) * 1024
}
