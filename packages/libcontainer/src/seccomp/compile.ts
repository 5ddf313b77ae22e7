import { EngineError } from '@gantry/std'
import { ARM64, I386, X86_64 } from '@gantry/linux'
import type { OciSeccomp, SeccompAction, SeccompArg, SeccompRule } from '../spec/oci.ts'

/**
 * Compiles a profile to classic BPF (`linux/filter.h`, `linux/seccomp.h`). Numbers are found by binary search over ranges of
 * equal verdict: the kernel emulates a filter once per number when it is loaded, and a linear one costs it 0.5 ms a start.
 */
const LD = 0x20
const JA = 0x05
const JEQ = 0x15
const JGT = 0x25
const JGE = 0x35
const AND = 0x54
const RET = 0x06
const X32_BIT = 0x40000000
const ENOSYS = 38

/** One BPF instruction. */
export interface BpfInstruction {
  readonly code: number
  readonly jt: number
  readonly jf: number
  readonly k: number
}

interface Architecture {
  readonly audit: number
  readonly numbers: Readonly<Record<string, number>>
  readonly x32: boolean
}

const ARCHITECTURES: Readonly<Record<string, Architecture>> = {
  SCMP_ARCH_X86_64: { audit: 0xc000003e, numbers: X86_64, x32: true },
  SCMP_ARCH_X86: { audit: 0x40000003, numbers: I386, x32: false },
  SCMP_ARCH_AARCH64: { audit: 0xc00000b7, numbers: ARM64, x32: false },
}

const instruction = (code: number, k: number, jt = 0, jf = 0): BpfInstruction => ({ code, jt, jf, k: k >>> 0 })

function returnValue(action: SeccompAction, errno: number): number {
  switch (action) {
    case 'SCMP_ACT_ALLOW':
      return 0x7fff0000
    case 'SCMP_ACT_ERRNO':
      return (0x00050000 | (errno & 0xffff)) >>> 0
    case 'SCMP_ACT_KILL':
    case 'SCMP_ACT_KILL_THREAD':
      return 0
    case 'SCMP_ACT_KILL_PROCESS':
      return 0x80000000
    case 'SCMP_ACT_TRAP':
      return 0x00030000
    case 'SCMP_ACT_TRACE':
      return (0x7ff00000 | (errno & 0xffff)) >>> 0
    case 'SCMP_ACT_LOG':
      return 0x7ffc0000
    default:
      return action satisfies never
  }
}

const EPERM = 1
const verdictOf = (rule: SeccompRule): number => returnValue(rule.action, rule.errnoRet ?? EPERM)

/** What happens with one number: the checks of arguments in order, then the verdict. */
interface Leaf {
  readonly checks: readonly SeccompRule[]
  readonly verdict: number
}

function leaves(profile: OciSeccomp, numbers: Readonly<Record<string, number>>): ReadonlyMap<number, Leaf> {
  const fallback = returnValue(profile.defaultAction, profile.defaultErrnoRet ?? EPERM)
  const found = new Map<number, Leaf>()
  for (const rule of profile.syscalls) {
    for (const name of rule.names) {
      const number = numbers[name]
      if (number === undefined) continue
      const leaf = found.get(number) ?? { checks: [], verdict: fallback }
      if (rule.args === undefined || rule.args.length === 0) {
        // Several plain rules for one call: the first stands, as a filter cannot hold two answers.
        if (leaf.verdict === fallback) found.set(number, { checks: leaf.checks, verdict: verdictOf(rule) })
      } else found.set(number, { checks: [...leaf.checks, rule], verdict: leaf.verdict })
    }
  }
  return found
}

interface Range {
  readonly start: number
  readonly leaf: Leaf
}

