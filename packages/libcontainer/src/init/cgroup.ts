import { AT, CLONE, ERRNO, type Label, O, type ProgramBuilder, type Register } from '@gantry/linux'
import { deviceProgram } from '../cgroups/devices.ts'
import type { CgroupPlan } from '../cgroups/manager.ts'
import type { StartPlan } from './plan.ts'

const SIGCHLD = 17
const ARGS_BYTES = 88
const BPF = { PROG_LOAD: 5, PROG_ATTACH: 8, TYPE_CGROUP_DEVICE: 15, ATTACH_DEVICE: 6 } as const

/** Descriptors of the cgroups that a process enters by itself: the parent must not move it (8 ms of waiting for the kernel). */
export interface CgroupEntry {
  readonly tasks: readonly Register[]
  readonly unified?: Register
}

/** Opens what a new process needs to enter its cgroups. */
export function openCgroup(p: ProgramBuilder, plan: CgroupPlan): CgroupEntry {
  const tasks: Register[] = []
  let unified: Register | undefined
  for (const directory of plan.directories) {
    const fd = p.register()
    if (directory.path === plan.unified) {
      p.call('open the unified cgroup', 'openat', [AT.FDCWD, p.text(directory.path), O.RDONLY | O.DIRECTORY | O.CLOEXEC, 0], { to: fd })
      unified = fd
    } else {
      p.call(`open the ${directory.controllers.join(',')} cgroup`, 'openat', [AT.FDCWD, p.text(`${directory.path}/tasks`), O.WRONLY | O.CLOEXEC, 0], { to: fd })
      tasks.push(fd)
    }
  }
  return { tasks, ...(unified && { unified }) }
}

/** The new process enters; it is still single-threaded, so that the kernel need not wait for anybody. */
export function enterCgroup(p: ProgramBuilder, entry: CgroupEntry): void {
  const zero = p.text('0')
  for (const fd of entry.tasks) p.call('enter a cgroup', 'write', [fd, zero, 1])
}

/** Closes them again in the shim. */
export function closeCgroup(p: ProgramBuilder, entry: CgroupEntry): void {
  for (const fd of [...entry.tasks, ...(entry.unified ? [entry.unified] : [])]) p.call('close a cgroup', 'close', [fd])
}

export function makeCgroup(p: ProgramBuilder, plan: StartPlan): void {
  for (const directory of plan.cgroup.directories) {
    p.call(`cgroup ${directory.path}`, 'mkdir', [p.text(directory.path), 0o755], { tolerate: ERRNO.EEXIST })
    for (const write of directory.writes) p.op(`${write.file} = ${write.value}`, 'writeFile', [AT.FDCWD, p.text(`${directory.path}/${write.file}`), p.text(write.value), write.value.length, 0])
  }
}

/** Version 2 has no device files: a BPF program decides (`linux/bpf.h`, union bpf_attr). */
export function attachDevicePolicy(p: ProgramBuilder, plan: StartPlan, entry: CgroupEntry): void {
  if (plan.cgroup.version !== 2 || entry.unified === undefined) return
  const code = deviceProgram(plan.spec.linux.resources.devices)
  const load = Buffer.alloc(128)
  load.writeUInt32LE(BPF.TYPE_CGROUP_DEVICE, 0)
  load.writeUInt32LE(code.length / 8, 4)
  const attributes = p.bytes(load)
  p.op('place the device program', 'store', [{ blob: attributes.blob + 8, length: 8 }, p.bytes(code), 8])
  p.op('place its licence', 'store', [{ blob: attributes.blob + 16, length: 8 }, p.text('Apache-2.0'), 8])
  const fd = p.register()
  p.call('load the device program', 'bpf', [BPF.PROG_LOAD, attributes, 128], { to: fd })
  const attach = Buffer.alloc(128)
  attach.writeUInt32LE(BPF.ATTACH_DEVICE, 8)
  const attachAttributes = p.bytes(attach)
  p.op('name the cgroup', 'store', [attachAttributes, entry.unified, 4])
  p.op('name the program', 'store', [{ blob: attachAttributes.blob + 4, length: 4 }, fd, 4])
  p.call('attach the device program', 'bpf', [BPF.PROG_ATTACH, attachAttributes, 128])
  p.call('close the device program', 'close', [fd])
}

/** Makes the process that is to become the container's init. */
export function cloneProcess(p: ProgramBuilder, flags: number, entry: CgroupEntry, child: Label, pid: Register): void {
  const args = Buffer.alloc(ARGS_BYTES)
  args.writeBigUInt64LE(BigInt(flags) | (entry.unified === undefined ? 0n : CLONE.INTO_CGROUP), 0)
  args.writeBigUInt64LE(BigInt(SIGCHLD), 32)
  const blob = p.bytes(args)
  if (entry.unified !== undefined) p.op('into the unified cgroup', 'store', [{ blob: blob.blob + 80, length: 8 }, entry.unified, 8])
  p.op('clone the process', 'clone', [blob, ARGS_BYTES, child], { to: pid })
}

const IN_MODIFY = 2
const LINE_BYTES = 48

/** A descriptor that is readable when the container runs out of its memory: an eventfd of version 1, an inotify of version 2. */
export function watchMemory(p: ProgramBuilder, plan: StartPlan): Register | undefined {
  const file = plan.cgroup.oomFile
  if (file === undefined || plan.spec.linux.resources.memory?.limit === undefined) return undefined
  const fd = p.register()
  if (plan.cgroup.version === 2) {
    p.call('watch for lack of memory', 'inotify_init1', [O.CLOEXEC | O.NONBLOCK], { to: fd })
    p.call(`watch ${file}`, 'inotify_add_watch', [fd, p.text(file), IN_MODIFY])
    return fd
  }
  p.scoped(() => {
    const [control, length] = [p.register(), p.register()]
    const [tail, line] = [p.room(LINE_BYTES), p.room(LINE_BYTES)]
    p.call('watch for lack of memory', 'eventfd2', [0, O.CLOEXEC | O.NONBLOCK], { to: fd })
    p.call(`open ${file}`, 'openat', [AT.FDCWD, p.text(file), O.RDONLY | O.CLOEXEC, 0], { to: control })
    p.op('its number', 'format', [tail, LINE_BYTES, p.text(' '), control, p.text('')])
    p.op('both numbers', 'format', [line, LINE_BYTES, p.text(''), fd, tail], { to: length })
    p.op('register the watch', 'writeFile', [AT.FDCWD, p.text(file.replace(/[^/]*$/, 'cgroup.event_control')), line, length, 0])
    p.call('close it', 'close', [control])
  })
  return fd
}

/** Makes the container's cgroups with all that belongs to them, before there is a process. */
export function prepareCgroup(p: ProgramBuilder, plan: StartPlan): { readonly entry: CgroupEntry; readonly lacking: Register | undefined } {
  makeCgroup(p, plan)
  const entry = openCgroup(p, plan.cgroup)
  const lacking = watchMemory(p, plan)
  attachDevicePolicy(p, plan, entry)
  return { entry, lacking }
}
