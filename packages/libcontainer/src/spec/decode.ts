import { asBoolean, asInteger, asList, asObject, asString, asStringMap, asStrings, EngineError, type JsonObject } from '@gantry/std'
import { parseProfile } from '../seccomp/profile.ts'
import type { OciCapabilities, OciDevice, OciDeviceRule, OciIdMapping, OciLinux, OciMount, OciNamespace, OciProcess, OciResources, OciRlimit, OciSeccomp, OciSpec, OciThrottle } from './oci.ts'

/** A container's configuration as a bundle has it: the specification, where its root is, and what is to be run beside it. */
export interface DecodedConfig {
  readonly spec: OciSpec
  /** As written; relative paths count from the bundle. */
  readonly rootPath: string
  readonly hooks: Readonly<Partial<Record<HookName, readonly OciHook[]>>>
}

/** `hooks.*[]` */
export interface OciHook {
  readonly path: string
  readonly args: readonly string[]
  readonly env: readonly string[]
  readonly timeoutSeconds: number | undefined
}

const RUNTIME_HOOKS = ['prestart', 'createRuntime', 'poststart', 'poststop'] as const
/** Hooks that run in the runtime's own namespaces. */
export type HookName = (typeof RUNTIME_HOOKS)[number]

const INFINITY = 2 ** 63
const objects = <T>(value: unknown, field: string, read: (o: JsonObject, field: string) => T): readonly T[] => asList(value, field).map((item, index) => read(asObject(item, `${field}[${index}]`), `${field}[${index}]`))
const optional = <T>(value: unknown, read: (value: unknown) => T): T | undefined => (value === undefined || value === null ? undefined : read(value))

/** A limit of the kernel's: numbers beyond what it counts to mean that there is none. */
function limitOf(value: unknown, field: string): number {
  if (typeof value !== 'number' || !Number.isInteger(value)) throw new EngineError('invalid', `${field}: expected a whole number`)
  return value >= INFINITY ? -1 : value
}

function refuse(object: JsonObject, fields: readonly string[], prefix: string): void {
  for (const field of fields) {
    const value = object[field]
    const empty = value === undefined || value === null || value === '' || value === false || (typeof value === 'object' && Object.keys(value).length === 0)
    if (!empty) throw new EngineError('unsupported', `${prefix}${field} is not supported by this runtime`)
  }
}

function capabilities(value: unknown): OciCapabilities {
  const object = asObject(value, 'process.capabilities')
  const list = (name: string): readonly string[] => asStrings(object[name], `process.capabilities.${name}`)
  return { bounding: list('bounding'), effective: list('effective'), permitted: list('permitted'), inheritable: list('inheritable'), ambient: list('ambient') }
}

/** Reads `process` of a configuration, or the file that an exec is given (config.md, Process). */
export function decodeProcess(value: unknown): OciProcess {
  const object = asObject(value, 'process')
  refuse(object, ['apparmorProfile', 'selinuxLabel', 'scheduler', 'ioPriority', 'execCPUAffinity'], 'process.')
  const cwd = asString(object['cwd'], 'process.cwd')
  if (!cwd.startsWith('/')) throw new EngineError('invalid', `process.cwd: expected an absolute path, got "${cwd}"`)
  const args = asStrings(object['args'], 'process.args')
  if (args.length === 0) throw new EngineError('invalid', 'process.args: expected at least one')
  const user = asObject(object['user'], 'process.user')
  const umask = optional(user['umask'], (one) => asInteger(one, 'process.user.umask'))
  const size = optional(object['consoleSize'], (one) => asObject(one, 'process.consoleSize'))
  return {
    terminal: asBoolean(object['terminal'], 'process.terminal'),
    ...(size && { consoleSize: { height: asInteger(size['height'], 'process.consoleSize.height'), width: asInteger(size['width'], 'process.consoleSize.width') } }),
    cwd,
    args,
    env: asStrings(object['env'], 'process.env'),
    user: { uid: asInteger(user['uid'], 'process.user.uid'), gid: asInteger(user['gid'], 'process.user.gid'), additionalGids: asList(user['additionalGids'], 'process.user.additionalGids').map((gid, index) => asInteger(gid, `process.user.additionalGids[${index}]`)), ...(umask !== undefined && { umask }) },
    capabilities: capabilities(object['capabilities']),
    noNewPrivileges: asBoolean(object['noNewPrivileges'], 'process.noNewPrivileges'),
    ...(optional(object['oomScoreAdj'], (one) => ({ oomScoreAdj: asInteger(one, 'process.oomScoreAdj') })) ?? {}),
    rlimits: objects(object['rlimits'], 'process.rlimits', (o, field): OciRlimit => ({ type: asString(o['type'], `${field}.type`), soft: limitOf(o['soft'], `${field}.soft`), hard: limitOf(o['hard'], `${field}.hard`) })),
  }
}

