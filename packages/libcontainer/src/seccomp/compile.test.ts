import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { ARM64, I386, X86_64 } from '@gantry/linux'
import { DEFAULT_CAPABILITIES } from '../capabilities.ts'
import type { OciSeccomp } from '../spec/oci.ts'
import { compileSeccomp, emulateBpf, encodeBpf } from './compile.ts'
import { DEFAULT_PROFILE } from './default.table.ts'
import { parseProfile, resolveProfile } from './profile.ts'

const ARCHES = { SCMP_ARCH_X86_64: [0xc000003e, X86_64], SCMP_ARCH_X86: [0x40000003, I386], SCMP_ARCH_AARCH64: [0xc00000b7, ARM64] } as const
const ALLOW = 0x7fff0000

/** What the rules say, taken word by word: the oracle. */
function expected(profile: OciSeccomp, name: string, args: readonly bigint[]): number {
  const holds = (rule: OciSeccomp['syscalls'][number]): boolean =>
    (rule.args ?? []).every((arg) => {
      const value = args[arg.index] ?? 0n
      const wanted = BigInt(arg.value)
      switch (arg.op) {
        case 'SCMP_CMP_EQ': return value === wanted
        case 'SCMP_CMP_NE': return value !== wanted
        case 'SCMP_CMP_LT': return value < wanted
        case 'SCMP_CMP_LE': return value <= wanted
        case 'SCMP_CMP_GT': return value > wanted
        case 'SCMP_CMP_GE': return value >= wanted
        default: return (value & wanted) === BigInt(arg.valueTwo ?? 0)
      }
    })
  const rules = profile.syscalls.filter((rule) => rule.names.includes(name))
  const rule = rules.filter((one) => (one.args ?? []).length > 0).find(holds) ?? rules.find((one) => (one.args ?? []).length === 0)
  if (rule === undefined) return 0x50000 | (profile.defaultErrnoRet ?? 1)
  return rule.action === 'SCMP_ACT_ALLOW' ? ALLOW : 0x50000 | (rule.errnoRet ?? 1)
}

const SAMPLES: readonly (readonly bigint[])[] = [[0n], [2n], [8n], [38n], [39n], [40n], [41n], [0x20000n], [0x20008n], [0xffffffffn], [0x7e020000n], [0x10000000n], [1n << 32n], [(1n << 32n) + 38n]]

describe('compileSeccomp()', () => {
  for (const [title, capabilities] of [['default capabilities', DEFAULT_CAPABILITIES], ['SYS_ADMIN and SYS_PTRACE', [...DEFAULT_CAPABILITIES, 'CAP_SYS_ADMIN', 'CAP_SYS_PTRACE']], ['no capability', []]] as const) {
    it(`gives each number of each architecture the verdict of the profile: ${title}`, () => {
      const profile = resolveProfile(DEFAULT_PROFILE, { capabilities, arch: 'amd64', kernel: '6.18' })
      const code = compileSeccomp(profile)
      for (const arch of ['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86'] as const) {
        const [audit, numbers] = ARCHES[arch]
        for (const [name, nr] of Object.entries(numbers)) for (const args of SAMPLES) assert.equal(emulateBpf(code, { nr, arch: audit, args }), expected(profile, name, args), `${arch} ${name} ${args}`)
      }
    })
  }
  it('refuses the x32 ABI and kills what it does not know', () => {
    const code = compileSeccomp(resolveProfile(DEFAULT_PROFILE, { capabilities: [], arch: 'amd64', kernel: '6.18' }))
    assert.equal(emulateBpf(code, { nr: 0x40000000, arch: 0xc000003e, args: [] }), 0x50026)
    assert.equal(emulateBpf(code, { nr: 0, arch: 1, args: [] }), 0x80000000)
  })
  it('stays small: loading costs the kernel a run per number', () => assert.ok(encodeBpf(compileSeccomp(resolveProfile(DEFAULT_PROFILE, { capabilities: DEFAULT_CAPABILITIES, arch: 'amd64', kernel: '6.18' }))).length / 8 < 600))
  it('the 2026-31431 class: AF_ALG sockets are refused', () => {
    const code = compileSeccomp(resolveProfile(DEFAULT_PROFILE, { capabilities: DEFAULT_CAPABILITIES, arch: 'amd64', kernel: '6.18' }))
    assert.equal(emulateBpf(code, { nr: X86_64['socket'] ?? 0, arch: 0xc000003e, args: [38n] }), 0x50001)
  })
})
it('parseProfile() names what it cannot honour', () => {
  assert.throws(() => parseProfile('{"defaultAction":"SCMP_ACT_NOTIFY","syscalls":[]}'), /SCMP_ACT_NOTIFY' is not supported/)
  assert.throws(() => parseProfile('nonsense'), /not JSON/)
})
