import { AT, CLONE, ERRNO, type Label, O, PR, type ProgramBuilder, type Register, SOCKET, SOCKET_ADDRESS_BYTES, socketAddress, type SyscallProgram, syscallProgram } from '@gantry/linux'
import { EngineError } from '@gantry/std'
import { deviceProgram } from '../cgroups/devices.ts'
import type { CgroupPlan } from '../cgroups/manager.ts'
import type { OciLinux, OciNamespace } from '../spec/oci.ts'
import { becomeUser, execute, findProgram, setLimits } from './identity.ts'
import { newDevpts } from './mounts.ts'
import type { StartPlan } from './plan.ts'
import { SHIM_REGISTERS } from './registers.ts'
import { enterRoot } from './rootfs.ts'
import { becomeRootInside, closeForUsers, giveStdio, hasOwnUsers, type OpenedForUsers, openForUsers, writeMaps } from './user-namespace.ts'
import { closeProcessEnds, openPipe, openStdio, placeStdio, processTable, type StdioRegisters } from './stdio.ts'

const CLONE_FLAGS: Readonly<Record<OciNamespace['type'], number>> = {
  pid: CLONE.NEWPID, network: CLONE.NEWNET, mount: CLONE.NEWNS, ipc: CLONE.NEWIPC, uts: CLONE.NEWUTS, user: CLONE.NEWUSER, cgroup: CLONE.NEWCGROUP, time: CLONE.NEWTIME,
}
const SIGCHLD = 17
const SIGKILL = 9
const ARGS_BYTES = 88
const OOM_BYTES = 512
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

function listenForDaemon(p: ProgramBuilder, path: string): Register {
  const fd = p.register()
  p.call('socket of the shim', 'socket', [SOCKET.UNIX, SOCKET.STREAM | SOCKET.CLOEXEC, 0], { to: fd })
  p.call('bind the socket of the shim', 'bind', [fd, p.bytes(socketAddress(path)), SOCKET_ADDRESS_BYTES])
  p.call('listen', 'listen', [fd, 16])
  return fd
}

function netlinkSocket(p: ProgramBuilder): Register {
  const fd = p.register()
  p.call('netlink socket', 'socket', [SOCKET.NETLINK, SOCKET.RAW | SOCKET.CLOEXEC, SOCKET.ROUTE], { to: fd })
  p.call('ask for the kernel’s reasons', 'setsockopt', [fd, 270, 11, p.bytes(Buffer.from([1, 0, 0, 0])), 4], { ignore: true })
  return fd
}

function hostNetwork(p: ProgramBuilder, plan: StartPlan, pid: Register): void {
  if (plan.network.host.length === 0) return
  p.phase('network')
  const socket = netlinkSocket(p)
  for (const batch of plan.network.host) {
    const bytes = p.bytes(batch.bytes)
    for (const at of batch.pidAt ?? []) p.op('pid of the namespace', 'store', [{ blob: bytes.blob + at, length: 4 }, pid, 4])
    p.op(batch.what, 'netlink', [socket, bytes, batch.bytes.length, batch.acks])
  }
  p.call('close the netlink socket', 'close', [socket])
}

function insideNetwork(p: ProgramBuilder, plan: StartPlan, proc: Register | undefined): void {
  if (plan.network.inside.length === 0) return
  p.phase('network')
  if (proc !== undefined) for (const [path, value] of plan.network.sysctls) p.op(`${path} = ${value}`, 'writeFile', [proc, p.text(`sys/${path}`), p.text(value), value.length, 0], { tolerate: ERRNO.ENOENT })
  const socket = netlinkSocket(p)
  for (const batch of plan.network.inside) p.op(batch.what, 'netlink', [socket, p.bytes(batch.bytes), batch.bytes.length, batch.acks])
  p.call('close the netlink socket', 'close', [socket])
}

export function joinNamespaces(p: ProgramBuilder, plan: StartPlan, inChild: boolean): void {
  for (const namespace of plan.spec.linux.namespaces) {
    if (namespace.path === undefined || (namespace.type === 'pid') === inChild) continue
    if (namespace.type === 'user') throw new EngineError('unsupported', 'joining a user namespace by its path is not supported')
    const fd = p.register()
    p.call(`open ${namespace.type} namespace ${namespace.path}`, 'openat', [AT.FDCWD, p.text(namespace.path), O.RDONLY | O.CLOEXEC, 0], { to: fd })
    p.call(`join the ${namespace.type} namespace`, 'setns', [fd, CLONE_FLAGS[namespace.type]])
    p.call('close it', 'close', [fd])
  }
}