function mountOf(o: JsonObject, field: string): OciMount {
  const options = asStrings(o['options'], `${field}.options`)
  refuse(o, ['uidMappings', 'gidMappings'], `${field}.`)
  const destination = asString(o['destination'], `${field}.destination`)
  if (destination === '') throw new EngineError('invalid', `${field}.destination: expected a path`)
  const bind = options.includes('bind') || options.includes('rbind')
  const source = asString(o['source'], `${field}.source`)
  return { destination: destination.startsWith('/') ? destination : `/${destination}`, type: bind ? 'bind' : asString(o['type'], `${field}.type`), source, options }
}

const NAMESPACE_TYPES: ReadonlySet<string> = new Set(['pid', 'network', 'mount', 'ipc', 'uts', 'user', 'cgroup', 'time'])

function namespaceOf(o: JsonObject, field: string): OciNamespace {
  const type = asString(o['type'], `${field}.type`)
  if (!NAMESPACE_TYPES.has(type)) throw new EngineError('unsupported', `${field}.type: namespace "${type}" is not supported by this runtime`)
  const path = asString(o['path'], `${field}.path`)
  return { type: type as OciNamespace['type'], ...(path !== '' && { path }) }
}

function deviceOf(o: JsonObject, field: string): OciDevice {
  const type = asString(o['type'], `${field}.type`)
  if (type !== 'c' && type !== 'b' && type !== 'p' && type !== 'u') throw new EngineError('invalid', `${field}.type: expected c, b, u or p, got "${type}"`)
  return { path: asString(o['path'], `${field}.path`), type: type === 'u' ? 'c' : type, major: asInteger(o['major'], `${field}.major`), minor: asInteger(o['minor'], `${field}.minor`), fileMode: optional(o['fileMode'], (mode) => asInteger(mode, `${field}.fileMode`) & 0o7777) ?? 0o666, uid: asInteger(o['uid'], `${field}.uid`), gid: asInteger(o['gid'], `${field}.gid`) }
}

function ruleOf(o: JsonObject, field: string): OciDeviceRule {
  const type = asString(o['type'], `${field}.type`)
  const part = (name: string): number | undefined => optional(o[name], (value) => asInteger(value, `${field}.${name}`))
  const [major, minor] = [part('major'), part('minor')]
  const access = asString(o['access'], `${field}.access`)
  return { allow: asBoolean(o['allow'], `${field}.allow`), type: type === 'c' || type === 'b' ? type : 'a', ...(major !== undefined && { major }), ...(minor !== undefined && { minor }), access: access === '' ? 'rwm' : access }
}

function pick<K extends string>(o: JsonObject, field: string, names: readonly K[]): Partial<Record<K, number>> {
  return Object.fromEntries(names.flatMap((name) => (o[name] === undefined || o[name] === null ? [] : [[name, limitOf(o[name], `${field}.${name}`)]]))) as Partial<Record<K, number>>
}

