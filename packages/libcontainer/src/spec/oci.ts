/** The OCI runtime specification 1.2, as far as this runtime carries it out (config.md, config-linux.md). */
export interface OciSpec {
  readonly hostname?: string
  readonly domainname?: string
  readonly process: OciProcess
  readonly root: { readonly readonly: boolean }
  readonly mounts: readonly OciMount[]
  readonly linux: OciLinux
  readonly annotations?: Readonly<Record<string, string>>
  readonly hooks?: OciHooks
}

/** `process` */
export interface OciProcess {
  readonly terminal: boolean
  readonly consoleSize?: { readonly height: number; readonly width: number }
  readonly cwd: string
  readonly args: readonly string[]
  readonly env: readonly string[]
  readonly user: OciUser
  readonly capabilities: OciCapabilities
  readonly noNewPrivileges: boolean
  readonly oomScoreAdj?: number
  readonly rlimits: readonly OciRlimit[]
  /** Name of a loaded profile; the host must have AppArmor. */
  readonly apparmorProfile?: string
  /** Context of the process; the host must have SELinux. */
  readonly selinuxLabel?: string
  readonly scheduler?: OciScheduler
  readonly ioPriority?: { readonly class: 'IOPRIO_CLASS_RT' | 'IOPRIO_CLASS_BE' | 'IOPRIO_CLASS_IDLE'; readonly priority: number }
  /** For execs: CPUs (`0-3,5`) before and after it enters the container's cgroup. */
  readonly execCPUAffinity?: { readonly initial?: string; readonly final?: string }
}

/** `process.scheduler` (sched_setattr(2)); times in nanoseconds. */
export interface OciScheduler {
  readonly policy: string
  readonly nice: number
  readonly priority: number
  readonly flags: readonly string[]
  readonly runtime: number
  readonly deadline: number
  readonly period: number
}

/** `hooks.*[]` */
export interface OciHook {
  readonly path: string
  readonly args: readonly string[]
  readonly env: readonly string[]
  readonly timeoutSeconds: number | undefined
}

/** When hooks run (config.md, POSIX-platform Hooks). `prestart` is the old name of `createRuntime`. */
export const HOOK_NAMES = ['prestart', 'createRuntime', 'createContainer', 'startContainer', 'poststart', 'poststop'] as const
export type HookName = (typeof HOOK_NAMES)[number]
export type OciHooks = Readonly<Partial<Record<HookName, readonly OciHook[]>>>

/** `process.user` */
export interface OciUser {
  readonly uid: number
  readonly gid: number
  readonly additionalGids: readonly number[]
  /** Bits that new files do not get; 022 when left out. */
  readonly umask?: number
}

/** `process.capabilities`: names with `CAP_`. */
export interface OciCapabilities {
  readonly bounding: readonly string[]
  readonly effective: readonly string[]
  readonly permitted: readonly string[]
  readonly inheritable: readonly string[]
  readonly ambient: readonly string[]
}

/** `process.rlimits[]`: `RLIMIT_NOFILE`, …; -1 is no limit. */
export interface OciRlimit {
  readonly type: string
  readonly soft: number
  readonly hard: number
}

/** `mounts[]` */
export interface OciMount {
  readonly destination: string
  readonly type: string
  readonly source: string
  readonly options: readonly string[]
  /** Ids on disk are read through these; for binds. */
  readonly idMappings?: { readonly uids: readonly OciIdMapping[]; readonly gids: readonly OciIdMapping[] }
  /** Ours, for binds: what below the source is mounted; nothing there leads out of the source. */
  readonly below?: { readonly path: string; readonly kind: 'directory' | 'file' }
  /** Ours, for binds: the source is a root file system that is mounted for it. */
  readonly tree?: OciTree
  /** Ours, for binds: read-only without the mounts below it. */
  readonly topReadOnly?: boolean
}

/** A root file system that is mounted inside a mount namespace. */
export interface OciTree {
  /** Mounted before it, for the root to stand on; `target` is below `directory`. */
  readonly lower?: { readonly type: string; readonly source: string; readonly data: string; readonly target: string }
  readonly type: 'overlay' | 'bind'
  readonly source: string
  /** mount(2) data; relative paths count from `directory`. */
  readonly data: string
  readonly directory: string
}

/** Kinds of namespaces; a path joins an existing one. */
export interface OciNamespace {
  readonly type: 'pid' | 'network' | 'mount' | 'ipc' | 'uts' | 'user' | 'cgroup' | 'time'
  readonly path?: string
}

/** `linux.uidMappings[]`, `linux.gidMappings[]` */
export interface OciIdMapping {
  readonly containerID: number
  readonly hostID: number
  readonly size: number
}

/** `linux.devices[]` */
export interface OciDevice {
  readonly path: string
  readonly type: 'c' | 'b' | 'p'
  readonly major: number
  readonly minor: number
  readonly fileMode: number
  readonly uid: number
  readonly gid: number
}

