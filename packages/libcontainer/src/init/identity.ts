import { AT, O, PR, type ProgramBuilder, type Value } from '@gantry/linux'
import { EngineError } from '@gantry/std'
import { capabilityMask } from '../capabilities.ts'
import { compileSeccomp, encodeBpf } from '../seccomp/compile.ts'
import type { OciProcess, OciSeccomp, SeccompFlag } from '../spec/oci.ts'

/** `asm-generic/resource.h` */
const RLIMITS: Readonly<Record<string, number>> = {
  RLIMIT_CPU: 0, RLIMIT_FSIZE: 1, RLIMIT_DATA: 2, RLIMIT_STACK: 3, RLIMIT_CORE: 4, RLIMIT_RSS: 5, RLIMIT_NPROC: 6, RLIMIT_NOFILE: 7,
  RLIMIT_MEMLOCK: 8, RLIMIT_AS: 9, RLIMIT_LOCKS: 10, RLIMIT_SIGPENDING: 11, RLIMIT_MSGQUEUE: 12, RLIMIT_NICE: 13, RLIMIT_RTPRIO: 14, RLIMIT_RTTIME: 15,
}
/** `linux/seccomp.h` */
const FILTER_FLAGS: Readonly<Record<SeccompFlag, number>> = { SECCOMP_FILTER_FLAG_TSYNC: 1, SECCOMP_FILTER_FLAG_LOG: 2, SECCOMP_FILTER_FLAG_SPEC_ALLOW: 4 }
const RAISE_AMBIENT = 2
const INFINITY = (1n << 64n) - 1n

/** Limits of resources, while the privilege to raise them is still there. */
export function setLimits(p: ProgramBuilder, process: OciProcess, pid: Value): void {
  for (const limit of process.rlimits) {
    const resource = RLIMITS[limit.type]
    if (resource === undefined) throw new EngineError('invalid', `unknown resource limit ${limit.type}`)
    const value = Buffer.alloc(16)
    value.writeBigUInt64LE(limit.soft < 0 ? INFINITY : BigInt(limit.soft), 0)
    value.writeBigUInt64LE(limit.hard < 0 ? INFINITY : BigInt(limit.hard), 8)
    p.call(`limit ${limit.type}`, 'prlimit64', [pid, resource, p.bytes(value), 0])
  }
}

const filters = new WeakMap<OciSeccomp, Buffer>()

/** Compiled once per profile: 0.5 ms that a start need not pay. */
function filterBytes(profile: OciSeccomp): Buffer {
  let bytes = filters.get(profile)
  if (bytes === undefined) {
    bytes = encodeBpf(compileSeccomp(profile))
    filters.set(profile, bytes)
  }
  return bytes
}

function loadFilter(p: ProgramBuilder, profile: OciSeccomp | undefined): void {
  if (profile === undefined) return
  const bytes = filterBytes(profile)
  p.op('load the system call filter', 'seccomp', [p.bytes(bytes), bytes.length / 8, (profile.flags ?? []).reduce((sum, name) => sum | FILTER_FLAGS[name], 0)])
}

function words(values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 4)
  values.forEach((value, index) => {
    bytes.writeUInt32LE(value >>> 0, index * 4)
  })
  return bytes
}

/**
 * Becomes the user, with just the capabilities that were given. Order: bounding needs SETPCAP; setuid clears effective; ambient
 * needs permitted and inheritable. Without no_new_privs the filter needs SYS_ADMIN and comes first; with it, last.
 */
