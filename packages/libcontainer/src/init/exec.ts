import { CLONE, PR, type ProgramBuilder, type Register, type SyscallProgram, syscallProgram } from '@gantry/linux'
import { openHostProc, setAffinity, setAttributes } from './attributes.ts'
import { becomeUser, execute, findProgram, setLimits } from './identity.ts'
import type { ExecPlan } from './plan.ts'
import { SHIM_REGISTERS } from './registers.ts'
import { type CgroupEntry, cloneProcess, closeCgroup, enterCgroup, openCgroup } from './cgroup.ts'
import { endProcess } from './start.ts'
import { giveStdio } from './user-namespace.ts'
import { closeProcessEnds, openPipe, openStdio, placeStdio, processTable, type StdioRegisters } from './stdio.ts'

const FLAGS: Readonly<Record<string, number>> = { network: CLONE.NEWNET, mount: CLONE.NEWNS, ipc: CLONE.NEWIPC, uts: CLONE.NEWUTS, cgroup: CLONE.NEWCGROUP, user: CLONE.NEWUSER, time: CLONE.NEWTIME }

/** What the new process does: it joins everything of the init, then becomes the user's program. Without a shim it inherits its streams and outlives its parent. */
export function execSide(p: ProgramBuilder, plan: Pick<ExecPlan, 'process' | 'spec' | 'lastCapability'> & { readonly preserveFds?: number }, entry: CgroupEntry, stdio: StdioRegisters | undefined, init: Register, hasShim = true): void {
  p.child()
  p.phase('process')
  p.call('own signals', 'rt_sigprocmask', [2, p.bytes(Buffer.alloc(8)), 0, 8])
  p.call('not to be traced from inside', 'prctl', [PR.SET_DUMPABLE, 0, 0, 0, 0])
  const hostProc = openHostProc(p, plan.process)
  setAffinity(p, plan.process.execCPUAffinity?.initial)
  enterCgroup(p, entry)
  setAffinity(p, plan.process.execCPUAffinity?.final)
  setLimits(p, plan.process, 0)
  if (plan.process.oomScoreAdj !== undefined) p.op('out-of-memory score', 'writeFile', [-100, p.text('/proc/self/oom_score_adj'), p.text(String(plan.process.oomScoreAdj)), String(plan.process.oomScoreAdj).length, 0])
  const namespaces = plan.spec.linux.namespaces.reduce((sum, one) => sum + (FLAGS[one.type] ?? 0), 0)
  p.call('join its namespaces', 'setns', [init, namespaces])
  p.call('new session', 'setsid', [])
  p.call('new session keyring', 'keyctl', [1, 0, 0, 0, 0], { ignore: true })
  if (stdio !== undefined) placeStdio(p, plan.process, stdio)
  p.call('descriptors close on exec', 'close_range', [3, 0xffffffff, 4])
  for (let n = 0; n < (plan.preserveFds ?? 0); n++) p.call(`descriptor ${3 + n} is the program’s`, 'dup3', [4 + n, 3 + n, 0])
  p.call(`go to ${plan.process.cwd}`, 'chdir', [p.text(plan.process.cwd)])
  if (!hasShim) findProgram(p, plan.process)
  setAttributes(p, plan.process, plan.spec.linux, hostProc)
  becomeUser(p, plan.process, plan.spec.linux.seccomp, plan.lastCapability, hasShim)
  execute(p, plan.process)
}

/** Writes the program of an exec: the shim makes a child that joins everything of the init, then becomes the process. */
export function execProgram(plan: ExecPlan): SyscallProgram {
  return syscallProgram((p) => {
    const pid = p.register()
    const failed = p.label()
    const child = p.label()
    p.op('where failures go', 'onFail', [failed])
    p.op('no process yet', 'move', [0], { to: pid })
    p.phase('cgroup')
    const entry = openCgroup(p, plan.cgroup)
    p.phase('stdio')
    const stdio = openStdio(p, plan.process, plan.stdio)
    giveStdio(p, plan.spec.linux, plan.process, stdio)
    const { read: execRead, write: execWrite } = openPipe(p, 'exec pipe')
    p.phase('clone')
    // Joining a pid namespace counts for children only; every child of the shim belongs into it.
    p.call('children go into its pid namespace', 'setns', [SHIM_REGISTERS.init, CLONE.NEWPID])
    cloneProcess(p, 0, entry, child, pid)
    p.call('close the writing end of the exec pipe', 'close', [execWrite])
    closeCgroup(p, entry)
    closeProcessEnds(p, stdio)
    p.op('wait until it has executed', 'awaitExec', [execRead])
    p.call('close the exec pipe', 'close', [execRead])
    const answer = p.room(8)
    p.op('its pid', 'store', [answer, pid, 8])
    p.op('answer with it', 'out', [answer, 8])
    p.op('hand it to the shim', 'addProcess', [p.bytes(processTable(plan.execId, pid, plan.process, plan.stdio, stdio))])
    p.op('end', 'end', [])
    p.place(child)
    execSide(p, plan, entry, stdio, SHIM_REGISTERS.init)
    p.place(failed)
    p.phase('undo')
    endProcess(p, pid)
    for (const fd of [stdio.shim.in, stdio.shim.out, stdio.shim.err, ...stdio.streams, execRead]) if (fd !== undefined) p.call('close', 'close', [fd], { ignore: true })
  })
}
