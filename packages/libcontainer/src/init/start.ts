import { AT, CLONE, type Label, O, type ProgramBuilder, type Register, SOCKET, SOCKET_ADDRESS_BYTES, socketAddress, type SyscallProgram, syscallProgram } from '@gantry/linux'
import type { OciLinux } from '../spec/oci.ts'
import { cloneProcess, closeCgroup, prepareCgroup } from './cgroup.ts'
import { runHooks } from './hooks.ts'
import { setLimits } from './identity.ts'
import { beforeMounts, CLONE_FLAGS, type GoPipe, holdNamespaces, initSide } from './init-side.ts'
import { newDevpts } from './mounts.ts'
import { hostNetwork } from './network.ts'
import type { StartPlan } from './plan.ts'
import { SHIM_REGISTERS } from './registers.ts'
import { closeSlots, giveStdio, hasOwnUsers, mapsOf, openAhead, refuseForeignUsers, slotsOf, usersPath, writeMaps } from './user-namespace.ts'
import { closeProcessEnds, openPipe, openStdio, processTable } from './stdio.ts'

const SIGKILL = 9
const OOM_BYTES = 512


/** A listening unix socket. */
export function listenForDaemon(p: ProgramBuilder, path: string): Register {
  const fd = p.register()
  p.call('socket of the shim', 'socket', [SOCKET.UNIX, SOCKET.STREAM | SOCKET.CLOEXEC, 0], { to: fd })
  p.call('bind the socket of the shim', 'bind', [fd, p.bytes(socketAddress(path)), SOCKET_ADDRESS_BYTES])
  p.call('listen', 'listen', [fd, 16])
  return fd
}

