/** Our filter compiler against libseccomp's on the same profile: every number of x86-64 and i386, with arguments on both sides of every comparison. */
import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { after, before, describe, it } from 'node:test'
import { compileSeccomp, DEFAULT_CAPABILITIES, DEFAULT_PROFILE, encodeBpf, type OciSeccomp, resolveProfile } from '../../packages/libcontainer/src/index.ts'
import { I386, X86_64 } from '../../packages/linux/src/index.ts'

const skip = !existsSync('/usr/include/seccomp.h') ? 'needs libseccomp-dev (Debian package)' : process.arch !== 'x64' ? 'compares the filters of x86-64' : false
const OPS = { SCMP_CMP_NE: 1, SCMP_CMP_LT: 2, SCMP_CMP_LE: 3, SCMP_CMP_EQ: 4, SCMP_CMP_GE: 5, SCMP_CMP_GT: 6, SCMP_CMP_MASKED_EQ: 7 } as const
const ARCHES = { x86_64: [0xc000003e, X86_64], x86: [0x40000003, I386] } as const
const MAX = (1n << 64n) - 1n

/** Classic BPF as the kernel runs it over struct seccomp_data (`linux/filter.h`, `linux/seccomp.h`). */
function runBpf(program: Buffer, nr: number, arch: number, args: readonly bigint[]): number {
  const data = Buffer.alloc(64)
  data.writeUInt32LE(nr, 0)
  data.writeUInt32LE(arch, 4)
  args.forEach((value, index) => data.writeBigUInt64LE(value, 16 + index * 8))
  let accumulator = 0
  const scratch = new Uint32Array(16)
  let index = 0
  for (let at = 0; ; ) {
    const [code, jt, jf, k] = [program.readUInt16LE(at * 8), program.readUInt8(at * 8 + 2), program.readUInt8(at * 8 + 3), program.readUInt32LE(at * 8 + 4)]
    at++
    const jump = (yes: boolean): void => void (at += yes ? jt : jf)
    switch (code) {
      case 0x20: accumulator = data.readUInt32LE(k); break
      case 0x60: accumulator = scratch[k] ?? 0; break
      case 0x61: index = scratch[k] ?? 0; break
      case 0x02: scratch[k] = accumulator; break
      case 0x00: accumulator = k; break
      case 0x54: accumulator = (accumulator & k) >>> 0; break
      case 0x07: index = accumulator; break
      case 0x87: accumulator = index; break
      case 0x05: at += k; break
      case 0x15: jump(accumulator === k); break
      case 0x25: jump(accumulator > k); break
      case 0x35: jump(accumulator >= k); break
      case 0x45: jump((accumulator & k) !== 0); break
      case 0x06: return k
      default: throw new Error(`unknown instruction 0x${code.toString(16)}`)
    }
  }
}

/** Arguments around every value that a rule of the call compares with. */
function samples(profile: OciSeccomp, name: string): readonly (readonly bigint[])[] {
  const values = new Map<number, Set<bigint>>()
  for (const rule of profile.syscalls.filter((one) => one.names.includes(name))) {
    for (const arg of rule.args ?? []) {
      const set = values.get(arg.index) ?? new Set([0n, 1n, MAX])
      for (const value of [BigInt(arg.value), BigInt(arg.valueTwo ?? 0)]) for (const near of [value - 1n, value, value + 1n, value + (1n << 32n)]) if (near >= 0n && near <= MAX) set.add(near)
      values.set(arg.index, set)
    }
  }
  const one = [...values].flatMap(([index, set]) => [...set].map((value) => Array.from({ length: 6 }, (_, n) => (n === index ? value : 0n))))
  return one.length === 0 ? [[0n, 0n, 0n, 0n, 0n, 0n]] : one
}

