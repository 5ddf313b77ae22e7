import { statSync } from 'node:fs'
import { EngineError } from '@gantry/std'
import type { CgroupPlan } from '../cgroups/manager.ts'
import type { OciMount, OciSeccomp, OciSpec } from './oci.ts'

/** What a configuration needs beside the specification. */
export interface LxcInput {
  readonly spec: OciSpec
  readonly rootPath: string
  /** Below the top of every hierarchy. */
  readonly cgroupsPath: string
  readonly monitorCgroupsPath: string
  readonly cgroup: CgroupPlan
  readonly seccompPath: string
}

const OWN_MOUNTS: ReadonlySet<string> = new Set(['proc', 'sysfs', 'cgroup', 'devpts'])
const SHARED: Readonly<Record<string, string>> = { pid: 'pid', network: 'net', ipc: 'ipc', uts: 'uts' }

/** Spaces and what ends an entry, as fstab(5) writes them. */
const field = (text: string): string => text.replace(/[\\ \t\n]/g, (c) => `\\${c.charCodeAt(0).toString(8).padStart(3, '0')}`)

function checkLine(text: string): string {
  if (/[\n\0]/.test(text)) throw new EngineError('invalid', `a line break cannot be handed to lxc: ${JSON.stringify(text)}`)
  return text
}

function mountLine(mount: OciMount): string {
  const bind = mount.type === 'bind'
  const create = !bind || statSync(mount.source, { throwIfNoEntry: false })?.isDirectory() === true ? 'create=dir' : 'create=file'
  const options = mount.options.filter((option) => !['rw', 'rprivate', 'private', 'idmap'].includes(option))
  return `lxc.mount.entry = ${field(mount.source)} ${field(mount.destination.replace(/^\/+/, ''))} ${bind ? 'none' : mount.type} ${[...options, create].join(',')} 0 0`
}

/** The filter in LXC's own language (lxc.container.conf(5), SECCOMP CONFIGURATION). */
export function lxcSeccomp(profile: OciSeccomp): string {
  if (profile.defaultAction !== 'SCMP_ACT_ERRNO') throw new EngineError('unsupported', `runtime lxc: seccomp profiles with ${profile.defaultAction} as the default are not supported`)
  const words: Readonly<Record<string, string>> = { SCMP_ACT_ALLOW: 'allow', SCMP_ACT_KILL: 'kill', SCMP_ACT_KILL_THREAD: 'kill', SCMP_ACT_TRAP: 'trap' }
  const lines = profile.syscalls.flatMap((rule) => {
    const action = rule.action === 'SCMP_ACT_ERRNO' ? `errno ${rule.errnoRet ?? 1}` : words[rule.action]
    if (action === undefined) throw new EngineError('unsupported', `runtime lxc: seccomp action ${rule.action} is not supported`)
    const args = (rule.args ?? []).map((arg) => ` [${arg.index},${arg.value},${arg.op}${arg.op === 'SCMP_CMP_MASKED_EQ' ? `,${arg.valueTwo ?? 0}` : ''}]`).join('')
    return rule.names.map((name) => `${name} ${action}${args}`)
  })
  return `2\nallowlist errno ${profile.defaultErrnoRet ?? 1}\n[all]\n${lines.join('\n')}\n`
}

function identity(spec: OciSpec): readonly string[] {
  const { user, capabilities, env, cwd, noNewPrivileges, oomScoreAdj, rlimits } = spec.process
  return [
    `lxc.init.uid = ${user.uid}`, `lxc.init.gid = ${user.gid}`,
    ...(user.additionalGids.length > 0 ? [`lxc.init.groups = ${user.additionalGids.join(',')}`] : []),
    `lxc.init.cwd = ${checkLine(cwd)}`,
    `lxc.cap.keep = ${capabilities.bounding.length === 0 ? 'none' : capabilities.bounding.map((name) => name.replace(/^CAP_/, '').toLowerCase()).join(' ')}`,
    ...(noNewPrivileges ? ['lxc.no_new_privs = 1'] : []),
    ...(oomScoreAdj === undefined ? [] : [`lxc.proc.oom_score_adj = ${oomScoreAdj}`]),
    ...rlimits.map((one) => `lxc.prlimit.${one.type.replace('RLIMIT_', '').toLowerCase()} = ${one.soft < 0 ? 'unlimited' : one.soft}:${one.hard < 0 ? 'unlimited' : one.hard}`),
    ...env.map((entry) => `lxc.environment = ${checkLine(entry)}`),
  ]
}

