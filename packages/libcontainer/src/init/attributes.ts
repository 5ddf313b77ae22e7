import { AT, O, type ProgramBuilder, type Register } from '@gantry/linux'
import { EngineError, exists, readText } from '@gantry/std'
import type { OciLinux, OciProcess, OciScheduler } from '../spec/oci.ts'

/** `linux/sched.h` */
const POLICIES: Readonly<Record<string, number>> = { SCHED_OTHER: 0, SCHED_FIFO: 1, SCHED_RR: 2, SCHED_BATCH: 3, SCHED_ISO: 4, SCHED_IDLE: 5, SCHED_DEADLINE: 6 }
const SCHEDULER_FLAGS: Readonly<Record<string, number>> = {
  SCHED_FLAG_RESET_ON_FORK: 1, SCHED_FLAG_RECLAIM: 2, SCHED_FLAG_DL_OVERRUN: 4, SCHED_FLAG_KEEP_POLICY: 8, SCHED_FLAG_KEEP_PARAMS: 16, SCHED_FLAG_UTIL_CLAMP_MIN: 32, SCHED_FLAG_UTIL_CLAMP_MAX: 64,
}
/** struct sched_attr, first version (`linux/sched/types.h`) */
const SCHEDULER_BYTES = 48
/** `linux/ioprio.h` */
const IO_CLASSES = { IOPRIO_CLASS_RT: 1, IOPRIO_CLASS_BE: 2, IOPRIO_CLASS_IDLE: 3 } as const
const IO_CLASS_SHIFT = 13
const IO_WHO_PROCESS = 1
/** `linux/personality.h` */
const DOMAINS = { LINUX: 0, LINUX32: 8 } as const
const CPUS_MAX = 8192

/** Whether the host enforces AppArmor profiles. */
export function hasAppArmor(): boolean {
  return readText('/sys/module/apparmor/parameters/enabled')?.startsWith('Y') === true
}

/** Whether the host enforces SELinux contexts. */
export function hasSelinux(): boolean {
  return exists('/sys/fs/selinux/enforce')
}

/** `0-3,5` as a bit mask of whole words, the lowest CPU in the lowest bit. */
export function cpuMask(list: string): Buffer {
  const mask = Buffer.alloc(CPUS_MAX / 8)
  let highest = 0
  for (const part of list.split(',')) {
    const match = /^(\d{1,4})(?:-(\d{1,4}))?$/.exec(part.trim())
    const [first, last] = [Number(match?.[1]), Number(match?.[2] ?? match?.[1])]
    if (match === null || last < first || last >= CPUS_MAX) throw new EngineError('invalid', `expected a list of CPUs like 0-3,5, got "${list}"`)
    for (let cpu = first; cpu <= last; cpu++) mask.writeUInt8(mask.readUInt8(cpu >> 3) | (1 << (cpu & 7)), cpu >> 3)
    highest = Math.max(highest, last)
  }
  return mask.subarray(0, ((highest >> 6) + 1) * 8)
}

/** Where the process may run. */
export function setAffinity(p: ProgramBuilder, list: string | undefined): void {
  if (list === undefined) return
  const mask = cpuMask(list)
  p.call(`run on CPUs ${list}`, 'sched_setaffinity', [0, mask.length, p.bytes(mask)])
}

function scheduler(p: ProgramBuilder, wanted: OciScheduler): void {
  const policy = POLICIES[wanted.policy]
  if (policy === undefined) throw new EngineError('invalid', `process.scheduler.policy: expected ${Object.keys(POLICIES).join(', ')}, got "${wanted.policy}"`)
  const flags = wanted.flags.reduce((sum, name) => {
    const flag = SCHEDULER_FLAGS[name]
    if (flag === undefined) throw new EngineError('invalid', `process.scheduler.flags: unknown flag "${name}"`)
    return sum | flag
  }, 0)
  const attributes = Buffer.alloc(SCHEDULER_BYTES)
  attributes.writeUInt32LE(SCHEDULER_BYTES, 0)
  attributes.writeUInt32LE(policy, 4)
  attributes.writeBigUInt64LE(BigInt(flags), 8)
  attributes.writeInt32LE(wanted.nice, 16)
  attributes.writeUInt32LE(wanted.priority, 20)
  for (const [at, value] of [[24, wanted.runtime], [32, wanted.deadline], [40, wanted.period]] as const) attributes.writeBigUInt64LE(BigInt(value), at)
  p.call(`scheduler ${wanted.policy}`, 'sched_setattr', [0, p.bytes(attributes), 0])
}

/** The host's procfs, opened before anything of the container can be in the way; only when labels are to be written. */
export function openHostProc(p: ProgramBuilder, process: OciProcess): Register | undefined {
  if (process.apparmorProfile === undefined && process.selinuxLabel === undefined) return undefined
  if (process.apparmorProfile !== undefined && !hasAppArmor()) throw new EngineError('unsupported', `process.apparmorProfile: "${process.apparmorProfile}" cannot be applied: AppArmor is not enabled on the host`)
  if (process.selinuxLabel !== undefined && !hasSelinux()) throw new EngineError('unsupported', `process.selinuxLabel: "${process.selinuxLabel}" cannot be applied: SELinux is not enabled on the host`)
  const fd = p.register()
  p.call('open the host’s procfs', 'openat', [AT.FDCWD, p.text('/proc'), O.PATH | O.DIRECTORY | O.CLOEXEC, 0], { to: fd })
  return fd
}

/** Scheduler, I/O priority, execution domain and labels: what needs privilege, and must be there before the program is. */
export function setAttributes(p: ProgramBuilder, process: OciProcess, linux: OciLinux, hostProc: Register | undefined): void {
  if (process.scheduler !== undefined) scheduler(p, process.scheduler)
  if (process.ioPriority !== undefined) p.call(`I/O priority ${process.ioPriority.class} ${process.ioPriority.priority}`, 'ioprio_set', [IO_WHO_PROCESS, 0, (IO_CLASSES[process.ioPriority.class] << IO_CLASS_SHIFT) | process.ioPriority.priority])
  if (linux.personality !== undefined) p.call(`execution domain ${linux.personality}`, 'personality', [DOMAINS[linux.personality]])
  if (hostProc === undefined) return
  const write = (what: string, path: string, value: string): void => p.op(what, 'writeFile', [hostProc, p.text(path), p.text(value), Buffer.byteLength(value), 0])
  if (process.selinuxLabel !== undefined) {
    write(`SELinux label ${process.selinuxLabel}`, 'self/attr/exec', process.selinuxLabel)
    write('the same for its keys', 'self/attr/keycreate', process.selinuxLabel)
  }
  if (process.apparmorProfile !== undefined) write(`AppArmor profile ${process.apparmorProfile}`, 'self/attr/apparmor/exec', `exec ${process.apparmorProfile}`)
}
