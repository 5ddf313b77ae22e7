import { AT, CLONE, O, PR, type ProgramBuilder, type Register, type SyscallProgram, syscallProgram } from '@gantry/linux'
import { type CgroupEntry, cloneProcess, closeCgroup, enterCgroup, prepareCgroup } from './cgroup.ts'
import { awaitWell, HOST_ENVIRONMENT } from './child.ts'
import { CRIU_FLAGS, type ExternalMounts, keyOf } from './dump.ts'
import { networkInside } from './external.ts'
import { holdDevpts } from './mounts.ts'
import { hostNetwork } from './network.ts'
import type { StartPlan } from './plan.ts'
import { SHIM_REGISTERS } from './registers.ts'
import { mountRoot, ownMounts } from './rootfs.ts'
import { endProcess, listenForDaemon, shimTail, undo } from './start.ts'
import { closeProcessEnds, openStdio, processTable, type StdioRegisters } from './stdio.ts'

const SIGCHLD = 17
const CLONE_ARGS_BYTES = 88
const NUMBER_BYTES = 32
/** Where CRIU finds what it inherits: numbers that nothing else has. */
const FIRST_FD = 200
/** A start that goes on where a dump ended. */
export interface RestorePlan extends StartPlan {
  readonly criu: string
  readonly directory: string
  readonly external: ExternalMounts
  /** What descriptors 0 to 2 were: `pipe:[123]`, or a path. */
  readonly descriptors: readonly string[]
}

/** A process in a new network namespace that waits, so that links can be led into it. */
function holdNetwork(p: ProgramBuilder, to: Register): void {
  const [child, on] = [p.label(), p.label()]
  const args = Buffer.alloc(CLONE_ARGS_BYTES)
  args.writeBigUInt64LE(BigInt(CLONE.NEWNET), 0)
  args.writeBigUInt64LE(BigInt(SIGCHLD), 32)
  p.op('clone a holder of the network namespace', 'clone', [p.bytes(args), CLONE_ARGS_BYTES, child], { to })
  p.op('go on', 'jump', [on])
  p.place(child)
  p.call('the holder dies with the shim', 'prctl', [PR.SET_PDEATHSIG, 9, 0, 0, 0])
  p.call('the holder waits', 'ppoll', [0, 0, 0, 0, 0])
  p.op('the holder ends', 'end', [])
  p.place(on)
}

function criuArgs(plan: RestorePlan, ownNetwork: boolean): readonly string[] {
  const inherited = plan.descriptors.flatMap((name, fd) => (name.startsWith('pipe:') ? ['--inherit-fd', `fd[${FIRST_FD + fd}]:${name}`] : []))
  return [
    plan.criu, 'restore', '--images-dir', plan.directory, '--work-dir', plan.directory, '--log-file', 'restore.log', ...CRIU_FLAGS, '--root', plan.mountPoint, '--restore-detached', '--restore-sibling', '--pidfile', `${plan.directory}/pid`,
    ...inherited, ...(ownNetwork ? ['--inherit-fd', `fd[${FIRST_FD + 3}]:network`] : []),
    ...plan.external.flatMap(([destination, source]) => ['--external', `mnt[${keyOf(destination)}]:${source}`]),
  ]
}

function runCriu(p: ProgramBuilder, plan: RestorePlan, entry: CgroupEntry, stdio: StdioRegisters, network: Register | undefined): void {
  const [child, begin, on] = [p.register(), p.label(), p.label()]
  const args = criuArgs(plan, network !== undefined)
  cloneProcess(p, 0, entry, begin, child)
  p.op('go on', 'jump', [on])
  p.place(begin)
  p.call('own signals', 'rt_sigprocmask', [2, p.bytes(Buffer.alloc(8)), 0, 8])
  // What CRIU makes is born where CRIU is.
  enterCgroup(p, entry)
  for (const [fd, end] of [stdio.process.in, stdio.process.out, stdio.process.err, ...(network ? [network] : [])].entries()) p.call(`descriptor ${FIRST_FD + fd}`, 'dup3', [end, FIRST_FD + fd, 0])
  p.op(`criu restore: ${plan.criu}`, 'exec', [p.strings([plan.criu]), 1, p.pointers(args), args.length, p.pointers(HOST_ENVIRONMENT), HOST_ENVIRONMENT.length])
  p.place(on)
  awaitWell(p, 'criu restore', child)
}

/** Writes the program of a start from a dump: cgroups, network, layers and streams are made as for any start, and CRIU puts the processes into them. */
export function restoreProgram(plan: RestorePlan): SyscallProgram {
  const ownNetwork = plan.spec.linux.namespaces.some((one) => one.type === 'network')
  return syscallProgram((p) => {
    const [pid, holder] = [p.register(), p.register()]
    const failed = p.label()
    p.op('where failures go', 'onFail', [failed])
    for (const one of [pid, holder]) p.op('no process yet', 'move', [0], { to: one })
    for (const unused of [SHIM_REGISTERS.devpts, SHIM_REGISTERS.mounts]) p.op('nothing is held here', 'move', [-1], { to: unused, ignore: true })
    p.phase('cgroup')
    const { entry, lacking } = prepareCgroup(p, plan)
    p.phase('stdio')
    const listener = listenForDaemon(p, plan.socketPath)
    const stdio = openStdio(p, plan.spec.process, plan.stdio)
    p.phase('network')
    const network = ownNetwork ? p.register() : undefined
    if (network !== undefined) {
      holdNetwork(p, holder)
      hostNetwork(p, plan, holder)
      networkInside(p, plan, holder)
      const path = p.room(40)
      p.op('path of its network namespace', 'format', [path, 40, p.text('/proc/'), holder, p.text('/ns/net')])
      p.call('hold its network namespace', 'openat', [AT.FDCWD, path, O.RDONLY | O.CLOEXEC, 0], { to: network })
    }
    p.phase('mounts')
    ownMounts(p)
    p.scoped(() => mountRoot(p, plan, p.register()))
    p.phase('criu')
    runCriu(p, plan, entry, stdio, network)
    const number = p.room(NUMBER_BYTES)
    p.op('read its pid', 'readFile', [AT.FDCWD, p.text(`${plan.directory}/pid`), number, NUMBER_BYTES - 1])
    p.op('its pid', 'parse', [number], { to: pid })
    p.call('hold the process', 'pidfd_open', [pid, 0], { to: SHIM_REGISTERS.init })
    holdDevpts(p, pid)
    endProcess(p, holder)
    p.op('the holder is gone', 'move', [0], { to: holder })
    if (network !== undefined) p.call('close it', 'close', [network])
    closeCgroup(p, entry)
    closeProcessEnds(p, stdio)
    p.op('report the start', 'report', [pid])
    shimTail(p, plan, { pid, listener, lacking, table: processTable(0, pid, plan.spec.process, plan.stdio, stdio), cleanUp: () => undefined }, () => {
      p.place(failed)
      endProcess(p, holder)
      undo(p, plan, pid)
      p.op('end', 'end', [])
    })
  })
}
