import { release } from 'node:os'
import { DEFAULT_APPARMOR, DEFAULT_CAPABILITIES, DEFAULT_PROFILE, type OciSeccomp, parseProfile, resolveProfile, tweakCapabilities } from '@gantry/runtime'
import type { HostConfig } from '@gantry/api'
import { EngineError } from '@gantry/std'

/** What the security options come to. */
export interface Security {
  readonly capabilities: readonly string[]
  readonly seccomp: OciSeccomp | undefined
  readonly noNewPrivileges: boolean
  readonly systemPathsConfined: boolean
  /** Profile of AppArmor; none: unconfined, or the host has no AppArmor. */
  readonly apparmor: string | undefined
}

interface Options {
  seccomp: string
  noNewPrivileges: boolean
  systemPaths: boolean
  apparmor: string
}

function readOptions(list: readonly string[]): Options {
  const options: Options = { seccomp: 'default', noNewPrivileges: false, systemPaths: true, apparmor: '' }
  for (const option of list) {
    const at = option.search(/[=:]/)
    const key = at < 0 ? option : option.slice(0, at)
    const value = at < 0 ? '' : option.slice(at + 1)
    switch (key) {
      case 'no-new-privileges':
        if (value !== '' && value !== 'true' && value !== 'false') throw new EngineError('invalid', `invalid --security-opt: "${option}"`)
        options.noNewPrivileges = value !== 'false'
        break
      case 'seccomp':
        options.seccomp = value
        break
      case 'systempaths':
        if (value !== 'unconfined') throw new EngineError('invalid', `invalid --security-opt 2: "${option}"`)
        options.systemPaths = false
        break
      case 'apparmor':
        options.apparmor = value
        break
      case 'label':
        // Contexts are not given by this daemon; only switching them off can be honoured.
        if (value !== 'disable' && value !== '') throw new EngineError('unsupported', `--security-opt ${option}: SELinux is not enabled for this daemon`)
        break
      default:
        throw new EngineError('invalid', `invalid --security-opt 2: "${option}"`)
    }
  }
  return options
}

const profiles = new Map<string, OciSeccomp>()

function seccompFor(option: string, capabilities: readonly string[]): OciSeccomp | undefined {
  if (option === 'unconfined') return undefined
  const key = `${option}\n${capabilities.join()}`
  let found = profiles.get(key)
  if (found === undefined) {
    const profile = option === 'default' || option === 'builtin' ? DEFAULT_PROFILE : parseProfile(option)
    found = resolveProfile(profile, { capabilities, arch: process.arch === 'arm64' ? 'arm64' : 'amd64', kernel: release() })
    if (profiles.size > 64) profiles.clear()
    profiles.set(key, found)
  }
  return found
}

/** Settles capabilities, filter and paths of a container. */
export function settleSecurity(hostConfig: HostConfig, known: readonly string[], confined = false): Security {
  const options = readOptions(hostConfig.SecurityOpt ?? [])
  if (options.apparmor !== '' && options.apparmor !== 'unconfined' && !confined) throw new EngineError('unsupported', `--security-opt apparmor=${options.apparmor}: AppArmor is not enabled on the host`)
  const profile = options.apparmor === '' ? (hostConfig.Privileged ? 'unconfined' : DEFAULT_APPARMOR) : options.apparmor
  const apparmor = confined && profile !== 'unconfined' ? profile : undefined
  const base = hostConfig.Privileged ? known : DEFAULT_CAPABILITIES
  const capabilities = hostConfig.Privileged ? known : tweakCapabilities(base, hostConfig.CapAdd ?? [], hostConfig.CapDrop ?? [], known)
  const seccomp = hostConfig.Privileged ? undefined : seccompFor(options.seccomp, capabilities)
  return { capabilities, seccomp, noNewPrivileges: options.noNewPrivileges, systemPathsConfined: options.systemPaths && !hostConfig.Privileged, apparmor }
}

const ALLOWED_SYSCTLS = /^(net\..+|kernel\.(msgmax|msgmnb|msgmni|sem|shmall|shmmax|shmmni|shm_rmid_forced)|fs\.mqueue\..+)$/

/** Only settings that belong to a namespace of the container; separators cannot smuggle others in (CVE-2022-0811). */
export function settleSysctls(hostConfig: HostConfig, ownNetwork: boolean, ownIpc: boolean, ownUsers: boolean): Readonly<Record<string, string>> {
  const result: Record<string, string> = ownNetwork ? { 'net.ipv4.ip_unprivileged_port_start': '0', ...(!ownUsers && { 'net.ipv4.ping_group_range': '0 2147483647' }) } : {}
  for (const [key, value] of Object.entries(hostConfig.Sysctls ?? {})) {
    if (!ALLOWED_SYSCTLS.test(key) || !/^[\w.-]+$/.test(key) || key.includes('..')) throw new EngineError('invalid', `sysctl '${key}' is not allowed: it does not belong to a namespace of the container`)
    if (key.startsWith('net.') && !ownNetwork) throw new EngineError('invalid', `sysctl '${key}' not allowed as network namespace is not private`)
    if (!key.startsWith('net.') && !ownIpc) throw new EngineError('invalid', `sysctl '${key}' not allowed as ipc namespace is not private`)
    result[key] = value
  }
  return result
}
