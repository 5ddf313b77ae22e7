import { readdirSync } from 'node:fs'
import { cpus, release, hostname, arch } from 'node:os'
import { MAX_API_VERSION, MIN_API_VERSION } from '@gantry/api'
import type { Graph } from '@gantry/graph'
import { INDEX_OF_DEFAULT } from '@gantry/registry'
import { formatNanos, nowNanos, readText } from '@gantry/std'
import type { Container } from '../containers/container.ts'
import type { CgroupLimits } from '../containers/request/limits.ts'
import { hostMemoryBytes } from '../containers/spec/resources.ts'
import type { DaemonConfig } from '../config.ts'
import type { Events } from './events.ts'

/** Version of this release. */
export const GANTRY_VERSION = '0.1.0'
/** What `/build` answers to: the classic builder is not there yet, and BuildKit neither. */
export const BUILDER_VERSION = '1'

const ARCH: Readonly<Record<string, string>> = { x64: 'amd64', arm64: 'arm64' }
const startedAt = new Date().toISOString()

/** `GET /version`. */
export function versionView(): unknown {
  const common = { ApiVersion: MAX_API_VERSION, MinAPIVersion: MIN_API_VERSION, GitCommit: 'gantry', GoVersion: `node ${process.version}`, Os: 'linux', Arch: ARCH[arch()] ?? arch(), KernelVersion: release(), BuildTime: startedAt }
  return {
    Platform: { Name: 'Gantry' },
    Components: [{ Name: 'Engine', Version: GANTRY_VERSION, Details: { ...common, Experimental: 'false' } }],
    Version: GANTRY_VERSION,
    ...common,
  }
}

/** What `info` is made of. */
export interface InfoPorts {
  readonly graph: Graph
  /** Names of the log drivers, sorted. */
  readonly logDrivers: readonly string[]
  readonly config: DaemonConfig
  /** What `RegistryConfig` says of mirrors and of registries without TLS. */
  readonly registryConfig: object
  readonly events: Events
  readonly apparmor: boolean
  readonly limits: CgroupLimits
  readonly daemonId: string
  readonly quarantined: readonly string[]
  containers(): readonly Container[]
  jobs(): number
}

function osName(): string {
  return /^PRETTY_NAME="?([^"\n]*)/m.exec(readText('/etc/os-release') ?? '')?.[1] ?? 'Linux'
}

const openFiles = (): number => readdirSync('/proc/self/fd').length
const switchedOn = (path: string): boolean => readText(path)?.trim() === '1'

/** `GET /info`: nothing that is not so. */
export function infoView(ports: InfoPorts): unknown {
  const containers = ports.containers()
  const running = containers.filter((container) => container.task !== undefined)
  const paused = running.filter((container) => container.state.paused)
  const { config } = ports
  const { version } = ports.limits
  const has = (first: string, second: string): boolean => ports.limits.supports(version === 1 ? first : second)
  const swap = has('memory.memsw.limit_in_bytes', 'memory.swap.max')
  return {
    ID: ports.daemonId, Containers: containers.length, ContainersRunning: running.length - paused.length, ContainersPaused: paused.length, ContainersStopped: containers.length - running.length, Images: ports.graph.images.list().length,
    Driver: ports.graph.driver.name, DriverStatus: ports.graph.driver.status(), SystemStatus: null,
    Plugins: { Volume: ['local'], Network: ['bridge', 'host', 'null'], Authorization: config.authorizationPlugins.length === 0 ? null : config.authorizationPlugins, Log: ports.logDrivers },
    MemoryLimit: has('memory.limit_in_bytes', 'memory.max'), SwapLimit: swap, CpuCfsPeriod: has('cpu.cfs_period_us', 'cpu.max'), CpuCfsQuota: has('cpu.cfs_quota_us', 'cpu.max'), CPUShares: has('cpu.shares', 'cpu.weight'), CPUSet: has('cpuset.cpus', 'cpuset.cpus'), PidsLimit: has('pids.max', 'pids.max'), OomKillDisable: version === 1 && has('memory.oom_control', ''),
    IPv4Forwarding: switchedOn('/proc/sys/net/ipv4/ip_forward'), BridgeNfIptables: switchedOn('/proc/sys/net/bridge/bridge-nf-call-iptables'), BridgeNfIp6tables: switchedOn('/proc/sys/net/bridge/bridge-nf-call-ip6tables'),
    Debug: config.logLevel === 'debug', NFd: openFiles(), NGoroutines: ports.jobs(), SystemTime: formatNanos(nowNanos()), LoggingDriver: config.defaultLog.Type, CgroupDriver: 'cgroupfs', CgroupVersion: String(version), NEventsListener: ports.events.subscribers,
    KernelVersion: release(), OperatingSystem: osName(), OSVersion: /^VERSION_ID="?([^"\n]*)/m.exec(readText('/etc/os-release') ?? '')?.[1] ?? '', OSType: 'linux', Architecture: arch() === 'x64' ? 'x86_64' : 'aarch64',
    IndexServerAddress: `https://${INDEX_OF_DEFAULT}/v1/`, RegistryConfig: { AllowNondistributableArtifactsCIDRs: null, AllowNondistributableArtifactsHostnames: null, ...ports.registryConfig },
    NCPU: cpus().length, MemTotal: hostMemoryBytes(), GenericResources: null, DockerRootDir: config.dataRoot, HttpProxy: '', HttpsProxy: '', NoProxy: '', Name: hostname(), Labels: [], ExperimentalBuild: config.experimental, ServerVersion: GANTRY_VERSION,
    Runtimes: { gantry: { path: 'gantry' }, ...(config.lxcStart !== undefined && { lxc: { path: config.lxcStart } }), ...Object.fromEntries(config.runtimes.map((one) => [one.name, { path: one.path, ...(one.args.length > 0 && { runtimeArgs: one.args }) }])) }, DefaultRuntime: config.defaultRuntime, Swarm: { NodeID: '', NodeAddr: '', LocalNodeState: 'inactive', ControlAvailable: false, Error: '', RemoteManagers: null }, LiveRestoreEnabled: true, Isolation: '', InitBinary: 'gantry-init',
    ContainerdCommit: { ID: '', Expected: '' }, RuncCommit: { ID: '', Expected: '' }, InitCommit: { ID: '', Expected: '' }, SecurityOptions: [...(ports.apparmor ? ['name=apparmor'] : []), `name=seccomp,profile=builtin`, ...(version === 2 ? ['name=cgroupns'] : []), ...(config.users === undefined ? [] : ['name=userns'])],
    ProductLicense: '', DefaultAddressPools: null, FirewallBackend: { Driver: config.firewall ? 'nftables' : 'none' }, CDISpecDirs: config.cdiDirectories,
    Warnings: [...(swap ? [] : ['WARNING: No swap limit support']), ...ports.quarantined.map((id) => `WARNING: the record of container ${id} is damaged and was set aside`)],
  }
}