/** `linux.resources.devices[]` */
export interface OciDeviceRule {
  readonly allow: boolean
  readonly type: 'a' | 'c' | 'b'
  readonly major?: number
  readonly minor?: number
  readonly access: string
}

/** A rate limit of one block device: bytes or operations a second. */
export interface OciThrottle {
  readonly major: number
  readonly minor: number
  readonly rate: number
}

/** `linux.resources` */
export interface OciResources {
  readonly devices: readonly OciDeviceRule[]
  readonly memory?: {
    readonly limit?: number
    readonly reservation?: number
    readonly swap?: number
    readonly swappiness?: number
    /** Memory of TCP buffers; version 1 only. */
    readonly kernelTCP?: number
    readonly disableOOMKiller?: boolean
  }
  readonly cpu?: {
    readonly shares?: number
    readonly quota?: number
    readonly period?: number
    readonly realtimeRuntime?: number
    readonly realtimePeriod?: number
    /** Microseconds of quota that may be saved up. */
    readonly burst?: number
    readonly idle?: number
    readonly cpus?: string
    readonly mems?: string
  }
  readonly pids?: { readonly limit: number }
  readonly blockIO?: {
    readonly weight?: number
    readonly weightDevice?: readonly { readonly major: number; readonly minor: number; readonly weight: number }[]
    readonly throttleReadBpsDevice?: readonly OciThrottle[]
    readonly throttleWriteBpsDevice?: readonly OciThrottle[]
    readonly throttleReadIOPSDevice?: readonly OciThrottle[]
    readonly throttleWriteIOPSDevice?: readonly OciThrottle[]
  }
  readonly hugepageLimits?: readonly { readonly pageSize: string; readonly limit: number }[]
  readonly network?: { readonly classID?: number; readonly priorities?: readonly { readonly name: string; readonly priority: number }[] }
  /** By device. */
  readonly rdma?: Readonly<Record<string, { readonly hcaHandles?: number; readonly hcaObjects?: number }>>
  /** Version 2: files and what is written to them. */
  readonly unified?: Readonly<Record<string, string>>
}

/** `linux` */
export interface OciLinux {
  readonly namespaces: readonly OciNamespace[]
  /** With a user namespace of its own. */
  readonly uidMappings?: readonly OciIdMapping[]
  readonly gidMappings?: readonly OciIdMapping[]
  /** With a time namespace of its own: how far its clocks are ahead. */
  readonly timeOffsets?: Readonly<Partial<Record<'monotonic' | 'boottime', { readonly secs: number; readonly nanosecs: number }>>>
  readonly resources: OciResources
  readonly devices: readonly OciDevice[]
  readonly sysctl: Readonly<Record<string, string>>
  readonly seccomp?: OciSeccomp
  readonly maskedPaths: readonly string[]
  readonly readonlyPaths: readonly string[]
  readonly rootfsPropagation?: 'private' | 'rprivate' | 'slave' | 'rslave' | 'shared' | 'rshared' | 'unbindable' | 'runbindable'
  /** SELinux context of the file systems that are made for it. */
  readonly mountLabel?: string
  /** Execution domain (personality(2)). */
  readonly personality?: 'LINUX' | 'LINUX32'
  /** Where in the hierarchies the container goes; by default below the manager's parent, by its id. */
  readonly cgroupsPath?: string
}

/** What a filter does with a call. */
export type SeccompAction =
  | 'SCMP_ACT_ALLOW'
  | 'SCMP_ACT_ERRNO'
  | 'SCMP_ACT_KILL'
  | 'SCMP_ACT_KILL_PROCESS'
  | 'SCMP_ACT_KILL_THREAD'
  | 'SCMP_ACT_TRAP'
  | 'SCMP_ACT_TRACE'
  | 'SCMP_ACT_LOG'

/** A comparison of one argument of a call. */
export interface SeccompArg {
  readonly index: number
  readonly value: number
  readonly valueTwo?: number
  readonly op: 'SCMP_CMP_NE' | 'SCMP_CMP_LT' | 'SCMP_CMP_LE' | 'SCMP_CMP_EQ' | 'SCMP_CMP_GE' | 'SCMP_CMP_GT' | 'SCMP_CMP_MASKED_EQ'
}

/** One rule: these calls, with all of these arguments. */
export interface SeccompRule {
  readonly names: readonly string[]
  readonly action: SeccompAction
  readonly errnoRet?: number
  readonly args?: readonly SeccompArg[]
}

/** `linux.seccomp` */
export interface OciSeccomp {
  readonly defaultAction: SeccompAction
  readonly defaultErrnoRet?: number
  readonly architectures: readonly string[]
  readonly syscalls: readonly SeccompRule[]
  readonly flags?: readonly SeccompFlag[]
}

/** `linux.seccomp.flags[]` */
export type SeccompFlag = 'SECCOMP_FILTER_FLAG_TSYNC' | 'SECCOMP_FILTER_FLAG_LOG' | 'SECCOMP_FILTER_FLAG_SPEC_ALLOW'
