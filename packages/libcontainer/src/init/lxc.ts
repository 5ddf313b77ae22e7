import { AT, CLONE, O, PR, type ProgramBuilder, type Register, SIGNALS, type SyscallProgram, syscallProgram, TIO } from '@gantry/linux'
import { watchMemory } from './cgroup.ts'
import { HOST_ENVIRONMENT, runProgram } from './child.ts'
import { networkInside } from './external.ts'
import { holdDevpts } from './mounts.ts'
import { hostNetwork } from './network.ts'
import type { StartPlan } from './plan.ts'
import { SHIM_REGISTERS } from './registers.ts'
import { mountRoot, ownMounts } from './rootfs.ts'
import { endProcess, listenForDaemon, shimTail, undo } from './start.ts'
import { closeProcessEnds, dialStreams, openStdio, processTable, setSize, type StdioRegisters } from './stdio.ts'
import { placeMounts } from './trees.ts'

const S_IFIFO = 0o010000
const NUMBER_BYTES = 64
const POLLIN = 1

/** A container whose inside LXC builds from a generated configuration. */
export interface LxcPlan extends StartPlan {
  readonly id: string
  /** The program `lxc-start`. */
  readonly lxcStart: string
  /** Where the configuration, the log and the gate lie. */
  readonly bundle: string
  /** What lxc-start is to run: a program of ours that waits at the gate, then becomes the user's. */
  readonly command: readonly string[]
  /** Cgroups of LXC's own monitor; removed with the container's. */
  readonly monitorCgroups: readonly string[]
}

/** A terminal of the host's devpts: LXC hands its own streams on. */
function hostTerminal(p: ProgramBuilder, plan: LxcPlan): StdioRegisters {
  const streams = dialStreams(p, plan.stdio)
  const [master, slave] = [p.register(), p.register()]
  p.call('open a terminal', 'openat', [AT.FDCWD, p.text('/dev/ptmx'), O.RDWR | O.NOCTTY | O.CLOEXEC, 0], { to: master })
  p.call('unlock the terminal', 'ioctl', [master, TIO.CSPTLCK, p.bytes(Buffer.alloc(4))])
  p.call('open its other side', 'ioctl', [master, TIO.CGPTPEER, O.RDWR | O.NOCTTY | O.CLOEXEC], { to: slave })
  setSize(p, plan.spec.process, slave)
  return { shim: { in: master, out: master }, process: { in: slave, out: slave, err: slave }, streams }
}

function launch(p: ProgramBuilder, plan: LxcPlan, stdio: StdioRegisters, monitor: Register): void {
  const [begin, on] = [p.label(), p.label()]
  const args = [plan.lxcStart, '-n', plan.id, '-P', `${plan.bundle}/lxc`, '-f', `${plan.bundle}/lxc.conf`, '-F', '-l', 'ERROR', '-o', `${plan.bundle}/runtime.log`, '--', ...plan.command]
  p.op('start lxc-start', 'fork', [begin], { to: monitor })
  p.op('go on', 'jump', [on])
  p.place(begin)
  p.call('own signals', 'rt_sigprocmask', [2, p.bytes(Buffer.alloc(8)), 0, 8])
  p.call('die with the shim', 'prctl', [PR.SET_PDEATHSIG, SIGNALS['KILL'] ?? 9, 0, 0, 0])
  for (const [fd, end] of [stdio.process.in, stdio.process.out, stdio.process.err].entries()) p.call(`descriptor ${fd}`, 'dup3', [end, fd, 0])
  p.op(`lxc-start: ${plan.lxcStart}`, 'exec', [p.strings([plan.lxcStart]), 1, p.pointers(args), args.length, p.pointers(HOST_ENVIRONMENT), HOST_ENVIRONMENT.length])
  p.place(on)
}

/** The container's first process opens it, whoever it runs as; the directory around it is root's alone. */
function openFifo(p: ProgramBuilder, path: string, to: Register): void {
  p.call(`make ${path}`, 'mknodat', [AT.FDCWD, p.text(path), S_IFIFO | 0o600, 0])
  p.call('for every user', 'fchmodat', [AT.FDCWD, p.text(path), 0o666])
  p.call('open it', 'openat', [AT.FDCWD, p.text(path), O.RDWR | O.NONBLOCK | O.CLOEXEC, 0], { to })
}

/** Until the first process says that it is there, or lxc-start has ended. */
function awaitFirst(p: ProgramBuilder, ready: Register, monitor: Register): void {
  p.scoped(() => {
    const held = p.register()
    const polled = Buffer.alloc(16)
    polled.writeInt16LE(POLLIN, 4)
    polled.writeInt16LE(POLLIN, 12)
    const blob = p.bytes(polled)
    p.call('hold lxc-start', 'pidfd_open', [monitor, 0], { to: held })
    p.op('the FIFO', 'store', [blob, ready, 4])
    p.op('and the process', 'store', [{ blob: blob.blob + 8, length: 8 }, held, 4])
    p.call('wait for the container', 'ppoll', [blob, 2, 0, 0, 0])
    p.call('let go of lxc-start', 'close', [held])
    p.call('LXC has started the container', 'read', [ready, p.room(8), 1])
  })
}

