import type { DeviceRequest, HostConfig, PortBinding, Resources } from '@gantry/api'
import { asBoolean, asInteger, asList, asObject, asString, asStringMap, asStrings, EngineError, type JsonObject } from '@gantry/std'
import { decodeMount } from './decode-mount.ts'

const stringsOrNull = (value: unknown, field: string): readonly string[] | null => (value === undefined || value === null ? null : asStrings(value, field))
const numberOrNull = (value: unknown, field: string): number | null => (value === undefined || value === null ? null : asInteger(value, field))

/** A list of objects, each read by a function. */
function objects<T>(value: unknown, field: string, read: (object: JsonObject, field: string) => T): readonly T[] {
  return asList(value, field).map((item, index) => read(asObject(item, `${field}[${index}]`), `${field}[${index}]`))
}

const throttle = (o: JsonObject, field: string): { readonly Path: string; readonly Rate: number } => ({ Path: asString(o['Path'], `${field}.Path`), Rate: asInteger(o['Rate'], `${field}.Rate`) })

/** Reads the resource limits of a create or update request. */
export function decodeResources(body: JsonObject): Resources {
  const integer = (name: string): number => asInteger(body[name], name)
  const text = (name: string): string => asString(body[name], name)
  return {
    CpuShares: integer('CpuShares'),
    Memory: integer('Memory'),
    NanoCpus: integer('NanoCpus'),
    CgroupParent: text('CgroupParent'),
    BlkioWeight: integer('BlkioWeight'),
    BlkioWeightDevice: objects(body['BlkioWeightDevice'], 'BlkioWeightDevice', (o, field) => ({ Path: asString(o['Path'], `${field}.Path`), Weight: asInteger(o['Weight'], `${field}.Weight`) })),
    BlkioDeviceReadBps: objects(body['BlkioDeviceReadBps'], 'BlkioDeviceReadBps', throttle),
    BlkioDeviceWriteBps: objects(body['BlkioDeviceWriteBps'], 'BlkioDeviceWriteBps', throttle),
    BlkioDeviceReadIOps: objects(body['BlkioDeviceReadIOps'], 'BlkioDeviceReadIOps', throttle),
    BlkioDeviceWriteIOps: objects(body['BlkioDeviceWriteIOps'], 'BlkioDeviceWriteIOps', throttle),
    CpuPeriod: integer('CpuPeriod'),
    CpuQuota: integer('CpuQuota'),
    CpuRealtimePeriod: integer('CpuRealtimePeriod'),
    CpuRealtimeRuntime: integer('CpuRealtimeRuntime'),
    CpusetCpus: text('CpusetCpus'),
    CpusetMems: text('CpusetMems'),
    Devices: objects(body['Devices'], 'Devices', (o, field) => ({ PathOnHost: asString(o['PathOnHost'], `${field}.PathOnHost`), PathInContainer: asString(o['PathInContainer'], `${field}.PathInContainer`), CgroupPermissions: asString(o['CgroupPermissions'], `${field}.CgroupPermissions`) })),
    DeviceCgroupRules: stringsOrNull(body['DeviceCgroupRules'], 'DeviceCgroupRules'),
    DeviceRequests: body['DeviceRequests'] === undefined || body['DeviceRequests'] === null ? null : objects(body['DeviceRequests'], 'DeviceRequests', deviceRequest),
    MemoryReservation: integer('MemoryReservation'),
    KernelMemoryTCP: integer('KernelMemoryTCP'),
    MemorySwap: integer('MemorySwap'),
    MemorySwappiness: numberOrNull(body['MemorySwappiness'], 'MemorySwappiness'),
    OomKillDisable: body['OomKillDisable'] === undefined || body['OomKillDisable'] === null ? null : asBoolean(body['OomKillDisable'], 'OomKillDisable'),
    PidsLimit: numberOrNull(body['PidsLimit'], 'PidsLimit'),
    Ulimits: objects(body['Ulimits'], 'Ulimits', (o, field) => ({ Name: asString(o['Name'], `${field}.Name`), Soft: asInteger(o['Soft'], `${field}.Soft`), Hard: asInteger(o['Hard'], `${field}.Hard`) })),
    CpuCount: 0,
    CpuPercent: 0,
    IOMaximumIOps: 0,
    IOMaximumBandwidth: 0,
  }
}

function deviceRequest(o: JsonObject, field: string): DeviceRequest {
  return { Driver: asString(o['Driver'], `${field}.Driver`), Count: asInteger(o['Count'], `${field}.Count`), DeviceIDs: asStrings(o['DeviceIDs'], `${field}.DeviceIDs`), Capabilities: asList(o['Capabilities'], `${field}.Capabilities`).map((all, index) => asStrings(all, `${field}.Capabilities[${index}]`)), Options: asStringMap(o['Options'], `${field}.Options`) }
}

