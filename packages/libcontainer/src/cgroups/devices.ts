import type { OciDeviceRule } from '../spec/oci.ts'

/**
 * Device rules of cgroup version 2 as an eBPF program of type CGROUP_DEVICE (`linux/bpf.h`). The context is
 * {u32 access << 16 | type, u32 major, u32 minor}; the last rule that matches decides, so rules are tried in reverse.
 */
const CODE = { MOV32: 0xb4, LDXW: 0x61, AND32: 0x54, RSH32: 0x74, JNE32: 0x56, JNE32X: 0x5e, MOV32X: 0xbc, EXIT: 0x95 } as const
const BLOCK = 1
const CHARACTER = 2
const ACCESS: Readonly<Record<string, number>> = { m: 1, r: 2, w: 4 }

function instruction(code: number, dst: number, src: number, offset: number, immediate: number): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeUInt8(code, 0)
  bytes.writeUInt8((src << 4) | dst, 1)
  bytes.writeInt16LE(offset, 2)
  bytes.writeInt32LE(immediate | 0, 4)
  return bytes
}

/** One rule: r2 type, r3 access, r4 major, r5 minor; a mismatch jumps to the next rule. */
function ruleCode(rule: OciDeviceRule): readonly Buffer[] {
  const checks: ((toNext: number) => Buffer)[] = []
  if (rule.type !== 'a') checks.push((next) => instruction(CODE.JNE32, 2, 0, next, rule.type === 'b' ? BLOCK : CHARACTER))
  const access = [...rule.access].reduce((bits, letter) => bits | (ACCESS[letter] ?? 0), 0)
  if (rule.type !== 'a' && access !== 7) {
    // Every bit that is asked for must be among the rule's.
    checks.push(() => instruction(CODE.MOV32X, 1, 3, 0, 0), () => instruction(CODE.AND32, 1, 0, 0, access), (next) => instruction(CODE.JNE32X, 1, 3, next, 0))
  }
  if (rule.type !== 'a' && rule.major !== undefined && rule.major >= 0) checks.push((next) => instruction(CODE.JNE32, 4, 0, next, rule.major ?? 0))
  if (rule.type !== 'a' && rule.minor !== undefined && rule.minor >= 0) checks.push((next) => instruction(CODE.JNE32, 5, 0, next, rule.minor ?? 0))
  const end = [instruction(CODE.MOV32, 0, 0, 0, rule.allow ? 1 : 0), instruction(CODE.EXIT, 0, 0, 0, 0)]
  return [...checks.map((check, index) => check(checks.length - index - 1 + end.length)), ...end]
}

/** The program that carries the rules out; nothing matches means no. */
export function deviceProgram(rules: readonly OciDeviceRule[]): Buffer {
  const head = [
    instruction(CODE.LDXW, 2, 1, 0, 0),
    instruction(CODE.MOV32X, 3, 2, 0, 0),
    instruction(CODE.AND32, 2, 0, 0, 0xffff),
    instruction(CODE.RSH32, 3, 0, 0, 16),
    instruction(CODE.LDXW, 4, 1, 4, 0),
    instruction(CODE.LDXW, 5, 1, 8, 0),
  ]
  // A rule for all devices ends the program: the kernel refuses code that cannot be reached.
  const catchAll = rules.findLastIndex((rule) => rule.type === 'a')
  const body = rules.slice(Math.max(0, catchAll)).toReversed().flatMap((rule) => ruleCode(rule))
  const last = catchAll >= 0 ? [] : [instruction(CODE.MOV32, 0, 0, 0, 0), instruction(CODE.EXIT, 0, 0, 0, 0)]
  return Buffer.concat([...head, ...body, ...last])
}