interface Pipes extends GoPipe {
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
export function hostUsers(p: ProgramBuilder, plan: StartPlan, pid: Register, go: Register): void {
  p.phase('user namespace')
  const { process, linux } = plan.spec
  if (usersPath(linux) === undefined) writeMaps(p, mapsOf(linux), pid)
  setLimits(p, process, pid)
  if (process.oomScoreAdj !== undefined) {
    const path = p.room(40)
    p.op('path of its out-of-memory score', 'format', [path, 40, p.text('/proc/'), pid, p.text('/oom_score_adj')])
    p.op('out-of-memory score', 'writeFile', [AT.FDCWD, path, p.text(String(process.oomScoreAdj)), String(process.oomScoreAdj).length, 0])
  }
  p.op('let it become root inside', 'syncWrite', [go])
}

export function hostHooks(p: ProgramBuilder, plan: StartPlan, pid: Register, go: Register): void {
  if (!beforeMounts(plan)) return
  p.phase('hooks')
  for (const name of ['prestart', 'createRuntime'] as const) runHooks(p, name, plan.spec.hooks?.[name], plan.hookState, 'creating', pid)
  p.op('let it build its root', 'syncWrite', [go])
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

function afterExit(p: ProgramBuilder, plan: StartPlan, oom: { readonly blob: number; readonly length: number }, tidy: () => void): { readonly onExit: Label; readonly cleanUp: Label } {
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
  tidy()
  p.op('end', 'end', [])
  return { onExit, cleanUp }
}

const NAMED = 1n << 63n
const NONE = (1n << 64n) - 1n
/** Twelve words behind the table of the init. */
const TAIL_BYTES = 96

/** What a shim needs to know of its container. */
export interface ShimTail {
  readonly pid: Register
  readonly listener: Register
  readonly table: Buffer
  /** Readable when memory has run out. */
  readonly lacking?: Register | undefined
  /** Last of all, when the process is gone. */
  readonly cleanUp: () => void
}

/** Bits of the log's format (`LOG_JOURNAL`, `LOG_LOSSY` in log.c). */
const LOG_FORMAT = { journal: 1n, lossy: 2n } as const

/** Stays as the shim (`struct shim_table` in shim.h); `others` writes what is not the shim's, behind it. */
export function shimTail(p: ProgramBuilder, plan: StartPlan, tail: ShimTail, others: () => void): void {
  const oom = p.room(OOM_BYTES)
  const table = Buffer.concat([tail.table, Buffer.alloc(TAIL_BYTES)])
  const tableAt = p.bytes(table)
  p.op('stay as the shim', 'shim', [tableAt])
  others()
  const { onExit, cleanUp } = afterExit(p, plan, oom, tail.cleanUp)
  const words = [
    NAMED | BigInt(tail.listener.register),
    BigInt(plan.log === undefined ? 0 : p.text(plan.log.path).blob),
    BigInt(p.text(plan.exitPath).blob),
    BigInt(onExit.at ?? 0),
    BigInt(cleanUp.at ?? 0),
    BigInt(oom.blob),
    BigInt(OOM_BYTES),
    BigInt(plan.log?.maxBytes ?? 0),
    BigInt(plan.log?.maxFiles ?? 0),
    tail.lacking === undefined ? NONE : NAMED | BigInt(tail.lacking.register),
    (plan.log?.format === 'journal' ? LOG_FORMAT.journal : 0n) | (plan.log?.lossy === true ? LOG_FORMAT.lossy : 0n),
    BigInt(plan.log === undefined || plan.log.attributes === '' ? 0 : p.text(plan.log.attributes).blob),
  ]
  words.forEach((value, index) => {
    table.writeBigUInt64LE(value, table.length - TAIL_BYTES + index * 8)
  })
  p.rewrite(tableAt, table)
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
    const { entry, lacking } = prepareCgroup(p, plan)
    p.phase('stdio')
    const listener = listenForDaemon(p, plan.socketPath)
    const devpts = plan.spec.mounts.find((mount) => mount.type === 'devpts')
    if (devpts !== undefined) newDevpts(p, devpts, plan.spec.linux, SHIM_REGISTERS.devpts)
    const stdio = openStdio(p, plan.spec.process, plan.stdio)
    giveStdio(p, plan.spec.linux, plan.spec.process, stdio)
    const pipes = syncPipes(p)
    refuseForeignUsers(plan.spec.linux)
    const opened = openAhead(p, plan)
    p.phase('clone')
    const held = holdNamespaces(p, plan)
    ownClocks(p, plan.spec.linux)
    cloneProcess(p, birthFlags(plan.spec.linux), entry, child, pid)
    p.call('close the writing end of the exec pipe', 'close', [pipes.execWrite])
    p.call('close the reading end of the go pipe', 'close', [pipes.goRead])
    // Before it is let go: a short-lived process may be gone the next moment.
    const nsPath = p.room(40)
    p.op('path of its mount namespace', 'format', [nsPath, 40, p.text('/proc/'), pid, p.text('/ns/mnt')])
    p.call('hold its mount namespace', 'openat', [AT.FDCWD, nsPath, O.RDONLY | O.CLOEXEC, 0], { to: SHIM_REGISTERS.mounts })
    p.call('hold the process', 'pidfd_open', [pid, 0], { to: SHIM_REGISTERS.init })
    if (hasOwnUsers(plan.spec.linux)) hostUsers(p, plan, pid, pipes.goWrite)
    closeSlots(p, [...slotsOf(opened), ...held.values()])
    hostHooks(p, plan, pid, pipes.goWrite)
    hostNetwork(p, plan, pid)
    p.phase('wait')
    p.op('let the process go on', 'syncWrite', [pipes.goWrite])
    closeCgroup(p, entry)
    closeProcessEnds(p, stdio)
    p.op('wait until it has executed', 'awaitExec', [pipes.execRead])
    p.call('close the exec pipe', 'close', [pipes.execRead])
    p.call('close the go pipe', 'close', [pipes.goWrite])
    runHooks(p, 'poststart', plan.spec.hooks?.poststart, plan.hookState, 'running', pid)
    p.op('report the start', 'report', [pid])
    shimTail(p, plan, { pid, listener, lacking, table: processTable(0, pid, plan.spec.process, plan.stdio, stdio), cleanUp: () => runHooks(p, 'poststop', plan.spec.hooks?.poststop, plan.hookState, 'stopped', pid) }, () => {
      p.place(child)
      initSide(p, plan, entry, stdio, pipes, opened, held)
      p.place(failed)
      undo(p, plan, pid)
      p.op('end', 'end', [])
    })
  })
}
