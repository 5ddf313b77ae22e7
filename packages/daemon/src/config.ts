import type { LogLevel } from '@gantry/std'
import type { DefaultBridge, DefaultPool } from '@gantry/libnetwork'
import type { RuntimeSetting } from '@gantry/runtime'
import type { RegistrySettings } from './images/registries.ts'
import type { UserMaps } from './subordinate-ids.ts'

/** Everything that a daemon can be told, from flags and file, in one typed object. */
export interface DaemonConfig {
  readonly hosts: readonly string[]
  readonly group: string
  readonly dataRoot: string
  readonly execRoot: string
  readonly pidFile: string
  readonly cgroupParent: string
  readonly storageDriver: string
  /** What each container may write that does not say so itself; undefined: as much as there is. */
  readonly containerBytes: number | undefined
  readonly registries: RegistrySettings
  /** Layers at a time; 0: as many as there are cores. */
  readonly downloads: number
  readonly uploads: number
  /** 0: images are never removed by themselves. */
  readonly imageGcKeepBytes: number
  readonly pushCompression: 'gzip' | 'zstd'
  /** The image process's program. */
  readonly imageProcess: string
  readonly bridge: DefaultBridge | undefined
  /** Where subnets of new networks come from; none: Docker's own. */
  readonly addressPools: readonly DefaultPool[]
  /** Where ports are published that name no address; empty: everywhere. */
  readonly hostBinding: string
  /** What `host-gateway` means; empty: the gateway of the container's network. */
  readonly hostGateway: string
  readonly ipForward: boolean
  readonly firewall: boolean
  /** `host:port`; empty: no metrics are served. */
  readonly metricsAddress: string
  readonly ownFirewallTable: boolean
  readonly respectHostFirewall: boolean
  readonly dns: { readonly servers: readonly string[]; readonly search: readonly string[]; readonly options: readonly string[] }
  readonly tls: { readonly verify: boolean; readonly ca: string; readonly cert: string; readonly key: string } | undefined
  /** Maps of `--userns-remap`; none: containers share the host's users. */
  readonly users: UserMaps | undefined
  /** OCI runtimes beside the house's own. */
  readonly runtimes: readonly RuntimeSetting[]
  /** The program `lxc-start`, where LXC is installed. */
  readonly lxcStart: string | undefined
  readonly defaultRuntime: string
  readonly experimental: boolean
  /** Where descriptions of devices lie (CDI); later ones win. */
  readonly cdiDirectories: readonly string[]
  /** Socket of a supervisor that is a process of its own; none: it lives in the daemon. */
  readonly containerd: string | undefined
  readonly startTimeoutMs: number
  readonly logLevel: LogLevel
  /** Plugins that are asked about every request. */
  readonly authorizationPlugins: readonly string[]
  /** The log driver of containers that name none. */
  /** `builder` of the configuration file: what of the build cache goes by itself (`build/gc.ts`). */
  readonly builder: unknown
  readonly defaultLog: { readonly Type: string; readonly Config: Readonly<Record<string, string>> }
  readonly helper: string
  readonly shutdownTimeoutSeconds: number
  /** Where busybox lies, for the bundled image; empty: none is made. */
  readonly busybox: string
}