function limits(cgroup: CgroupPlan): readonly string[] {
  const prefix = cgroup.version === 2 ? 'lxc.cgroup2' : 'lxc.cgroup'
  return cgroup.directories.flatMap((directory) => directory.writes.filter((write) => !write.file.startsWith('cpuset.') || write.value !== '').map((write) => `${prefix}.${write.file} = ${write.value}`))
}

function namespaces(spec: OciSpec): readonly string[] {
  const own = spec.linux.namespaces
  const shared = own.flatMap((one) => (one.path === undefined ? [] : [`lxc.namespace.share.${SHARED[one.type] ?? one.type} = ${one.path}`]))
  const kept = Object.entries(SHARED).filter(([type]) => !own.some((one) => one.type === type)).map(([, name]) => name)
  return [...shared, ...(kept.length === 0 ? [] : [`lxc.namespace.keep = ${kept.join(' ')}`])]
}

function covered(spec: OciSpec): readonly string[] {
  const { maskedPaths, readonlyPaths } = spec.linux
  return [
    // procfs and sysfs look alike on the host.
    ...maskedPaths.map((path) => (statSync(path, { throwIfNoEntry: false })?.isDirectory() === true ? `lxc.mount.entry = tmpfs ${field(path.slice(1))} tmpfs ro,size=0k,optional 0 0` : `lxc.mount.entry = /dev/null ${field(path.slice(1))} none bind,optional 0 0`)),
    ...readonlyPaths.map((path) => `lxc.mount.entry = ${field(path.slice(1))} ${field(path.slice(1))} none rbind,ro,optional,relative 0 0`),
  ]
}

/** Writes the configuration of a container for LXC 5 (lxc.container.conf(5)). */
export function lxcConfig(input: LxcInput): string {
  const { spec } = input
  if (spec.linux.namespaces.some((one) => one.type === 'user')) throw new EngineError('unsupported', 'runtime lxc: users of its own need the runtime gantry')
  const proc = spec.linux.readonlyPaths.length === 0 ? 'proc:rw sys:rw' : 'proc:mixed sys:ro'
  const lines = [
    `lxc.uts.name = ${checkLine(spec.hostname === undefined || spec.hostname === '' ? 'lxc' : spec.hostname)}`,
    `lxc.rootfs.path = dir:${input.rootPath}`,
    ...(spec.root.readonly ? ['lxc.rootfs.options = ro'] : []),
    `lxc.cgroup.dir.monitor = ${input.monitorCgroupsPath.slice(1)}`, `lxc.cgroup.dir.container = ${input.cgroupsPath.slice(1)}`,
    'lxc.apparmor.profile = unconfined', 'lxc.console.path = none', 'lxc.tty.max = 0', 'lxc.pty.max = 1024', 'lxc.autodev = 1', 'lxc.signal.halt = SIGTERM',
    // The shim takes over; the container must not go with LXC's own monitor.
    'lxc.monitor.signal.pdeath = 0',
    ...(spec.linux.namespaces.some((one) => one.type === 'network' && one.path === undefined) ? ['lxc.net.0.type = empty'] : ['lxc.net.0.type = none']),
    `lxc.mount.auto = ${proc} cgroup:ro`,
    ...namespaces(spec), ...identity(spec), ...limits(input.cgroup),
    ...spec.mounts.filter((mount) => !OWN_MOUNTS.has(mount.type) && mount.destination !== '/dev').map(mountLine),
    ...covered(spec),
    ...(spec.linux.seccomp === undefined ? [] : [`lxc.seccomp.profile = ${input.seccompPath}`]),
  ]
  return `${lines.join('\n')}\n`
}
