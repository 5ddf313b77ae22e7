import { AT, CLONE, O, type ProgramBuilder, type Register, SOCKET, SOCKET_ADDRESS_BYTES, socketAddress, type SyscallProgram, syscallProgram } from '@gantry/linux'
import type { OciProcess } from '../spec/oci.ts'
import { watchMemory } from './cgroup.ts'
import { hostNetwork, insideNetwork } from './network.ts'
import type { ExecPlan, StartPlan } from './plan.ts'
import { SHIM_REGISTERS } from './registers.ts'
import { mountRoot, ownMounts } from './rootfs.ts'
import { endProcess, listenForDaemon, shimTail, undo } from './start.ts'
import { closeProcessEnds, dialStreams, openStdio, processTable, setSize, type StdioRegisters } from './stdio.ts'
import { HOST_ENVIRONMENT, runProgram } from './child.ts'
import { placeMounts } from './trees.ts'

const NUMBER_BYTES = 32

/** Another OCI runtime: its command line is the interface (runc's flags). */
export interface ExternalRuntime {
  readonly name: string
  readonly path: string
  /** Given before every verb. */
  readonly args: readonly string[]
  /** Its `--root`. */
  readonly stateRoot: string
}

/** A container whose inside another runtime builds; root, network, streams and log stay ours. */
export interface ExternalPlan extends StartPlan {
  readonly id: string
  /** Where `config.json` lies; the runtime's log and pid file go there. */
  readonly bundle: string
  readonly runtime: ExternalRuntime
}

/** A further process by the same runtime; `processFile` is what its `exec --process` reads. */
export interface ExternalExecPlan extends Pick<ExecPlan, 'process' | 'stdio' | 'execId'> {
  readonly id: string
  readonly bundle: string
  readonly runtime: ExternalRuntime
  readonly processFile: string
}

type Target = Pick<ExternalPlan, 'runtime' | 'bundle' | 'id'>

/** Runs one verb and waits for it. One that makes a container ends with the shim: nobody would know what it still makes. */
function verb(p: ProgramBuilder, target: Target, words: readonly string[], stdio?: StdioRegisters['process']): void {
  const { runtime, bundle } = target
  const args = [runtime.path, ...runtime.args, '--root', runtime.stateRoot, '--log', `${bundle}/runtime.log`, '--log-format', 'json', ...words]
  runProgram(p, `${runtime.name} ${words[0] ?? ''}`, { path: runtime.path, args, env: HOST_ENVIRONMENT, dies: words[0] === 'create' || words[0] === 'start', ...(stdio && { stdio }) })
}

/** A program of one verb alone, for the launcher. */
export function verbProgram(target: Target, words: readonly string[]): SyscallProgram {
  return syscallProgram((p) => verb(p, target, words))
}

interface Console {
  readonly path: string
  readonly listener: Register
}

function openConsole(p: ProgramBuilder, path: string): Console {
  return { path, listener: listenForDaemon(p, path) }
}

/** Takes the terminal that the runtime has made. */
function takeTerminal(p: ProgramBuilder, console: Console, process: OciProcess, master: Register): void {
  p.scoped(() => {
    const connection = p.register()
    p.call('the runtime’s connection', 'accept4', [console.listener, 0, 0, O.CLOEXEC], { to: connection })
    p.op('take the terminal', 'receiveFd', [connection], { to: master })
    p.call('close the connection', 'close', [connection])
    p.call('close the console socket', 'close', [console.listener])
    p.call('remove the console socket', 'unlink', [p.text(console.path)])
    setSize(p, process, master)
  })
}

/** Runs a verb that makes a process, with its streams; gives those and sets the pid. */
function makeProcess(p: ProgramBuilder, target: Target, plan: Pick<ExecPlan, 'process' | 'stdio'>, words: readonly string[], files: { readonly pid: string; readonly console: string }, pid: Register): StdioRegisters {
  const withPid = [...words, '--pid-file', files.pid]
  const number = p.room(NUMBER_BYTES)
  const readPid = (): void => {
    p.op('read its pid', 'readFile', [AT.FDCWD, p.text(files.pid), number, NUMBER_BYTES - 1])
    p.op('its pid', 'parse', [number], { to: pid })
  }
  if (!plan.process.terminal) {
    const stdio = openStdio(p, plan.process, plan.stdio)
    verb(p, target, [...withPid, target.id], stdio.process)
    closeProcessEnds(p, stdio)
    readPid()
    return stdio
  }
  const streams = dialStreams(p, plan.stdio)
  const console = openConsole(p, files.console)
  const master = p.register()
  verb(p, target, [...withPid, '--console-socket', console.path, target.id])
  takeTerminal(p, console, plan.process, master)
  readPid()
  return { shim: { in: master, out: master }, process: { in: master, out: master, err: master }, streams }
}