function decodePortBindings(value: unknown): Readonly<Record<string, readonly PortBinding[]>> {
  const bindings: Record<string, readonly PortBinding[]> = {}
  for (const [port, list] of Object.entries(asObject(value, 'PortBindings'))) {
    bindings[port] = objects(list, `PortBindings.${port}`, (o, field) => ({ HostIp: asString(o['HostIp'], `${field}.HostIp`), HostPort: asString(o['HostPort'], `${field}.HostPort`) }))
  }
  return bindings
}

/** Reads the HostConfig part of a create request. null, [], {}, 0 and "" all mean "not set". */
export function decodeHostConfig(body: JsonObject): HostConfig {
  const text = (name: string): string => asString(body[name], name)
  const bool = (name: string): boolean => asBoolean(body[name], name)
  const logConfig = asObject(body['LogConfig'], 'LogConfig')
  const restart = asObject(body['RestartPolicy'], 'RestartPolicy')
  const console = asList(body['ConsoleSize'], 'ConsoleSize').map((item) => asInteger(item, 'ConsoleSize'))
  const map = (name: string): Readonly<Record<string, string>> | undefined => (body[name] === undefined || body[name] === null || Object.keys(asObject(body[name], name)).length === 0 ? undefined : asStringMap(body[name], name))
  const [storage, tmpfs, sysctls, annotations] = [map('StorageOpt'), map('Tmpfs'), map('Sysctls'), map('Annotations')]
  const mounts = objects(body['Mounts'], 'Mounts', decodeMount)
  return {
    Binds: stringsOrNull(body['Binds'], 'Binds'),
    ContainerIDFile: text('ContainerIDFile'),
    LogConfig: { Type: asString(logConfig['Type'], 'LogConfig.Type'), Config: asStringMap(logConfig['Config'], 'LogConfig.Config') },
    NetworkMode: text('NetworkMode'),
    PortBindings: decodePortBindings(body['PortBindings']),
    RestartPolicy: { Name: asString(restart['Name'], 'RestartPolicy.Name'), MaximumRetryCount: asInteger(restart['MaximumRetryCount'], 'RestartPolicy.MaximumRetryCount') },
    AutoRemove: bool('AutoRemove'),
    VolumeDriver: text('VolumeDriver'),
    VolumesFrom: stringsOrNull(body['VolumesFrom'], 'VolumesFrom'),
    ConsoleSize: [console[0] ?? 0, console[1] ?? 0],
    ...(annotations && { Annotations: annotations }),
    CapAdd: stringsOrNull(body['CapAdd'], 'CapAdd'),
    CapDrop: stringsOrNull(body['CapDrop'], 'CapDrop'),
    CgroupnsMode: text('CgroupnsMode'),
    Dns: asStrings(body['Dns'], 'Dns'),
    DnsOptions: asStrings(body['DnsOptions'], 'DnsOptions'),
    DnsSearch: asStrings(body['DnsSearch'], 'DnsSearch'),
    ExtraHosts: stringsOrNull(body['ExtraHosts'], 'ExtraHosts'),
    GroupAdd: stringsOrNull(body['GroupAdd'], 'GroupAdd'),
    IpcMode: text('IpcMode'),
    Cgroup: text('Cgroup'),
    Links: stringsOrNull(body['Links'], 'Links'),
    OomScoreAdj: asInteger(body['OomScoreAdj'], 'OomScoreAdj'),
    PidMode: text('PidMode'),
    Privileged: bool('Privileged'),
    PublishAllPorts: bool('PublishAllPorts'),
    ReadonlyRootfs: bool('ReadonlyRootfs'),
    SecurityOpt: stringsOrNull(body['SecurityOpt'], 'SecurityOpt'),
    ...(storage && { StorageOpt: storage }),
    ...(tmpfs && { Tmpfs: tmpfs }),
    UTSMode: text('UTSMode'),
    UsernsMode: text('UsernsMode'),
    ShmSize: asInteger(body['ShmSize'], 'ShmSize'),
    ...(sysctls && { Sysctls: sysctls }),
    Runtime: text('Runtime'),
    Isolation: text('Isolation'),
    ...(mounts.length > 0 && { Mounts: mounts }),
    MaskedPaths: stringsOrNull(body['MaskedPaths'], 'MaskedPaths'),
    ReadonlyPaths: stringsOrNull(body['ReadonlyPaths'], 'ReadonlyPaths'),
    ...(body['Init'] !== undefined && body['Init'] !== null && { Init: bool('Init') }),
    ...decodeResources(body),
  }
}