function lockDown(p: ProgramBuilder, plan: StartPlan, proc: Register | undefined): void {
  p.phase('lockdown')
  const { spec } = plan
  if (spec.hostname !== undefined && spec.hostname !== '') p.call(`host name ${spec.hostname}`, 'sethostname', [p.text(spec.hostname), Buffer.byteLength(spec.hostname)])
  if (spec.domainname !== undefined && spec.domainname !== '') p.call(`domain name ${spec.domainname}`, 'setdomainname', [p.text(spec.domainname), Buffer.byteLength(spec.domainname)])
  for (const [key, value] of Object.entries(spec.linux.sysctl)) {
    if (proc === undefined) throw new EngineError('invalid', `sysctl ${key} needs /proc`)
    p.op(`sysctl ${key} = ${value}`, 'writeFile', [proc, p.text(`sys/${key.replaceAll('.', '/')}`), p.text(value), value.length, 0])
  }
  for (const path of spec.linux.readonlyPaths) p.op(`read-only ${path}`, 'readOnly', [p.text(path)])
  if (spec.linux.maskedPaths.length === 0) return
  const nothing = p.register()
  p.call('open /dev/null', 'openat', [AT.FDCWD, p.text('/dev/null'), O.PATH | O.NOFOLLOW | O.CLOEXEC, 0], { to: nothing })
  for (const path of spec.linux.maskedPaths) p.op(`mask ${path}`, 'mask', [p.text(path), nothing])
  p.call('close /dev/null', 'close', [nothing])
}

interface Pipes {
  readonly goRead: Register
  readonly goWrite: Register
  readonly execRead: Register
  readonly execWrite: Register
}

function syncPipes(p: ProgramBuilder): Pipes {
  const [go, done] = [openPipe(p, 'go pipe'), openPipe(p, 'exec pipe')]
  return { goRead: go.read, goWrite: go.write, execRead: done.read, execWrite: done.write }
}

/** Flags of clone3: namespaces that a process is born into. The cgroup's is entered later, the time's is the parent's to prepare. */
export function birthFlags(linux: OciLinux): number {
  return linux.namespaces.filter((one) => one.path === undefined && one.type !== 'cgroup' && one.type !== 'time').reduce((sum, one) => sum + CLONE_FLAGS[one.type], 0)
}

/** Children get clocks of their own; offsets count until the first of them is there (time_namespaces(7)). */
export function ownClocks(p: ProgramBuilder, linux: OciLinux): void {
  if (!linux.namespaces.some((one) => one.type === 'time' && one.path === undefined)) return
  p.call('children get their own clocks', 'unshare', [CLONE.NEWTIME])
  const text = Object.entries(linux.timeOffsets ?? {}).map(([clock, { secs, nanosecs }]) => `${clock} ${secs} ${nanosecs}\n`).join('')
  if (text !== '') p.op(`clocks: ${text.trim().replaceAll('\n', ', ')}`, 'writeFile', [AT.FDCWD, p.text('/proc/self/timens_offsets'), p.text(text), text.length, 0])
}

/** What root inside may not do for itself. */
function hostUsers(p: ProgramBuilder, plan: StartPlan, opened: OpenedForUsers, pid: Register, go: Register): void {
  p.phase('user namespace')
  const { process, linux } = plan.spec
  writeMaps(p, linux, pid)
  setLimits(p, process, pid)
  if (process.oomScoreAdj !== undefined) {
    const path = p.room(40)
    p.op('path of its out-of-memory score', 'format', [path, 40, p.text('/proc/'), pid, p.text('/oom_score_adj')])
    p.op('out-of-memory score', 'writeFile', [AT.FDCWD, path, p.text(String(process.oomScoreAdj)), String(process.oomScoreAdj).length, 0])
  }
  closeForUsers(p, opened)
  p.op('let it become root inside', 'syncWrite', [go])
}

/** A process that is to wait, all set up, until somebody lets it become the user's program. */
export interface Hold {
  readonly ready: Register
  readonly gate: Register
}

