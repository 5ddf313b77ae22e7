import { SIGNALS } from '@gantry/runtime'
import { type HostConfig, type Resources } from '@gantry/api'
import { asObject, EngineError, type JsonObject, parseBytes } from '@gantry/std'
import { cpus } from 'node:os'
import { logSettings } from '../log/settings.ts'

const CPUS = cpus().length
const MIN_MEMORY = 6 * 1024 * 1024
const PREFIX = 'invalid'

const refuse = (message: string): never => {
  throw new EngineError(PREFIX, message)
}

/** A signal by name, with or without SIG, or by number; 0 is none. */
export function parseSignal(text: string): number {
  const upper = text.toUpperCase().replace(/^SIG/, '')
  const match = /^RT(MIN|MAX)([+-]\d+)$/.exec(upper)
  const number = /^\d+$/.test(text) ? Number(text) : match === null ? SIGNALS[upper] : (SIGNALS[`RT${match[1]}`] ?? 0) + Number(match[2])
  if (number !== undefined && (number < 1 || number > 64) && /^\d+$/.test(text)) throw new EngineError('invalid', `the linux daemon does not support signal ${text}`)
  if (number === undefined || number < 1 || number > 64) throw new EngineError('invalid', `invalid signal: ${text}`)
  return number
}

/** A cpu or node list: `0-2,5` within 0…limit-1 (CVE-2018-20699: the number is checked before anything is made of it). */
export function checkCpuset(text: string, field: string, limit: number): void {
  if (text === '') return
  for (const part of text.split(',')) {
    const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(part)
    if (match === null) refuse(`Invalid value ${text} for ${field}`)
    const [from, to] = [Number(match?.[1]), Number(match?.[2] ?? match?.[1])]
    if (from > to) refuse(`Invalid value ${text} for ${field}`)
    if (to >= limit) refuse(`Requested ${field === 'cpuset cpus' ? 'CPUs' : 'memory nodes'} are not available - requested ${text}, available: 0${limit > 1 ? `-${limit - 1}` : ''}`)
  }
}

/** Checks limits against each other and against the host. */
export function checkResources(r: Resources): void {
  if (r.Memory !== 0 && r.Memory < MIN_MEMORY) refuse('Minimum memory limit allowed is 6MB')
  if (r.Memory > 0 && r.MemorySwap > 0 && r.MemorySwap < r.Memory) refuse('Minimum memoryswap limit should be larger than memory limit, see usage')
  if (r.Memory === 0 && r.MemorySwap > 0) refuse('You should always set the Memory limit when using Memoryswap limit, see usage')
  if (r.MemoryReservation > 0 && r.MemoryReservation < MIN_MEMORY) refuse('Minimum memory reservation allowed is 6MB')
  if (r.Memory > 0 && r.MemoryReservation > r.Memory) refuse('Minimum memory limit can not be less than memory reservation limit, see usage')
  if (r.MemorySwappiness !== null && (r.MemorySwappiness < -1 || r.MemorySwappiness > 100)) refuse(`Invalid value: ${r.MemorySwappiness}, valid memory swappiness range is 0-100`)
  if (r.NanoCpus > 0 && (r.CpuPeriod > 0 || r.CpuQuota > 0)) refuse('Conflicting options: Nano CPUs and CPU Period cannot both be set')
  if (r.NanoCpus < 0 || r.NanoCpus > CPUS * 1e9) refuse(`range of CPUs is from 0.01 to ${CPUS}.00, as there are only ${CPUS} CPUs available`)
  if (r.CpuPeriod !== 0 && (r.CpuPeriod < 1000 || r.CpuPeriod > 1_000_000)) refuse('CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)')
  if (r.CpuQuota > 0 && r.CpuQuota < 1000) refuse('CPU cfs quota can not be less than 1ms (i.e. 1000)')
  if (r.BlkioWeight !== 0 && (r.BlkioWeight < 10 || r.BlkioWeight > 1000)) refuse('Range of blkio weight is from 10 to 1000')
  checkCpuset(r.CpusetCpus, 'cpuset cpus', CPUS)
  checkCpuset(r.CpusetMems, 'cpuset mems', 1)
  if (!/^[\w./@:-]*$/.test(r.CgroupParent) || r.CgroupParent.split('/').includes('..')) refuse(`invalid cgroup parent: ${r.CgroupParent}: expected a path such as /jobs/batch`)
  for (const request of r.DeviceRequests ?? []) {
    if (request.Driver === 'cdi' && request.DeviceIDs.length === 0) refuse('DeviceRequests: expected names of devices in DeviceIDs')
    if (request.Driver === 'cdi' && (request.Count !== 0 || request.Capabilities.length > 0)) refuse('invalid CDI device request: Count and Capabilities cannot be set')
    if (request.Count !== 0 && request.DeviceIDs.length > 0) refuse('cannot set both Count and DeviceIDs on device request')
    if (Object.keys(request.Options).length > 0) throw new EngineError('unsupported', 'DeviceRequests: Options is not supported')
  }
}