describe('the compiler of filters and libseccomp', { skip }, () => {
  let home = ''
  before(() => {
    home = mkdtempSync(`${tmpdir()}/gtest-oracle-`)
    execFileSync('gcc', ['-O1', '-o', `${home}/oracle`, `${import.meta.dirname}/libseccomp.c`, '-lseccomp'])
  })
  after(() => rmSync(home, { recursive: true, force: true }))

  const oracle = (profile: OciSeccomp): { readonly program: Buffer; readonly unknown: ReadonlySet<string> } => {
    const action = (name: string, errno: number | undefined): string => `${name.replace('SCMP_ACT_', '')} ${errno ?? 1}`
    const lines = [
      `default ${action(profile.defaultAction, profile.defaultErrnoRet)}`, ...profile.architectures.filter((one) => one !== 'SCMP_ARCH_X32').map((one) => `arch ${one.replace('SCMP_ARCH_', '').toLowerCase()}`),
      ...profile.syscalls.flatMap((rule) => rule.names.map((name) => `rule ${action(rule.action, rule.errnoRet)} ${name} ${(rule.args ?? []).length} ${(rule.args ?? []).map((arg) => `${arg.index} ${OPS[arg.op]} ${arg.value} ${arg.valueTwo ?? 0}`).join(' ')}`)),
    ]
    const ran = spawnSync(`${home}/oracle`, { input: `${lines.join('\n')}\n` })
    assert.equal(ran.status, 0)
    return { program: ran.stdout, unknown: new Set(ran.stderr.toString().trim().split('\n')) }
  }
  const compare = (profile: OciSeccomp): { readonly verdicts: number; readonly unknown: number } => {
    const { program, unknown } = oracle(profile)
    const ours = encodeBpf(compileSeccomp(profile))
    const deviations: string[] = []
    let verdicts = 0
    for (const [arch, [audit, numbers]] of Object.entries(ARCHES)) {
      if (!profile.architectures.includes(`SCMP_ARCH_${arch.toUpperCase()}`)) continue
      for (const [name, nr] of Object.entries(numbers)) {
        // An older library does not know the youngest calls: it cannot be asked about them.
        if (unknown.has(name)) continue
        for (const args of samples(profile, name)) {
          // Arguments of i386 have 32 bits.
          if (arch === 'x86' && args.some((value) => value >> 32n !== 0n)) continue
          verdicts++
          const [mine, theirs] = [runBpf(ours, nr, audit, args), runBpf(program, nr, audit, args)]
          if (mine !== theirs) deviations.push(`${arch} ${name}(${args.join()}): 0x${mine.toString(16)}, libseccomp 0x${theirs.toString(16)}`)
        }
      }
    }
    assert.deepEqual(deviations, [])
    return { verdicts, unknown: unknown.size }
  }

  for (const [title, capabilities] of [['default capabilities', DEFAULT_CAPABILITIES], ['SYS_ADMIN', [...DEFAULT_CAPABILITIES, 'CAP_SYS_ADMIN']], ['none', []]] as const) {
    it(`the default profile, ${title}`, (t) => {
      const { verdicts, unknown } = compare(resolveProfile(DEFAULT_PROFILE, { capabilities, arch: 'amd64', kernel: '6.18' }))
      t.diagnostic(`${verdicts} verdicts are the same; ${unknown} names are unknown to this libseccomp`)
      assert.ok(verdicts > 700)
    })
  }
  for (const [value, architectures] of [[0x1005, ['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86']], [0x1_0000_0005, ['SCMP_ARCH_X86_64']]] as const) it(`every comparison, with ${value}, and every action`, () => {
    const rules = Object.keys(OPS).map((op, index) => ({ names: [['dup', 'dup2', 'kill', 'lseek', 'read', 'write', 'ioctl'][index] ?? ''], action: 'SCMP_ACT_ERRNO' as const, errnoRet: 10 + index, args: [{ index: index % 3, op: op as keyof typeof OPS, value, valueTwo: op === 'SCMP_CMP_MASKED_EQ' ? value - 4 : 0 }] }))
    compare({ defaultAction: 'SCMP_ACT_ALLOW', architectures, syscalls: [...rules, { names: ['mkdir'], action: 'SCMP_ACT_KILL_PROCESS' }, { names: ['rmdir'], action: 'SCMP_ACT_TRAP' }, { names: ['unlink'], action: 'SCMP_ACT_LOG' }] })
  })
  it('two comparisons of one rule hold together', () => void compare({ defaultAction: 'SCMP_ACT_ERRNO', architectures: ['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86'], syscalls: [{ names: ['mmap'], action: 'SCMP_ACT_ALLOW', args: [{ index: 2, op: 'SCMP_CMP_MASKED_EQ', value: 4, valueTwo: 0 }, { index: 3, op: 'SCMP_CMP_LE', value: 100 }] }] }))
})