/** LXC writes them once /proc/sys is read-only already: a child that has joined its namespaces does so through the host's procfs. */
function settings(p: ProgramBuilder, plan: LxcPlan): void {
  const entries = Object.entries(plan.spec.linux.sysctl)
  if (entries.length === 0) return
  runProgram(p, 'settings of the container', {
    inside: () => {
      const proc = p.register()
      p.call('open the procfs', 'openat', [AT.FDCWD, p.text('/proc'), O.PATH | O.DIRECTORY | O.CLOEXEC, 0], { to: proc })
      p.call('join its namespaces', 'setns', [SHIM_REGISTERS.init, CLONE.NEWNET | CLONE.NEWIPC | CLONE.NEWUTS])
      for (const [key, value] of entries) p.op(`sysctl ${key} = ${value}`, 'writeFile', [proc, p.text(`sys/${key.replaceAll('.', '/')}`), p.text(value), value.length, 0])
    },
  })
}

/** The only child of LXC's monitor is the container's init. */
function findInit(p: ProgramBuilder, monitor: Register, pid: Register): void {
  const [path, number] = [p.room(96), p.room(NUMBER_BYTES)]
  const tail = p.room(48)
  p.op('path of its children', 'format', [tail, 48, p.text('/task/'), monitor, p.text('/children')])
  p.op('path of its children', 'format', [path, 96, p.text('/proc/'), monitor, tail])
  p.op('the children of lxc-start', 'readFile', [AT.FDCWD, path, number, NUMBER_BYTES - 1])
  p.op('LXC has started the container', 'parse', [number], { to: pid })
}

/** Writes the program of a start by LXC. Its monitor is ended once the container is there: the shim is the monitor here, and only a parent learns how a process ends. */
export function lxcProgram(plan: LxcPlan): SyscallProgram {
  return syscallProgram((p) => {
    const [pid, monitor, gate, ready] = [p.register(), p.register(), p.register(), p.register()]
    const failed = p.label()
    p.op('where failures go', 'onFail', [failed])
    for (const one of [pid, monitor]) p.op('no process yet', 'move', [0], { to: one })
    for (const unused of [SHIM_REGISTERS.devpts, SHIM_REGISTERS.mounts]) p.op('nothing is held here', 'move', [-1], { to: unused, ignore: true })
    p.phase('stdio')
    const listener = listenForDaemon(p, plan.socketPath)
    openFifo(p, `${plan.bundle}/gate`, gate)
    openFifo(p, `${plan.bundle}/ready`, ready)
    const stdio = plan.spec.process.terminal ? hostTerminal(p, plan) : openStdio(p, plan.spec.process, plan.stdio)
    p.phase('mounts')
    ownMounts(p)
    p.scoped(() => mountRoot(p, plan, p.register()))
    placeMounts(p, plan, plan.bundle)
    p.phase('lxc')
    launch(p, plan, stdio, monitor)
    closeProcessEnds(p, stdio)
    awaitFirst(p, ready, monitor)
    findInit(p, monitor, pid)
    p.call('hold the process', 'pidfd_open', [pid, 0], { to: SHIM_REGISTERS.init })
    const lacking = watchMemory(p, plan)
    hostNetwork(p, plan, pid)
    networkInside(p, plan, pid)
    settings(p, plan)
    p.phase('lxc')
    endProcess(p, monitor)
    p.op('it is gone', 'move', [0], { to: monitor })
    holdDevpts(p, pid)
    p.op('let it go on', 'syncWrite', [gate])
    for (const fd of [gate, ready]) p.call('close it', 'close', [fd])
    p.op('report the start', 'report', [pid])
    const tidy = (): void => {
      for (const path of plan.monitorCgroups) p.call(`remove ${path}`, 'rmdir', [p.text(path)], { ignore: true })
    }
    shimTail(p, plan, { pid, listener, lacking, table: processTable(0, pid, plan.spec.process, plan.stdio, stdio), cleanUp: tidy }, () => {
      p.place(failed)
      endProcess(p, monitor)
      if (plan.cgroup.unified !== undefined) p.op('end what it has left', 'writeFile', [AT.FDCWD, p.text(`${plan.cgroup.unified}/cgroup.kill`), p.text('1'), 1, 0], { ignore: true })
      tidy()
      undo(p, plan, pid)
      p.op('end', 'end', [])
    })
  })
}

