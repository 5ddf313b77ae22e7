import { EngineError } from '@gantry/std'
import type { OciSeccomp, SeccompAction, SeccompArg, SeccompRule } from '../spec/oci.ts'

/** A profile as Docker keeps it: rules that apply only with some capabilities, architectures or kernels. */
export interface ProfileRule {
  readonly names: readonly string[]
  readonly action: SeccompAction
  readonly errnoRet?: number
  readonly args?: readonly SeccompArg[]
  readonly includes?: ProfileFilter
  readonly excludes?: ProfileFilter
}
/** When a rule applies. */
export interface ProfileFilter {
  readonly caps?: readonly string[]
  readonly arches?: readonly string[]
  readonly minKernel?: string
}
/** The whole document. */
export interface SeccompProfile {
  readonly defaultAction: SeccompAction
  readonly defaultErrnoRet?: number
  readonly architectures?: readonly string[]
  readonly archMap?: readonly { readonly architecture: string; readonly subArchitectures?: readonly string[] | null }[]
  readonly syscalls: readonly ProfileRule[]
}

/** What a rule's conditions are held against. */
export interface ProfileHost {
  readonly capabilities: readonly string[]
  readonly arch: 'amd64' | 'arm64'
  /** `major.minor` of the running kernel. */
  readonly kernel: string
}

function kernelAtLeast(running: string, wanted: string): boolean {
  const [a = 0, b = 0] = running.split('.').map(Number)
  const [x = 0, y = 0] = wanted.split('.').map(Number)
  return a > x || (a === x && b >= y)
}

function included(filter: ProfileFilter | undefined, host: ProfileHost): boolean {
  if (filter === undefined) return true
  if (filter.caps?.some((name) => !host.capabilities.includes(name)) === true) return false
  if (filter.arches !== undefined && filter.arches.length > 0 && !filter.arches.includes(host.arch)) return false
  return filter.minKernel === undefined || kernelAtLeast(host.kernel, filter.minKernel)
}

function excluded(filter: ProfileFilter | undefined, host: ProfileHost): boolean {
  if (filter === undefined) return false
  if (filter.caps?.some((name) => host.capabilities.includes(name)) === true) return true
  if (filter.arches?.includes(host.arch) === true) return true
  return filter.minKernel !== undefined && kernelAtLeast(host.kernel, filter.minKernel)
}

/** Settles the conditions of a profile for one container. */
export function resolveProfile(profile: SeccompProfile, host: ProfileHost): OciSeccomp {
  const native = host.arch === 'arm64' ? 'SCMP_ARCH_AARCH64' : 'SCMP_ARCH_X86_64'
  const mapped = profile.archMap?.find((entry) => entry.architecture === native)
  const architectures = mapped === undefined ? (profile.architectures ?? []) : [mapped.architecture, ...(mapped.subArchitectures ?? [])]
  const syscalls = profile.syscalls
    .filter((rule) => included(rule.includes, host) && !excluded(rule.excludes, host))
    .map((rule): SeccompRule => ({ names: rule.names, action: rule.action, ...(rule.errnoRet !== undefined && { errnoRet: rule.errnoRet }), ...(rule.args && { args: rule.args }) }))
  return { defaultAction: profile.defaultAction, ...(profile.defaultErrnoRet !== undefined && { defaultErrnoRet: profile.defaultErrnoRet }), architectures, syscalls }
}

const ACTIONS = /^SCMP_ACT_(ALLOW|ERRNO|KILL|KILL_PROCESS|KILL_THREAD|TRAP|TRACE|LOG)$/

/** Reads a profile that a user brought; what cannot be honoured is refused by name. */
export function parseProfile(text: string): SeccompProfile {
  let document: unknown
  try {
    document = JSON.parse(text)
  } catch (cause) {
    throw new EngineError('invalid', 'decoding seccomp profile failed: not JSON', { cause })
  }
  const profile = document as SeccompProfile
  if (typeof profile !== 'object' || profile === null || !Array.isArray(profile.syscalls ?? [])) throw new EngineError('invalid', 'decoding seccomp profile failed: expected an object with syscalls')
  if (!ACTIONS.test(profile.defaultAction)) throw new EngineError('invalid', `seccomp: action '${profile.defaultAction}' is not supported`)
  for (const rule of profile.syscalls ?? []) if (!ACTIONS.test(rule.action)) throw new EngineError('invalid', `seccomp: action '${rule.action}' is not supported`)
  const named = (profile.syscalls ?? []).map((rule) => ('name' in rule ? { ...rule, names: [String((rule as { name: unknown }).name)] } : rule))
  return { ...profile, syscalls: named.map((rule) => ({ ...rule, ...(rule.args === null ? { args: [] } : {}) })) }
}