export function becomeUser(p: ProgramBuilder, process: OciProcess, seccomp: OciSeccomp | undefined, lastCapability: number, dieWithParent = true): void {
  p.phase('identity')
  const { capabilities, user } = process
  if (user.umask !== undefined) p.call(`mask for new files ${user.umask.toString(8)}`, 'umask', [user.umask])
  if (process.noNewPrivileges) p.call('no new privileges', 'prctl', [PR.SET_NO_NEW_PRIVS, 1, 0, 0, 0])
  else loadFilter(p, seccomp)
  const bounding = capabilityMask(capabilities.bounding)
  for (let number = 0; number <= lastCapability; number++) {
    if (((bounding >> BigInt(number)) & 1n) === 0n) p.call(`drop capability ${number} from the bounding set`, 'prctl', [PR.CAPBSET_DROP, number, 0, 0, 0])
  }
  p.call('keep capabilities over the change of user', 'prctl', [PR.SET_KEEPCAPS, 1, 0, 0, 0])
  if (user.uid !== 0) for (const fd of [0, 1, 2]) p.call(`owner of descriptor ${fd}`, 'fchown', [fd, user.uid, -1], { ignore: true })
  p.call(`groups ${user.additionalGids.join(' ')}`, 'setgroups', [user.additionalGids.length, p.bytes(words(user.additionalGids))])
  p.call(`group ${user.gid}`, 'setresgid', [user.gid, user.gid, user.gid])
  p.call(`user ${user.uid}`, 'setresuid', [user.uid, user.uid, user.uid])
  p.call('keep them no longer', 'prctl', [PR.SET_KEEPCAPS, 0, 0, 0, 0])
  const [effective, permitted, inheritable] = [capabilities.effective, capabilities.permitted, capabilities.inheritable].map(capabilityMask) as [bigint, bigint, bigint]
  const halves = [0n, 32n].flatMap((shift) => [effective, permitted, inheritable].map((mask) => Number((mask >> shift) & 0xffffffffn)))
  p.call('capabilities', 'capset', [p.bytes(words([0x20080522, 0])), p.bytes(words(halves))])
  for (const name of capabilities.ambient) p.call(`ambient ${name}`, 'prctl', [PR.CAP_AMBIENT, RAISE_AMBIENT, Math.log2(Number(capabilityMask([name]))), 0, 0])
  if (dieWithParent) p.call('die with the shim', 'prctl', [PR.SET_PDEATHSIG, 9, 0, 0, 0])
  p.op('the working directory lies inside', 'checkCwd', [])
  if (process.noNewPrivileges) loadFilter(p, seccomp)
}

const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

const X_OK = 1

/** Fails now, not at the start, when the program is not there or may not be executed. */
export function findProgram(p: ProgramBuilder, process: OciProcess): void {
  const found = p.label()
  const candidates = programPaths(process)
  candidates.forEach((path, index) => {
    if (index === candidates.length - 1) {
      p.call(`exec: ${JSON.stringify(process.args[0] ?? '')}`, 'faccessat', [AT.FDCWD, p.text(path), X_OK, 0])
      return
    }
    p.scoped(() => {
      const result = p.register()
      p.call(`look for ${path}`, 'faccessat', [AT.FDCWD, p.text(path), X_OK, 0], { to: result, ignore: true })
      p.op('it is there', 'jumpIfZero', [result, found])
    })
  })
  p.place(found)
  if (candidates.length > 1) return
  p.scoped(() => {
    const fd = p.register()
    // Of what is there, only a directory cannot be opened like this.
    p.call(`exec: ${JSON.stringify(process.args[0] ?? '')}`, 'openat', [AT.FDCWD, p.text(candidates[0] ?? ''), O.RDONLY | O.CREAT | O.NONBLOCK | O.NOCTTY | O.CLOEXEC, 0], { to: fd })
    p.call('close it', 'close', [fd])
  })
}

function programPaths(process: OciProcess): readonly string[] {
  const [name = ''] = process.args
  const path = process.env.findLast((entry) => entry.startsWith('PATH='))?.slice('PATH='.length) ?? DEFAULT_PATH
  return name.includes('/') || name === '' ? [name] : path.split(':').map((directory) => `${directory === '' ? '.' : directory}/${name}`)
}

/** The last op: the user's program, looked up in the container's PATH as execvp does. */
export function execute(p: ProgramBuilder, process: OciProcess): void {
  p.phase('exec')
  const [name = ''] = process.args
  const candidates = programPaths(process)
  p.op(`exec: ${JSON.stringify(name)}`, 'exec', [p.strings(candidates), candidates.length, p.pointers(process.args), process.args.length, p.pointers(process.env), process.env.length])
}