/** What the init does, from its first moment to the user's program. With `hold` it outlives its parent and waits in between. */
export function initSide(p: ProgramBuilder, plan: StartPlan, entry: CgroupEntry, stdio: StdioRegisters | undefined, pipes: Pick<Pipes, 'goRead' | 'goWrite'>, opened: OpenedForUsers | undefined, hold?: Hold): void {
  const { process } = plan.spec
  p.child()
  p.phase('process')
  p.call('own signals', 'rt_sigprocmask', [2, p.bytes(Buffer.alloc(8)), 0, 8])
  if (hold === undefined) p.call('die with the shim', 'prctl', [PR.SET_PDEATHSIG, SIGKILL, 0, 0, 0])
  p.call('close the other end of the go pipe', 'close', [pipes.goWrite])
  enterCgroup(p, entry)
  if (opened !== undefined) {
    p.op('wait for the id maps', 'syncRead', [pipes.goRead])
    becomeRootInside(p)
  }
  joinNamespaces(p, plan, true)
  if (plan.spec.linux.namespaces.some((one) => one.type === 'cgroup' && one.path === undefined)) p.call('own cgroup namespace', 'unshare', [CLONE.NEWCGROUP])
  if (opened === undefined) {
    if (process.oomScoreAdj !== undefined) p.op('out-of-memory score', 'writeFile', [AT.FDCWD, p.text('/proc/self/oom_score_adj'), p.text(String(process.oomScoreAdj)), String(process.oomScoreAdj).length, 0])
    setLimits(p, process, 0)
  }
  p.call('new session', 'setsid', [])
  p.call('new session keyring', 'keyctl', [1, 0, 0, 0, 0], { ignore: true })
  const proc = enterRoot(p, plan, stdio, opened)
  p.phase('process')
  p.op('wait for the host’s side', 'syncRead', [pipes.goRead])
  insideNetwork(p, plan, proc)
  lockDown(p, plan, proc)
  p.phase('process')
  if (stdio !== undefined) placeStdio(p, process, stdio)
  p.call('descriptors close on exec', 'close_range', [3, 0xffffffff, 4])
  p.call(`go to ${process.cwd}`, 'chdir', [p.text(process.cwd)])
  if (hold !== undefined) {
    findProgram(p, process)
    p.op('ready', 'syncWrite', [hold.ready])
    p.call('close the ready pipe', 'close', [hold.ready])
    p.op('wait for the start', 'syncRead', [hold.gate])
  }
  becomeUser(p, process, plan.spec.linux.seccomp, plan.lastCapability, hold === undefined)
  if (plan.init) p.op('stay as the reaper', 'init', [])
  execute(p, process)
}

/** Ends a process that may not be there yet (0), and reaps it. */
export function endProcess(p: ProgramBuilder, pid: Register): void {
  const nobody = p.label()
  p.op('is there a process', 'jumpIfZero', [pid, nobody])
  p.call('kill it', 'kill', [pid, SIGKILL], { ignore: true })
  p.call('reap it', 'wait4', [pid, 0, 0, 0], { ignore: true })
  p.place(nobody)
}

export function undo(p: ProgramBuilder, plan: StartPlan, pid: Register): void {
  p.phase('undo')
  endProcess(p, pid)
  for (const directory of plan.cgroup.directories) p.call(`remove ${directory.path}`, 'rmdir', [p.text(directory.path)], { ignore: true })
  p.call('remove the socket', 'unlink', [p.text(plan.socketPath)], { ignore: true })
}

function afterExit(p: ProgramBuilder, plan: StartPlan, oom: { readonly blob: number; readonly length: number }): { readonly onExit: Label; readonly cleanUp: Label } {
  const onExit = p.label()
  const cleanUp = p.label()
  p.phase('exit')
  p.place(onExit)
  const own = plan.spec.linux.namespaces.some((one) => one.type === 'pid' && one.path === undefined)
  if (!own && plan.cgroup.unified !== undefined) p.op('end what is left', 'writeFile', [AT.FDCWD, p.text(`${plan.cgroup.unified}/cgroup.kill`), p.text('1'), 1, 0], { ignore: true })
  if (plan.cgroup.oomFile !== undefined) p.op('read the out-of-memory counters', 'readFile', [AT.FDCWD, p.text(plan.cgroup.oomFile), oom, OOM_BYTES - 1], { ignore: true })
  p.op('end', 'end', [])
  p.place(cleanUp)
  for (const register of Object.values(SHIM_REGISTERS)) p.call('let go', 'close', [register], { ignore: true })
  for (const directory of plan.cgroup.directories) p.call(`remove ${directory.path}`, 'rmdir', [p.text(directory.path)], { ignore: true })
  p.op('end', 'end', [])
  return { onExit, cleanUp }
}

