import { CLONE, O, PR, type SyscallProgram, syscallProgram } from '@gantry/linux'
import { becomeUser, execute, setLimits } from './identity.ts'
import type { ExecPlan } from './plan.ts'
import { SHIM_REGISTERS } from './registers.ts'
import { cloneProcess, closeCgroup, enterCgroup, openCgroup } from './start.ts'
import { giveStdio } from './user-namespace.ts'
import { closeProcessEnds, openStdio, placeStdio, processTable } from './stdio.ts'

const FLAGS: Readonly<Record<string, number>> = { network: CLONE.NEWNET, mount: CLONE.NEWNS, ipc: CLONE.NEWIPC, uts: CLONE.NEWUTS, cgroup: CLONE.NEWCGROUP, user: CLONE.NEWUSER }

/** Writes the program of an exec: the shim makes a child that joins everything of the init, then becomes the process. */
export function execProgram(plan: ExecPlan): SyscallProgram {
  return syscallProgram((p) => {
    const pid = p.register()
    const [execRead, execWrite] = [p.register(), p.register()]
    const failed = p.label()
    const child = p.label()
    p.op('where failures go', 'onFail', [failed])
    p.op('no process yet', 'move', [0], { to: pid })
    p.phase('cgroup')
    const entry = openCgroup(p, plan.cgroup)
    p.phase('stdio')
    const stdio = openStdio(p, plan.process, plan.stdio)
    giveStdio(p, plan.spec.linux, plan.process, stdio)
    const pair = p.room(8)
    p.call('exec pipe', 'pipe2', [pair, O.CLOEXEC])
    p.op('its reading end', 'load', [pair, 4], { to: execRead })
    p.op('its writing end', 'load', [{ blob: pair.blob + 4, length: 4 }, 4], { to: execWrite })
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
    p.child()
    p.phase('process')
    p.call('own signals', 'rt_sigprocmask', [2, p.bytes(Buffer.alloc(8)), 0, 8])
    p.call('not to be traced from inside', 'prctl', [PR.SET_DUMPABLE, 0, 0, 0, 0])
    enterCgroup(p, entry)
    setLimits(p, plan.process, 0)
    if (plan.process.oomScoreAdj !== undefined) p.op('out-of-memory score', 'writeFile', [-100, p.text('/proc/self/oom_score_adj'), p.text(String(plan.process.oomScoreAdj)), String(plan.process.oomScoreAdj).length, 0])
    const namespaces = plan.spec.linux.namespaces.reduce((sum, one) => sum + (FLAGS[one.type] ?? 0), 0)
    p.call('join its namespaces', 'setns', [SHIM_REGISTERS.init, namespaces])
    p.call('new session', 'setsid', [])
    p.call('new session keyring', 'keyctl', [1, 0, 0, 0, 0], { ignore: true })
    placeStdio(p, plan.process, stdio)
    p.call('descriptors close on exec', 'close_range', [3, 0xffffffff, 4])
    p.call(`go to ${plan.process.cwd}`, 'chdir', [p.text(plan.process.cwd)])
    becomeUser(p, plan.process, plan.spec.linux.seccomp, plan.lastCapability)
    execute(p, plan.process)
    p.place(failed)
    p.phase('undo')
    const nobody = p.label()
    p.op('is there a process', 'jumpIfZero', [pid, nobody])
    p.call('kill it', 'kill', [pid, 9], { ignore: true })
    p.call('reap it', 'wait4', [pid, 0, 0, 0], { ignore: true })
    p.place(nobody)
    for (const fd of [stdio.shim.in, stdio.shim.out, stdio.shim.err, ...stdio.streams, execRead]) if (fd !== undefined) p.call('close', 'close', [fd], { ignore: true })
  })
}