function ranges(found: ReadonlyMap<number, Leaf>, fallback: number): readonly Range[] {
  const list: Range[] = []
  const plain: Leaf = { checks: [], verdict: fallback }
  const last = Math.max(-1, ...found.keys())
  for (let number = 0; number <= last + 1; number++) {
    const leaf = found.get(number) ?? plain
    const before = list.at(-1)?.leaf
    if (before !== undefined && before.checks.length === 0 && leaf.checks.length === 0 && before.verdict === leaf.verdict) continue
    list.push({ start: number, leaf })
  }
  return list
}

/** A jump of any distance: the 8-bit offsets of conditions only ever skip one instruction. */
function tree(list: readonly Range[]): readonly BpfInstruction[] {
  const only = list[0]
  if (only === undefined) throw new EngineError('internal', 'empty range list')
  if (list.length === 1) return leafCode(only.leaf)
  const middle = list.length >> 1
  const left = tree(list.slice(0, middle))
  const right = tree(list.slice(middle))
  const start = list[middle]?.start ?? 0
  if (left.length <= 255) return [instruction(JGE, start, left.length, 0), ...left, ...right]
  return [instruction(JGE, start, 0, 1), instruction(JA, left.length), ...left, ...right]
}

function leafCode(leaf: Leaf): readonly BpfInstruction[] {
  const code: BpfInstruction[] = []
  for (const rule of leaf.checks) {
    const checks = (rule.args ?? []).flatMap((arg, index) => argumentCode(arg, index))
    code.push(...resolve(checks, verdictOf(rule)))
  }
  return [...code, instruction(RET, leaf.verdict)]
}

/** A comparison whose jumps are named until the rule's length is known. */
interface Draft extends BpfInstruction {
  readonly onTrue?: 'next' | 'fail' | 'low' | 'pass'
  readonly onFalse?: 'next' | 'fail' | 'low' | 'pass'
  readonly group: number
}

function argumentCode(arg: SeccompArg, group: number): readonly Draft[] {
  if (arg.index < 0 || arg.index > 5) throw new EngineError('invalid', `seccomp: argument index ${arg.index} is not between 0 and 5`)
  const offset = 16 + arg.index * 8
  const masked = arg.op === 'SCMP_CMP_MASKED_EQ'
  const value = BigInt(masked ? (arg.valueTwo ?? 0) : arg.value)
  const mask = BigInt(arg.value)
  const high = Number(value >> 32n)
  const low = Number(value & 0xffffffffn)
  const load = (at: number, bits: bigint): readonly Draft[] => [
    { ...instruction(LD, at), group },
    ...(masked ? [{ ...instruction(AND, Number(bits)), group }] : []),
  ]
  const loadHigh = load(offset + 4, mask >> 32n)
  const loadLow = load(offset, mask & 0xffffffffn)
  const jump = (code: number, k: number, onTrue: Draft['onTrue'], onFalse: Draft['onFalse']): Draft => ({ ...instruction(code, k), group, ...(onTrue && { onTrue }), ...(onFalse && { onFalse }) })
  switch (arg.op) {
    case 'SCMP_CMP_EQ':
    case 'SCMP_CMP_MASKED_EQ':
      return [...loadHigh, jump(JEQ, high, 'low', 'fail'), ...loadLow, jump(JEQ, low, 'next', 'fail')]
    case 'SCMP_CMP_NE':
      return [...loadHigh, jump(JEQ, high, 'low', 'next'), ...loadLow, jump(JEQ, low, 'fail', 'next')]
    case 'SCMP_CMP_GT':
    case 'SCMP_CMP_GE':
      return [...loadHigh, jump(JGT, high, 'next', 'low'), jump(JEQ, high, 'low', 'fail'), ...loadLow, jump(arg.op === 'SCMP_CMP_GT' ? JGT : JGE, low, 'next', 'fail')]
    case 'SCMP_CMP_LT':
    case 'SCMP_CMP_LE':
      return [...loadHigh, jump(JGT, high, 'fail', 'low'), jump(JEQ, high, 'low', 'next'), ...loadLow, jump(arg.op === 'SCMP_CMP_LT' ? JGE : JGT, low, 'fail', 'next')]
    default:
      return arg.op satisfies never
  }
}