/** Reads `linux.resources`, also for an update of what runs (config-linux.md, Control groups). */
export function decodeResources(value: unknown): OciResources {
  const object = asObject(value, 'linux.resources')
  refuse(object, ['hugepageLimits', 'network', 'rdma', 'unified'], 'linux.resources.')
  const [memory, cpu, block] = ['memory', 'cpu', 'blockIO'].map((name) => asObject(object[name], `linux.resources.${name}`)) as [JsonObject, JsonObject, JsonObject]
  refuse(memory, ['kernel', 'kernelTCP', 'useHierarchy'], 'linux.resources.memory.')
  refuse(cpu, ['burst', 'idle'], 'linux.resources.cpu.')
  refuse(block, ['leafWeight'], 'linux.resources.blockIO.')
  const throttles = (name: string): readonly OciThrottle[] => objects(block[name], `linux.resources.blockIO.${name}`, (o, field) => ({ major: asInteger(o['major'], `${field}.major`), minor: asInteger(o['minor'], `${field}.minor`), rate: asInteger(o['rate'], `${field}.rate`) }))
  const [cpus, mems] = [asString(cpu['cpus'], 'linux.resources.cpu.cpus'), asString(cpu['mems'], 'linux.resources.cpu.mems')]
  const pids = asObject(object['pids'], 'linux.resources.pids')
  return {
    devices: objects(object['devices'], 'linux.resources.devices', ruleOf),
    memory: { ...pick(memory, 'linux.resources.memory', ['limit', 'reservation', 'swap', 'swappiness']), ...(memory['disableOOMKiller'] === true && { disableOOMKiller: true }) },
    cpu: { ...pick(cpu, 'linux.resources.cpu', ['shares', 'quota', 'period', 'realtimeRuntime', 'realtimePeriod']), ...(cpus !== '' && { cpus }), ...(mems !== '' && { mems }) },
    ...(pids['limit'] !== undefined && pids['limit'] !== null && pids['limit'] !== 0 && { pids: { limit: limitOf(pids['limit'], 'linux.resources.pids.limit') } }),
    blockIO: {
      ...pick(block, 'linux.resources.blockIO', ['weight']),
      weightDevice: objects(block['weightDevice'], 'linux.resources.blockIO.weightDevice', (o, field) => ({ major: asInteger(o['major'], `${field}.major`), minor: asInteger(o['minor'], `${field}.minor`), weight: asInteger(o['weight'], `${field}.weight`) })),
      throttleReadBpsDevice: throttles('throttleReadBpsDevice'), throttleWriteBpsDevice: throttles('throttleWriteBpsDevice'), throttleReadIOPSDevice: throttles('throttleReadIOPSDevice'), throttleWriteIOPSDevice: throttles('throttleWriteIOPSDevice'),
    },
  }
}

function seccompOf(value: unknown): OciSeccomp | undefined {
  if (value === undefined || value === null) return undefined
  const object = asObject(value, 'linux.seccomp')
  refuse(object, ['listenerPath', 'listenerMetadata'], 'linux.seccomp.')
  const profile = parseProfile(JSON.stringify(object))
  return { defaultAction: profile.defaultAction, ...(profile.defaultErrnoRet !== undefined && { defaultErrnoRet: profile.defaultErrnoRet }), architectures: profile.architectures ?? [], syscalls: profile.syscalls }
}

function timeOffsetsOf(value: unknown): NonNullable<OciLinux['timeOffsets']> {
  const object = asObject(value, 'linux.timeOffsets')
  for (const clock of Object.keys(object)) if (clock !== 'monotonic' && clock !== 'boottime') throw new EngineError('invalid', `linux.timeOffsets: unknown clock "${clock}"`)
  return Object.fromEntries(Object.entries(object).map(([clock, offset]) => {
    const { secs, nanosecs } = asObject(offset, `linux.timeOffsets.${clock}`)
    return [clock, { secs: asInteger(secs, `linux.timeOffsets.${clock}.secs`), nanosecs: asInteger(nanosecs, `linux.timeOffsets.${clock}.nanosecs`) }]
  }))
}