const RESTART = new Set(['', 'no', 'always', 'unless-stopped', 'on-failure'])
/** A log never fills the disk unless it is asked to: 5 files of 100 MiB. `max-size=-1` keeps everything. */
/** `local` keeps 5 of 20 MiB, as Docker's does. */

function checkModes(h: HostConfig): void {
  const check = (field: string, value: string, plain: readonly string[], container: boolean): void => {
    if (plain.includes(value) || (container && /^container:.+/.test(value))) return
    refuse(`invalid ${field} mode: ${value}`)
  }
  check('PID', h.PidMode, ['', 'host', 'private'], true)
  check('IPC', h.IpcMode, ['', 'host', 'private', 'shareable', 'none'], true)
  check('UTS', h.UTSMode, ['', 'host'], false)
  check('cgroup namespace', h.CgroupnsMode, ['', 'host', 'private'], false)
  if (h.UsernsMode !== '' && h.UsernsMode !== 'host') refuse(`invalid user namespace mode: ${h.UsernsMode}`)
  if (h.Isolation !== '' && h.Isolation !== 'default') refuse(`invalid isolation (${h.Isolation}): linux only supports 'default'`)
}

function checkUnsupported(h: HostConfig): void {
  const unsupported = (field: string, set: boolean): void => {
    if (set) throw new EngineError('unsupported', `HostConfig.${field} is not supported`)
  }
  unsupported('Cgroup', h.Cgroup !== '')
}

/** Fields outside of HostConfig that are known and not honoured yet: an error, never silence. */
export function checkUnsupportedFields(body: JsonObject): void {
  const set = (value: unknown): boolean => !(value === undefined || value === null || value === '' || value === false || value === 0 || (typeof value === 'object' && Object.values(value as object).every((one) => !set(one))))
  const refuseField = (field: string, value: unknown): void => {
    if (set(value)) throw new EngineError('unsupported', `${field} is not supported`)
  }
  refuseField('NetworkDisabled', body['NetworkDisabled'])
  for (const field of ['KernelMemory']) refuseField(`HostConfig.${field}`, asObject(body['HostConfig'], 'HostConfig')[field])
}

/** Bytes that the container may write: of its own options, or as the daemon was told; undefined: as many as the disk has. */
export function writableBytes(h: HostConfig, otherwise: number | undefined): number | undefined {
  for (const key of Object.keys(h.StorageOpt ?? {})) if (key !== 'size') refuse(`unknown storage option "${key}": expected size`)
  const size = h.StorageOpt?.['size']
  return size === undefined ? otherwise : parseBytes(size)
}

/** With the daemon's users remapped, a container has to opt out before it shares more with the host. */
export function checkUsers(h: HostConfig, remapped: boolean): void {
  if (!remapped || h.UsernsMode === 'host') return
  if (h.Privileged) refuse('privileged mode is incompatible with user namespaces. You must run the container in the host namespace when running privileged mode')
  if (h.NetworkMode === 'host') refuse("cannot share the host's network namespace when user namespaces are enabled")
  if (h.PidMode === 'host') refuse('cannot share the host PID namespace when user namespaces are enabled')
}

/** Refuses what cannot be honoured, before anything is made. */
export function checkHostConfig(h: HostConfig): void {
  checkResources(h)
  checkModes(h)
  checkUnsupported(h)
  logSettings(h.LogConfig)
  writableBytes(h, undefined)
  if (!RESTART.has(h.RestartPolicy.Name)) refuse(`invalid restart policy: unknown policy '${h.RestartPolicy.Name}'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'`)
  if (h.RestartPolicy.MaximumRetryCount < 0) refuse('invalid restart policy: maximum retry count cannot be negative')
  if (h.RestartPolicy.MaximumRetryCount > 0 && h.RestartPolicy.Name !== 'on-failure') refuse(`invalid restart policy: maximum retry count can only be used with 'on-failure'`)
  if (h.AutoRemove && h.RestartPolicy.Name !== '' && h.RestartPolicy.Name !== 'no') refuse("can't create 'AutoRemove' container with restart policy")
  if (h.ShmSize < 0) refuse('SHM size can not be less than 0')
  if (h.OomScoreAdj < -1000 || h.OomScoreAdj > 1000) refuse(`Invalid value ${h.OomScoreAdj}, range for oom score adj is [-1000, 1000]`)
}
