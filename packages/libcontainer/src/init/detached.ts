import { AT, batch, CLONE, link, O, type ProgramBuilder, type Register, SOCKET, SOCKET_ADDRESS_BYTES, socketAddress, type SyscallProgram, syscallProgram } from '@gantry/linux'
import { EngineError } from '@gantry/std'
import type { OciProcess, OciSpec } from '../spec/oci.ts'
import { execSide } from './exec.ts'
import { newDevpts } from './mounts.ts'
import type { HookState, RootMount, StartPlan } from './plan.ts'
import { SHIM_REGISTERS } from './registers.ts'
import { attachDevicePolicy, cloneProcess, closeCgroup, makeCgroup, openCgroup } from './cgroup.ts'
import { holdNamespaces, initSide } from './init-side.ts'
import { birthFlags, endProcess, hostHooks, hostUsers, ownClocks, undo } from './start.ts'
import { openPipe, openTerminal, type StdioRegisters } from './stdio.ts'
import { enterUsers, hasOwnUsers, openAhead } from './user-namespace.ts'

const S_IFIFO = 0o010000

/** A container without a shim: whoever asks inherits its process, and its standard streams are the asker's. */
export interface DetachedPlan {
  readonly spec: OciSpec
  readonly root: RootMount
  readonly mountPoint: string
  readonly cgroup: StartPlan['cgroup']
  /** A FIFO; one byte in it lets the created process go on. */
  readonly gatePath: string
  readonly hookState: HookState
  readonly keepKeyring: boolean
  readonly noPivot: boolean
  readonly preserveFds: number
  /** Where the terminal's master goes (SCM_RIGHTS); needed with a terminal and only then. */
  readonly consoleSocket: string | undefined
  readonly lastCapability: number
}

/** A further process in a container without a shim. */
export interface DetachedExecPlan {
  readonly spec: OciSpec
  readonly process: OciProcess
  /** The container's init, on the host. */
  readonly initPid: number
  readonly preserveFds: number
  readonly cgroup: StartPlan['cgroup']
  readonly consoleSocket: string | undefined
  readonly lastCapability: number
}

/** Hands the master of a new terminal to who asked for it. */
function terminalFor(p: ProgramBuilder, process: OciProcess, socketPath: string | undefined): StdioRegisters | undefined {
  if (!process.terminal) {
    if (socketPath !== undefined) throw new EngineError('invalid', 'cannot use console socket if the process has no terminal')
    return undefined
  }
  if (socketPath === undefined) throw new EngineError('invalid', 'cannot allocate tty if no console socket is given')
  const { master, slave } = openTerminal(p, process)
  p.scoped(() => {
    const socket = p.register()
    const name = '/dev/pts/ptmx'
    p.call('socket for the terminal', 'socket', [SOCKET.UNIX, SOCKET.STREAM | SOCKET.CLOEXEC, 0], { to: socket })
    p.call(`dial ${socketPath}`, 'connect', [socket, p.bytes(socketAddress(socketPath)), SOCKET_ADDRESS_BYTES])
    p.op('send the terminal', 'sendFd', [socket, master, p.text(name), name.length])
    p.call('close the socket', 'close', [socket])
  })
  p.call('close the terminal’s master', 'close', [master])
  return { shim: { out: master }, process: { in: slave, out: slave, err: slave }, streams: [] }
}

function answerWith(p: ProgramBuilder, pid: Register): void {
  const answer = p.room(8)
  p.op('its pid', 'store', [answer, pid, 8])
  p.op('answer with it', 'out', [answer, 8])
}