function linuxOf(value: unknown): OciLinux {
  const object = asObject(value, 'linux')
  refuse(object, ['mountLabel', 'intelRdt', 'personality', 'memoryPolicy', 'netDevices'], 'linux.')
  const propagation = asString(object['rootfsPropagation'], 'linux.rootfsPropagation')
  if (!['', 'private', 'rprivate', 'slave', 'rslave'].includes(propagation)) throw new EngineError('unsupported', `linux.rootfsPropagation: "${propagation}" is not supported by this runtime`)
  const ids = (name: string): readonly OciIdMapping[] => objects(object[name], `linux.${name}`, (o, field) => ({ containerID: asInteger(o['containerID'], `${field}.containerID`), hostID: asInteger(o['hostID'], `${field}.hostID`), size: asInteger(o['size'], `${field}.size`) }))
  const [seccomp, cgroupsPath] = [seccompOf(object['seccomp']), asString(object['cgroupsPath'], 'linux.cgroupsPath')]
  return {
    namespaces: objects(object['namespaces'], 'linux.namespaces', namespaceOf),
    uidMappings: ids('uidMappings'), gidMappings: ids('gidMappings'),
    timeOffsets: timeOffsetsOf(object['timeOffsets']),
    resources: decodeResources(object['resources']),
    devices: objects(object['devices'], 'linux.devices', deviceOf),
    sysctl: asStringMap(object['sysctl'], 'linux.sysctl'),
    ...(seccomp && { seccomp }),
    maskedPaths: asStrings(object['maskedPaths'], 'linux.maskedPaths'),
    readonlyPaths: asStrings(object['readonlyPaths'], 'linux.readonlyPaths'),
    ...(cgroupsPath !== '' && { cgroupsPath }),
  }
}

function hooksOf(value: unknown): DecodedConfig['hooks'] {
  const object = asObject(value, 'hooks')
  refuse(object, ['createContainer', 'startContainer'], 'hooks.')
  return Object.fromEntries(RUNTIME_HOOKS.map((name) => [name, objects(object[name], `hooks.${name}`, (o, field): OciHook => {
    const path = asString(o['path'], `${field}.path`)
    if (!path.startsWith('/')) throw new EngineError('invalid', `${field}.path: expected an absolute path, got "${path}"`)
    return { path, args: asStrings(o['args'], `${field}.args`), env: asStrings(o['env'], `${field}.env`), timeoutSeconds: optional(o['timeout'], (timeout) => asInteger(timeout, `${field}.timeout`)) }
  })]))
}

/** Reads `config.json` (runtime-spec, config.md). A field that this runtime does not honour is an error that names it. */
export function decodeConfig(value: unknown): DecodedConfig {
  const object = asObject(value, 'config.json')
  const version = asString(object['ociVersion'], 'ociVersion')
  if (!/^1\.\d+\.\d+/.test(version)) throw new EngineError('invalid', `ociVersion: expected 1.x.y, got "${version}"`)
  const root = asObject(object['root'], 'root')
  const rootPath = asString(root['path'], 'root.path')
  if (rootPath === '') throw new EngineError('invalid', 'root.path: expected a path')
  const [hostname, domainname] = [asString(object['hostname'], 'hostname'), asString(object['domainname'], 'domainname')]
  const spec: OciSpec = {
    ...(hostname !== '' && { hostname }),
    ...(domainname !== '' && { domainname }),
    process: decodeProcess(object['process']),
    root: { readonly: asBoolean(root['readonly'], 'root.readonly') },
    mounts: objects(object['mounts'], 'mounts', mountOf),
    linux: linuxOf(object['linux']),
    annotations: asStringMap(object['annotations'], 'annotations'),
  }
  if (!spec.linux.namespaces.some((one) => one.type === 'mount' && one.path === undefined)) throw new EngineError('unsupported', 'linux.namespaces: a mount namespace of its own is needed by this runtime')
  return { spec, rootPath, hooks: hooksOf(object['hooks']) }
}
