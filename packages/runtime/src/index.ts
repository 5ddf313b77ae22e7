import type { RemoteOptions } from './grpc/client.ts'
import type { Supervisor } from './supervisor.ts'
export { type BlockCounter, type CgroupStats, type Identity, CAPABILITIES, capabilitiesOf, DEFAULT_CAPABILITIES, DEFAULT_DEVICES, DEFAULT_PROFILE, describeStartFailure, type HookName, type LiveMounts, type OciDevice, type OciDeviceRule, type OciIdMapping, type OciMount, type OciNamespace, type OciProcess, type OciResources, type OciRlimit, type OciSeccomp, type OciSpec, parseProfile, resolveProfile, resolveUser, type RootMount, sourceStat, type StreamPlan, tweakCapabilities } from '@gantry/libcontainer'
export { type ExpectedStream, type HostMounts, parseMountInfo, SIGNALS, startTimeOf, type StreamServer, type TreeRoot, type Trees } from '@gantry/linux'
export * from './apparmor.ts'
export { lxcDriver } from './drivers/lxc.ts'
export { externalDriver } from './drivers/oci-cli.ts'
export { NATIVE, nativeDriver } from './drivers/native.ts'
export { findProgram, readRuntimes, type RuntimeSetting } from './drivers/settings.ts'
export { byRuntime } from './drivers/table.ts'
export * from './event-log.ts'
export * from './execdriver.ts'
export * from './host.ts'
export { type Metrics } from './metrics.ts'
export * from './supervisor.ts'

/** A supervisor in another process; its gRPC library is loaded only by those who ask for one. */
export async function connectSupervisor(options: RemoteOptions): Promise<Supervisor> {
  const { remoteSupervisor } = await import('./grpc/client.ts')
  return remoteSupervisor(options)
}
