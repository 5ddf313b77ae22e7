import { asBoolean, asInteger, asObject, asString, asStringMap, asStrings, EngineError, type JsonObject } from '@gantry/std'
import { parseProfile } from '../seccomp/profile.ts'
import { idMappings, objects, optional, refuse } from './decode-parts.ts'
import { decodeProcess } from './decode-process.ts'
import { decodeResources } from './decode-resources.ts'
import { HOOK_NAMES, type OciDevice, type OciHook, type OciHooks, type OciLinux, type OciMount, type OciNamespace, type OciSeccomp, type OciSpec, type SeccompFlag } from './oci.ts'

/** A container's configuration as a bundle has it: the specification, and where its root is. */
export interface DecodedConfig {
  readonly spec: OciSpec
  /** As written; relative paths count from the bundle. */
  readonly rootPath: string
}

function mountOf(o: JsonObject, field: string): OciMount {
  const options = asStrings(o['options'], `${field}.options`)
  const destination = asString(o['destination'], `${field}.destination`)
  if (destination === '') throw new EngineError('invalid', `${field}.destination: expected a path`)
  const bind = options.includes('bind') || options.includes('rbind')
  const source = asString(o['source'], `${field}.source`)
  const [uids, gids] = [idMappings(o, 'uidMappings', `${field}.`), idMappings(o, 'gidMappings', `${field}.`)]
  if ((uids.length > 0 || gids.length > 0) && !bind) throw new EngineError('unsupported', `${field}: mapped ids are supported for binds only`)
  return { destination: destination.startsWith('/') ? destination : `/${destination}`, type: bind ? 'bind' : asString(o['type'], `${field}.type`), source, options, ...((uids.length > 0 || gids.length > 0) && { idMappings: { uids, gids } }) }
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

const SECCOMP_FLAGS: ReadonlySet<string> = new Set<SeccompFlag>(['SECCOMP_FILTER_FLAG_TSYNC', 'SECCOMP_FILTER_FLAG_LOG', 'SECCOMP_FILTER_FLAG_SPEC_ALLOW'])

function seccompOf(value: unknown): OciSeccomp | undefined {
  if (value === undefined || value === null) return undefined
  const object = asObject(value, 'linux.seccomp')
  // Somebody would have to answer the kernel's questions.
  refuse(object, ['listenerPath', 'listenerMetadata'], 'linux.seccomp.')
  const flags = asStrings(object['flags'], 'linux.seccomp.flags')
  for (const flag of flags) if (!SECCOMP_FLAGS.has(flag)) throw new EngineError('unsupported', `linux.seccomp.flags: ${flag} is not supported by this runtime`)
  const profile = parseProfile(JSON.stringify(object))
  return { defaultAction: profile.defaultAction, ...(profile.defaultErrnoRet !== undefined && { defaultErrnoRet: profile.defaultErrnoRet }), architectures: profile.architectures ?? [], syscalls: profile.syscalls, ...(flags.length > 0 && { flags: flags as readonly SeccompFlag[] }) }
}

function timeOffsetsOf(value: unknown): NonNullable<OciLinux['timeOffsets']> {
  const object = asObject(value, 'linux.timeOffsets')
  for (const clock of Object.keys(object)) if (clock !== 'monotonic' && clock !== 'boottime') throw new EngineError('invalid', `linux.timeOffsets: unknown clock "${clock}"`)
  return Object.fromEntries(Object.entries(object).map(([clock, offset]) => {
    const { secs, nanosecs } = asObject(offset, `linux.timeOffsets.${clock}`)
    return [clock, { secs: asInteger(secs, `linux.timeOffsets.${clock}.secs`), nanosecs: asInteger(nanosecs, `linux.timeOffsets.${clock}.nanosecs`) }]
  }))
}

const PROPAGATIONS = ['private', 'rprivate', 'slave', 'rslave', 'shared', 'rshared', 'unbindable', 'runbindable'] as const

function domainOf(value: unknown): NonNullable<OciLinux['personality']> {
  const object = asObject(value, 'linux.personality')
  refuse(object, ['flags'], 'linux.personality.')
  const domain = asString(object['domain'], 'linux.personality.domain')
  if (domain !== 'LINUX' && domain !== 'LINUX32') throw new EngineError('invalid', `linux.personality.domain: expected LINUX or LINUX32, got "${domain}"`)
  return domain
}

function linuxOf(value: unknown): OciLinux {
  const object = asObject(value, 'linux')
  refuse(object, ['intelRdt', 'memoryPolicy', 'netDevices'], 'linux.')
  const written = asString(object['rootfsPropagation'], 'linux.rootfsPropagation')
  const rootfsPropagation = PROPAGATIONS.find((one) => one === written)
  if (written !== '' && rootfsPropagation === undefined) throw new EngineError('invalid', `linux.rootfsPropagation: expected ${PROPAGATIONS.join(', ')}, got "${written}"`)
  const [seccomp, cgroupsPath, mountLabel, personality] = [seccompOf(object['seccomp']), asString(object['cgroupsPath'], 'linux.cgroupsPath'), asString(object['mountLabel'], 'linux.mountLabel'), optional(object['personality'], domainOf)]
  return {
    namespaces: objects(object['namespaces'], 'linux.namespaces', namespaceOf),
    uidMappings: idMappings(object, 'uidMappings', 'linux.'), gidMappings: idMappings(object, 'gidMappings', 'linux.'),
    timeOffsets: timeOffsetsOf(object['timeOffsets']),
    resources: decodeResources(object['resources']),
    devices: objects(object['devices'], 'linux.devices', deviceOf),
    sysctl: asStringMap(object['sysctl'], 'linux.sysctl'),
    ...(seccomp && { seccomp }),
    maskedPaths: asStrings(object['maskedPaths'], 'linux.maskedPaths'),
    readonlyPaths: asStrings(object['readonlyPaths'], 'linux.readonlyPaths'),
    ...(cgroupsPath !== '' && { cgroupsPath }),
    ...(rootfsPropagation && { rootfsPropagation }),
    ...(mountLabel !== '' && { mountLabel }),
    ...(personality && { personality }),
  }
}

function hooksOf(value: unknown): OciHooks {
  const object = asObject(value, 'hooks')
  return Object.fromEntries(HOOK_NAMES.map((name) => [name, objects(object[name], `hooks.${name}`, (o, field): OciHook => {
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
    hooks: hooksOf(object['hooks']),
  }
  if (!spec.linux.namespaces.some((one) => one.type === 'mount' && one.path === undefined)) throw new EngineError('unsupported', 'linux.namespaces: a mount namespace of its own is needed by this runtime')
  return { spec, rootPath }
}
