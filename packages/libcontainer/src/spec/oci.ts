/** The OCI runtime specification 1.2, as far as this runtime carries it out (config.md, config-linux.md). */
export interface OciSpec {
  readonly hostname?: string
  readonly domainname?: string
  readonly process: OciProcess
  readonly root: { readonly readonly: boolean }
  readonly mounts: readonly OciMount[]
  readonly linux: OciLinux
  readonly annotations?: Readonly<Record<string, string>>
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
}

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
    readonly disableOOMKiller?: boolean
  }
  readonly cpu?: {
    readonly shares?: number
    readonly quota?: number
    readonly period?: number
    readonly realtimeRuntime?: number
    readonly realtimePeriod?: number
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
  readonly rootfsPropagation?: string
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
}