/** Writes the program of a start: what the shim does, what the init does, and what happens when it ends. */
export function startProgram(plan: StartPlan): SyscallProgram {
  return syscallProgram((p) => {
    const pid = p.register()
    const failed = p.label()
    const child = p.label()
    p.op('where failures go', 'onFail', [failed])
    p.op('no process yet', 'move', [0], { to: pid })
    p.phase('cgroup')
    makeCgroup(p, plan)
    const entry = openCgroup(p, plan.cgroup)
    attachDevicePolicy(p, plan, entry)
    p.phase('stdio')
    const listener = listenForDaemon(p, plan.socketPath)
    const devpts = plan.spec.mounts.find((mount) => mount.type === 'devpts')
    if (devpts !== undefined) newDevpts(p, devpts, plan.spec.linux, SHIM_REGISTERS.devpts)
    const stdio = openStdio(p, plan.spec.process, plan.stdio)
    giveStdio(p, plan.spec.linux, plan.spec.process, stdio)
    const pipes = syncPipes(p)
    const opened = hasOwnUsers(plan.spec.linux) ? openForUsers(p, plan) : undefined
    p.phase('clone')
    joinNamespaces(p, plan, false)
    ownClocks(p, plan.spec.linux)
    cloneProcess(p, birthFlags(plan.spec.linux), entry, child, pid)
    p.call('close the writing end of the exec pipe', 'close', [pipes.execWrite])
    p.call('close the reading end of the go pipe', 'close', [pipes.goRead])
    // Before it is let go: a short-lived process may be gone the next moment.
    const nsPath = p.room(40)
    p.op('path of its mount namespace', 'format', [nsPath, 40, p.text('/proc/'), pid, p.text('/ns/mnt')])
    p.call('hold its mount namespace', 'openat', [AT.FDCWD, nsPath, O.RDONLY | O.CLOEXEC, 0], { to: SHIM_REGISTERS.mounts })
    p.call('hold the process', 'pidfd_open', [pid, 0], { to: SHIM_REGISTERS.init })
    if (opened !== undefined) hostUsers(p, plan, opened, pid, pipes.goWrite)
    hostNetwork(p, plan, pid)
    p.phase('wait')
    p.op('let the process go on', 'syncWrite', [pipes.goWrite])
    closeCgroup(p, entry)
    closeProcessEnds(p, stdio)
    p.op('wait until it has executed', 'awaitExec', [pipes.execRead])
    p.call('close the exec pipe', 'close', [pipes.execRead])
    p.call('close the go pipe', 'close', [pipes.goWrite])
    p.op('report the start', 'report', [pid])
    const oom = p.room(OOM_BYTES)
    const table = Buffer.concat([processTable(0, pid, plan.spec.process, plan.stdio, stdio), Buffer.alloc(72)])
    const tableAt = p.bytes(table)
    p.op('stay as the shim', 'shim', [tableAt])
    p.place(child)
    initSide(p, plan, entry, stdio, pipes, opened)
    p.place(failed)
    undo(p, plan, pid)
    p.op('end', 'end', [])
    const { onExit, cleanUp } = afterExit(p, plan, oom)
    const tail = [
      (1n << 63n) | BigInt(listener.register),
      BigInt(plan.log === undefined ? 0 : p.text(plan.log.path).blob),
      BigInt(p.text(plan.exitPath).blob),
      BigInt(onExit.at ?? 0),
      BigInt(cleanUp.at ?? 0),
      BigInt(oom.blob),
      BigInt(OOM_BYTES),
      BigInt(plan.log?.maxBytes ?? 0),
      BigInt(plan.log?.maxFiles ?? 0),
    ]
    tail.forEach((value, index) => {
      table.writeBigUInt64LE(value, table.length - 72 + index * 8)
    })
    p.rewrite(tableAt, table)
  })
}
