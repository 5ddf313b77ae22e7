import { AT, type Blob, CLONE, O, PR, type ProgramBuilder, type Register } from '@gantry/linux'
import { EngineError } from '@gantry/std'
import type { OciNamespace } from '../spec/oci.ts'
import { openHostProc, setAttributes } from './attributes.ts'
import { type CgroupEntry, enterCgroup } from './cgroup.ts'
import { runHooks } from './hooks.ts'
import { becomeUser, execute, findProgram, setLimits } from './identity.ts'
import { insideNetwork } from './network.ts'
import type { StartPlan } from './plan.ts'
import { enterRoot } from './rootfs.ts'
import { placeStdio, type StdioRegisters } from './stdio.ts'
import { becomeRootInside, hasOwnUsers, type OpenedAhead, recall } from './user-namespace.ts'

/** Flags of clone3(2), unshare(2) and setns(2) by kind. */
export const CLONE_FLAGS: Readonly<Record<OciNamespace['type'], number>> = {
  pid: CLONE.NEWPID, network: CLONE.NEWNET, mount: CLONE.NEWNS, ipc: CLONE.NEWIPC, uts: CLONE.NEWUTS, user: CLONE.NEWUSER, cgroup: CLONE.NEWCGROUP, time: CLONE.NEWTIME,
}
const SIGKILL = 9

/** The pipe on which the process is let go, as it inherits it. */
export interface GoPipe {
  readonly goRead: Register
  readonly goWrite: Register
}

/** Namespaces of others, held by their descriptors; the numbers lie in the program's memory. */
export type HeldNamespaces = ReadonlyMap<OciNamespace, Blob>

/** Opens the namespaces that are joined by their paths, while it may still be done; those that count for children only are joined now. */
export function holdNamespaces(p: ProgramBuilder, plan: StartPlan): HeldNamespaces {
  const held = new Map<OciNamespace, Blob>()
  for (const namespace of plan.spec.linux.namespaces) {
    const { path, type } = namespace
    if (path === undefined || type === 'user') continue
    p.scoped(() => {
      const fd = p.register()
      p.call(`open ${type} namespace ${path}`, 'openat', [AT.FDCWD, p.text(path), O.RDONLY | O.CLOEXEC, 0], { to: fd })
      if (type === 'pid' || type === 'time') {
        p.call(`join the ${type} namespace`, 'setns', [fd, CLONE_FLAGS[type]])
        p.call('close it', 'close', [fd])
      } else {
        const slot = p.room(8)
        p.op('remember it', 'store', [slot, fd, 4])
        held.set(namespace, slot)
      }
    })
  }
  return held
}

/** In the process: joins what is held for it. */
function joinNamespaces(p: ProgramBuilder, held: HeldNamespaces): void {
  for (const [{ type }, slot] of held) {
    p.scoped(() => {
      const fd = recall(p, slot)
      p.call(`join the ${type} namespace`, 'setns', [fd, CLONE_FLAGS[type]])
      p.call('close it', 'close', [fd])
    })
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

/** Hooks of the host's side, once the namespaces are there and before their mounts are. */
export function beforeMounts(plan: StartPlan): boolean {
  const { hooks } = plan.spec
  return (hooks?.prestart?.length ?? 0) + (hooks?.createRuntime?.length ?? 0) > 0
}

/** A process that is to wait, all set up, until somebody lets it become the user's program. */
export interface Hold {
  readonly ready: Register
  readonly gate: Register
}

/** Standard input from the container's own /dev/null: a file of the host's would be from nowhere in there. */
function ownNothing(p: ProgramBuilder): void {
  const fd = p.register()
  p.call('its own /dev/null', 'openat', [AT.FDCWD, p.text('/dev/null'), O.RDONLY | O.CLOEXEC, 0], { to: fd, ignore: true })
  p.call('as standard input', 'dup3', [fd, 0, 0], { ignore: true })
  p.call('close it', 'close', [fd], { ignore: true })
}

/** What the init does, from its first moment to the user's program. With `hold` it outlives its parent and waits in between. */
export function initSide(p: ProgramBuilder, plan: StartPlan, entry: CgroupEntry, stdio: StdioRegisters | undefined, pipes: GoPipe, opened: OpenedAhead, held: HeldNamespaces, hold?: Hold): void {
  const { process, linux, hooks } = plan.spec
  const own = hasOwnUsers(linux)
  p.child()
  p.phase('process')
  p.call('own signals', 'rt_sigprocmask', [2, p.bytes(Buffer.alloc(8)), 0, 8])
  if (hold === undefined) p.call('die with the shim', 'prctl', [PR.SET_PDEATHSIG, SIGKILL, 0, 0, 0])
  p.call('close the other end of the go pipe', 'close', [pipes.goWrite])
  enterCgroup(p, entry)
  const hostProc = openHostProc(p, process)
  if (own) {
    p.op('wait for the id maps', 'syncRead', [pipes.goRead])
    becomeRootInside(p, hold === undefined)
  }
  joinNamespaces(p, held)
  if (linux.namespaces.some((one) => one.type === 'cgroup' && one.path === undefined)) p.call('own cgroup namespace', 'unshare', [CLONE.NEWCGROUP])
  if (!own) {
    if (process.oomScoreAdj !== undefined) p.op('out-of-memory score', 'writeFile', [AT.FDCWD, p.text('/proc/self/oom_score_adj'), p.text(String(process.oomScoreAdj)), String(process.oomScoreAdj).length, 0])
    setLimits(p, process, 0)
  }
  p.call('new session', 'setsid', [])
  if (plan.keepKeyring !== true) p.call('new session keyring', 'keyctl', [1, 0, 0, 0, 0], { ignore: true })
  if (beforeMounts(plan)) p.op('wait for the hooks', 'syncRead', [pipes.goRead])
  const ownPid = p.register()
  if (hooks !== undefined) p.call('its own pid', 'getpid', [], { to: ownPid })
  const proc = enterRoot(p, plan, stdio, opened, () => runHooks(p, 'createContainer', hooks?.createContainer, plan.hookState, 'creating', ownPid))
  p.phase('process')
  p.op('wait for the host’s side', 'syncRead', [pipes.goRead])
  insideNetwork(p, plan, proc)
  lockDown(p, plan, proc)
  p.phase('process')
  if (stdio !== undefined) placeStdio(p, process, stdio)
  if (stdio !== undefined && !process.terminal && !plan.stdio.openStdin) p.scoped(() => ownNothing(p))
  p.call('descriptors close on exec', 'close_range', [3, 0xffffffff, 4])
  for (let n = 0; n < (plan.preserveFds ?? 0); n++) p.call(`descriptor ${3 + n} is the program’s`, 'dup3', [4 + n, 3 + n, 0])
  p.call(`go to ${process.cwd}`, 'chdir', [p.text(process.cwd)])
  setAttributes(p, process, linux, hostProc)
  if (hold !== undefined) {
    findProgram(p, process)
    p.op('ready', 'syncWrite', [hold.ready])
    p.call('close the ready pipe', 'close', [hold.ready])
    p.op('wait for the start', 'syncRead', [hold.gate])
  }
  becomeUser(p, process, linux.seccomp, plan.lastCapability, hold === undefined)
  runHooks(p, 'startContainer', hooks?.startContainer, plan.hookState, 'created', ownPid)
  if (plan.init) p.op('stay as the reaper', 'init', [])
  execute(p, process)
}