/** Sets a container up as far as its own program; the program's output is the pid on the host. */
export function createProgram(plan: DetachedPlan): SyscallProgram {
  const { spec } = plan
  const ownNetwork = spec.linux.namespaces.some((one) => one.type === 'network' && one.path === undefined)
  const start: StartPlan = { ...plan, network: { host: [], inside: ownNetwork ? [batch('loopback', [link.setLinkUp(1)])] : [], sysctls: [] }, stdio: { openStdin: false, stdinOnce: false, streams: [] }, socketPath: '', exitPath: '', init: false }
  return syscallProgram((p) => {
    const pid = p.register()
    const [failed, child] = [p.label(), p.label()]
    p.op('where failures go', 'onFail', [failed])
    p.op('no process yet', 'move', [0], { to: pid })
    p.phase('cgroup')
    makeCgroup(p, start)
    const entry = openCgroup(p, plan.cgroup)
    attachDevicePolicy(p, start, entry)
    p.phase('stdio')
    const devpts = spec.mounts.find((mount) => mount.type === 'devpts')
    if (devpts !== undefined) newDevpts(p, devpts, spec.linux, SHIM_REGISTERS.devpts)
    const stdio = terminalFor(p, spec.process, plan.consoleSocket)
    const gate = p.register()
    p.call('make the gate', 'mknodat', [AT.FDCWD, p.text(plan.gatePath), S_IFIFO | 0o600, 0])
    p.call('open the gate', 'openat', [AT.FDCWD, p.text(plan.gatePath), O.RDWR | O.CLOEXEC, 0], { to: gate })
    const [go, ready] = [openPipe(p, 'go pipe'), openPipe(p, 'ready pipe')]
    const opened = openAhead(p, start)
    p.phase('clone')
    const held = holdNamespaces(p, start)
    ownClocks(p, spec.linux)
    enterUsers(p, spec.linux)
    cloneProcess(p, birthFlags(spec.linux), entry, child, pid)
    p.call('close the writing end of the ready pipe', 'close', [ready.write])
    if (hasOwnUsers(spec.linux)) hostUsers(p, start, pid, go.write)
    hostHooks(p, start, pid, go.write)
    p.op('let the process go on', 'syncWrite', [go.write])
    closeCgroup(p, entry)
    p.phase('wait')
    p.op('wait until it is ready', 'syncRead', [ready.read])
    answerWith(p, pid)
    p.op('end', 'end', [])
    p.place(child)
    initSide(p, start, entry, stdio, { goRead: go.read, goWrite: go.write }, opened, held, { ready: ready.write, gate })
    p.place(failed)
    undo(p, start, pid)
    p.op('end', 'end', [])
  })
}

/** Runs a further process in a container; the output is its pid on the host. */
export function execDetachedProgram(plan: DetachedExecPlan): SyscallProgram {
  const { process, spec } = plan
  return syscallProgram((p) => {
    const pid = p.register()
    const init = p.register()
    const [failed, child] = [p.label(), p.label()]
    p.op('where failures go', 'onFail', [failed])
    p.op('no process yet', 'move', [0], { to: pid })
    p.phase('cgroup')
    const entry = openCgroup(p, plan.cgroup)
    p.call('hold the init', 'pidfd_open', [plan.initPid, 0], { to: init })
    p.phase('stdio')
    if (process.terminal) p.call('the container’s devpts', 'openat', [AT.FDCWD, p.text(`/proc/${plan.initPid}/root/dev/pts`), O.PATH | O.DIRECTORY | O.CLOEXEC, 0], { to: SHIM_REGISTERS.devpts })
    const stdio = terminalFor(p, process, plan.consoleSocket)
    const done = openPipe(p, 'exec pipe')
    p.phase('clone')
    if (spec.linux.namespaces.some((one) => one.type === 'pid')) p.call('children go into its pid namespace', 'setns', [init, CLONE.NEWPID])
    cloneProcess(p, 0, entry, child, pid)
    p.call('close the writing end of the exec pipe', 'close', [done.write])
    closeCgroup(p, entry)
    p.op('wait until it has executed', 'awaitExec', [done.read])
    answerWith(p, pid)
    p.op('end', 'end', [])
    p.place(child)
    execSide(p, plan, entry, stdio, init, false)
    p.place(failed)
    p.phase('undo')
    endProcess(p, pid)
  })
}