function resolve(drafts: readonly Draft[], verdict: number): readonly BpfInstruction[] {
  const target = (at: number, to: Draft['onTrue']): number => {
    if (to === undefined) return 0
    if (to === 'fail') return drafts.length + 1 - at - 1
    if (to === 'low') return 0
    const group = drafts[at]?.group
    const after = drafts.findIndex((draft, index) => index > at && draft.group !== group)
    return (after < 0 ? drafts.length : after) - at - 1
  }
  const code = drafts.map((draft, at): BpfInstruction => {
    if (draft.onTrue === undefined && draft.onFalse === undefined) return instruction(draft.code, draft.k)
    return instruction(draft.code, draft.k, target(at, draft.onTrue), target(at, draft.onFalse))
  })
  return [...code, instruction(RET, verdict)]
}

/** Compiles a profile for the machine's architectures; numbers of the x32 ABI get ENOSYS. */
export function compileSeccomp(profile: OciSeccomp): readonly BpfInstruction[] {
  const fallback = returnValue(profile.defaultAction, profile.defaultErrnoRet ?? EPERM)
  const named = profile.architectures.length === 0 ? [process.arch === 'arm64' ? 'SCMP_ARCH_AARCH64' : 'SCMP_ARCH_X86_64'] : profile.architectures
  const code: BpfInstruction[] = [instruction(LD, 4)]
  for (const name of named) {
    const architecture = ARCHITECTURES[name]
    if (architecture === undefined) continue
    const body = [
      instruction(LD, 0),
      ...(architecture.x32 ? [instruction(JGE, X32_BIT, 0, 1), instruction(RET, returnValue('SCMP_ACT_ERRNO', ENOSYS))] : []),
      ...tree(ranges(leaves(profile, architecture.numbers), fallback)),
    ]
    code.push(instruction(JEQ, architecture.audit, 1, 0), instruction(JA, body.length), ...body)
  }
  code.push(instruction(RET, 0x80000000))
  if (code.length > 4096) throw new EngineError('invalid', `seccomp profile needs ${code.length} BPF instructions, more than 4096`)
  return code
}

/** The filter as the kernel takes it: 8 bytes an instruction. */
export function encodeBpf(code: readonly BpfInstruction[]): Buffer {
  const bytes = Buffer.alloc(code.length * 8)
  code.forEach((one, index) => {
    bytes.writeUInt16LE(one.code, index * 8)
    bytes.writeUInt8(one.jt, index * 8 + 2)
    bytes.writeUInt8(one.jf, index * 8 + 3)
    bytes.writeUInt32LE(one.k, index * 8 + 4)
  })
  return bytes
}

/** Runs a filter as the kernel would; the tests' oracle. */
export function emulateBpf(code: readonly BpfInstruction[], data: { readonly nr: number; readonly arch: number; readonly args: readonly bigint[] }): number {
  const memory = Buffer.alloc(64)
  memory.writeUInt32LE(data.nr >>> 0, 0)
  memory.writeUInt32LE(data.arch >>> 0, 4)
  data.args.forEach((arg, index) => {
    memory.writeBigUInt64LE(BigInt.asUintN(64, arg), 16 + index * 8)
  })
  let accumulator = 0
  for (let at = 0; at < code.length; at++) {
    const one = code[at]
    if (one === undefined) break
    if (one.code === LD) accumulator = memory.readUInt32LE(one.k)
    else if (one.code === AND) accumulator = (accumulator & one.k) >>> 0
    else if (one.code === JA) at += one.k
    else if (one.code === JEQ) at += accumulator === one.k ? one.jt : one.jf
    else if (one.code === JGT) at += accumulator > one.k ? one.jt : one.jf
    else if (one.code === JGE) at += accumulator >= one.k ? one.jt : one.jf
    else return one.k
  }
  throw new EngineError('internal', 'filter ran past its end')
}