/** Addresses and routes of a container whose inside somebody else has built: a child goes in. */
export function networkInside(p: ProgramBuilder, plan: StartPlan, pid: Register): void {
  if (plan.network.inside.length === 0) return
  p.phase('network')
  p.scoped(() => {
    const path = p.room(40)
    const [space, proc] = [p.register(), p.register()]
    p.op('path of its network namespace', 'format', [path, 40, p.text('/proc/'), pid, p.text('/ns/net')])
    p.call('open its network namespace', 'openat', [AT.FDCWD, path, O.RDONLY | O.CLOEXEC, 0], { to: space })
    p.call('open the procfs', 'openat', [AT.FDCWD, p.text('/proc'), O.PATH | O.DIRECTORY | O.CLOEXEC, 0], { to: proc })
    runProgram(p, 'network of the container', {
      inside: () => {
        p.call('go into its network namespace', 'setns', [space, CLONE.NEWNET])
        insideNetwork(p, plan, proc)
      },
    })
    for (const fd of [space, proc]) p.call('close it', 'close', [fd])
  })
}

/** Writes the program of a start by another runtime: its process becomes a child of the shim, for that is a subreaper. */
export function externalProgram(plan: ExternalPlan): SyscallProgram {
  return syscallProgram((p) => {
    const pid = p.register()
    const failed = p.label()
    p.op('where failures go', 'onFail', [failed])
    p.op('no process yet', 'move', [0], { to: pid })
    for (const unused of [SHIM_REGISTERS.devpts, SHIM_REGISTERS.mounts]) p.op('nothing is held here', 'move', [-1], { to: unused, ignore: true })
    p.phase('stdio')
    const listener = listenForDaemon(p, plan.socketPath)
    p.phase('mounts')
    ownMounts(p)
    p.scoped(() => mountRoot(p, plan, p.register()))
    placeMounts(p, plan, plan.bundle)
    p.phase(plan.runtime.name)
    const stdio = makeProcess(p, plan, { process: plan.spec.process, stdio: plan.stdio }, ['create', '--bundle', plan.bundle], { pid: `${plan.bundle}/pid`, console: `${plan.bundle}/t` }, pid)
    p.call('hold the process', 'pidfd_open', [pid, 0], { to: SHIM_REGISTERS.init })
    const lacking = watchMemory(p, plan)
    hostNetwork(p, plan, pid)
    networkInside(p, plan, pid)
    p.phase(plan.runtime.name)
    verb(p, plan, ['start', plan.id])
    p.op('report the start', 'report', [pid])
    shimTail(p, plan, { pid, listener, lacking, table: processTable(0, pid, plan.spec.process, plan.stdio, stdio), cleanUp: () => verb(p, plan, ['delete', '--force', plan.id]) }, () => {
      p.place(failed)
      endProcess(p, pid)
      p.op('it is gone', 'move', [0], { to: pid })
      const passed = p.label()
      p.op('whatever comes of it', 'onFail', [passed])
      verb(p, plan, ['delete', '--force', plan.id])
      p.place(passed)
      undo(p, plan, pid)
      p.op('end', 'end', [])
    })
  })
}

/** Writes the program of an exec by another runtime. */
export function externalExecProgram(plan: ExternalExecPlan): SyscallProgram {
  return syscallProgram((p) => {
    const pid = p.register()
    const failed = p.label()
    p.op('where failures go', 'onFail', [failed])
    p.phase(plan.runtime.name)
    const stdio = makeProcess(p, plan, plan, ['exec', '--detach', '--process', plan.processFile], { pid: `${plan.processFile}.pid`, console: `${plan.bundle}/t${plan.execId}` }, pid)
    const answer = p.room(8)
    p.op('its pid', 'store', [answer, pid, 8])
    p.op('answer with it', 'out', [answer, 8])
    p.op('hand it to the shim', 'addProcess', [p.bytes(processTable(plan.execId, pid, plan.process, plan.stdio, stdio))])
    for (const file of [plan.processFile, `${plan.processFile}.pid`]) p.call(`remove ${file}`, 'unlink', [p.text(file)], { ignore: true })
    p.op('end', 'end', [])
    p.place(failed)
    p.phase('undo')
    for (const fd of new Set([stdio.shim.in, stdio.shim.out, stdio.shim.err, stdio.process.in, stdio.process.out, stdio.process.err, ...stdio.streams])) if (fd !== undefined) p.call('close', 'close', [fd], { ignore: true })
  })
}
