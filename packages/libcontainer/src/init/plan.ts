import type { NetlinkBatch, ResolverPlan } from '@gantry/linux'
import type { CgroupPlan } from '../cgroups/manager.ts'
import type { OciProcess, OciSpec, OciTree } from '../spec/oci.ts'

/** How the root file system is mounted, inside the container's own mount namespace. */
export interface RootMount extends OciTree {
  /** With users of its own: ids on disk are theirs already, nothing has to be mapped. */
  readonly ownIds?: boolean
}

/** A reader or writer that is wired before the process runs: the shim dials the daemon and shows a token. */
export interface StreamPlan {
  readonly socketPath: string
  /** 32 bytes of text. */
  readonly token: string
  readonly stdin: boolean
  readonly stdout: boolean
  readonly stderr: boolean
}

/** What a process reads and writes. */
export interface StdioPlan {
  readonly openStdin: boolean
  readonly stdinOnce: boolean
  readonly streams: readonly StreamPlan[]
}

/** Where the shim writes what the container says. */
export interface LogPlan {
  readonly path: string
  /** 0 = never rotated */
  readonly maxBytes: number
  readonly maxFiles: number
  /** JSON lines, or the journal. */
  readonly format: 'json' | 'journal'
  /** A full disk loses lines instead of holding the container back. */
  readonly lossy?: boolean
  /** A JSON object that stands in every line, at most 4 KB; empty: none. */
  readonly attributes: string
}

/** Links and addresses: messages of the host's side and of the inside. */
export interface NetworkPlan {
  readonly host: readonly NetlinkBatch[]
  readonly inside: readonly NetlinkBatch[]
  /** Written below /proc/sys of the namespace, between the two. */
  readonly sysctls: readonly (readonly [string, string])[]
  /** Sockets that are opened inside and handed to the daemon. */
  readonly resolver?: ResolverPlan
}

/** What hooks are told on their standard input, but for the pid. */
export interface HookState {
  readonly ociVersion: string
  readonly id: string
  readonly bundle: string
  readonly annotations?: Readonly<Record<string, string>>
}

/** Everything that a start needs, decided before its first side effect. */
export interface StartPlan {
  readonly spec: OciSpec
  readonly root: RootMount
  /** An empty directory; in the container's namespace the root is mounted on it. */
  readonly mountPoint: string
  readonly cgroup: CgroupPlan
  readonly network: NetworkPlan
  readonly stdio: StdioPlan
  readonly log?: LogPlan
  readonly socketPath: string
  readonly exitPath: string
  /** A reaper of ours as pid 1. */
  readonly init: boolean
  /** Sockets of the shim that the kernel has to see before a process may fail. */
  readonly lastCapability: number
  /** Needed where the specification has hooks. */
  readonly hookState?: HookState
  /** The session keyring stays that of whoever starts it. */
  readonly keepKeyring?: boolean
  /** The root is moved instead of pivoted: for roots that cannot be pivoted away from (ramfs). */
  readonly noPivot?: boolean
  /** So many descriptors from 3 on are the program's; the launcher has them one place higher. */
  readonly preserveFds?: number
}

/** A further process in a running container. */
export interface ExecPlan {
  readonly process: OciProcess
  readonly spec: OciSpec
  readonly cgroup: CgroupPlan
  readonly stdio: StdioPlan
  readonly execId: number
  readonly lastCapability: number
}
