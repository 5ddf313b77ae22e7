import { EngineError } from '@gantry/std'
import { errnoName, errnoText } from './errno.ts'
import { FLAGS, HEADER_BYTES, INSTRUCTION_BYTES, KEPT_REGISTERS, KINDS, OPS, type OpName, PROGRAM_MAGIC, PROGRAM_VERSION, REGISTERS } from './ops.table.ts'
import { ARM64, X86_64 } from './syscalls.table.ts'

let scratch = Buffer.alloc(65_536)
const NUMBERS = process.arch === 'arm64' ? ARM64 : X86_64

/** A register of the helper: 64 bits, copied into every child. */
export interface Register {
  readonly register: number
}
/** A place in the program's data. */
export interface Blob {
  readonly blob: number
  readonly length: number
}
/** A place in the program that can be gone to. */
export interface Label {
  at: number | undefined
}
/** What an op takes: a number, a register's value, a register's address, or a pointer into the data. */
export type Value = number | bigint | Register | Blob | { readonly addressOf: Register } | Label

/** How one op behaves. */
export interface OpOptions {
  /** Where the result goes; register 0 is thrown away. */
  readonly to?: Register
  /** Any failure is passed over. */
  readonly ignore?: boolean
  /** This failure is passed over. */
  readonly tolerate?: number
}

/** What an instruction is for, in words: the listing, the waterfall and the errors all use it. */
export interface Step {
  readonly op: OpName
  readonly what: string
  readonly phase: string
  readonly child: boolean
}

/** A program that is ready to be sent, and what its instructions mean. */
export interface SyscallProgram {
  readonly bytes: Buffer
  readonly steps: readonly Step[]
  /** One line an op. */
  listing(): string
}

/** Writes a program, op by op. */
export interface ProgramBuilder {
  /** Names what follows, for the waterfall. */
  phase(name: string): void
  /** From here on the child runs. */
  child(): void
  text(value: string): Blob
  bytes(value: Uint8Array): Blob
  /** Room of so many zero bytes, 8-aligned. */
  room(length: number): Blob
  /** Writes over data whose content was not known yet. */
  rewrite(blob: Blob, value: Uint8Array): void
  /** Strings one behind the other, each with its NUL. */
  strings(values: readonly string[]): Blob
  /** A pointer list that the helper fills: zeroed room, then the strings. */
  pointers(values: readonly string[]): Blob
  register(): Register
  /** Registers taken inside are free again afterwards. */
  scoped<T>(work: () => T): T
  label(): Label
  place(label: Label): void
  op(what: string, op: OpName, values: readonly Value[], options?: OpOptions): void
  call(what: string, name: string, values: readonly Value[], options?: OpOptions): void
}

interface Draft {
  readonly op: OpName
  readonly nr: number
  readonly values: readonly Value[]
  readonly options: OpOptions
  readonly step: Step
}

/** The number of a system call on this machine. */
export function syscallNumber(name: string): number {
  const number = NUMBERS[name]
  if (number === undefined) throw new EngineError('internal', `unknown system call ${name}`)
  return number
}

/** Gives a register of a fixed number, for programs that run one after another in the same shim. */
export function registerNumber(register: number): Register {
  return { register }
}

/** Writes a program. Registers are handed out from 1; register 0 takes results that nobody reads. */
export function syscallProgram(write: (builder: ProgramBuilder) => void, firstRegister = 1): SyscallProgram {
  const drafts: Draft[] = []
  // Written in one go, so one scratch area serves all programs. Its first 8 bytes stay empty: offset 0 means "none".
  let data = scratch.fill(0, 0, 8)
  let blobLength = 8
  let nextRegister = firstRegister
  let phase = ''
  let child = false
  const room = (length: number): Blob => {
    const blob = blobLength
    blobLength += (length + 7) & ~7
    if (blobLength > data.length) data = scratch = Buffer.concat([data], Math.max(data.length * 2, blobLength))
    data.fill(0, blob, blobLength)
    return { blob, length }
  }
  const bytes = (value: Uint8Array): Blob => {
    const blob = room(value.length)
    data.set(value, blob.blob)
    return blob
  }
  const text = (value: string): Blob => {
    const blob = room(Buffer.byteLength(checkText(value)) + 1)
    data.write(value, blob.blob)
    return blob
  }
  const joined = (values: readonly string[]): Buffer => Buffer.from(values.map((value) => `${checkText(value)}\0`).join(''))
  const push = (op: OpName, nr: number, what: string, values: readonly Value[], options: OpOptions): void => {
    drafts.push({ op, nr, values, options, step: { op, what, phase, child } })
  }
  write({
    phase: (name) => {
      phase = name
    },
    child: () => {
      child = true
    },
    text,
    bytes,
    room,
    rewrite: (blob, value) => {
      data.set(value.subarray(0, blob.length), blob.blob)
    },
    strings: (values) => bytes(joined(values)),
    pointers: (values) => bytes(Buffer.concat([Buffer.alloc((values.length + 1) * 8), joined(values)])),
    register: () => {
      if (nextRegister >= REGISTERS - KEPT_REGISTERS) throw new EngineError('internal', 'program needs too many registers')
      return { register: nextRegister++ }
    },
    scoped: (work) => {
      const before = nextRegister
      const result = work()
      nextRegister = before
      return result
    },
    label: () => ({ at: undefined }),
    place: (label) => {
      label.at = drafts.length
    },
    op: (what, op, values, options = {}) => push(op, 0, what, values, options),
    call: (what, name, values, options = {}) => push('syscall', syscallNumber(name), what, values, options),
  })
  push('end', 0, 'end', [], {})
  const steps = drafts.map((draft) => draft.step)
  return { bytes: encode(drafts, data.subarray(0, blobLength)), steps, listing: () => list(drafts) }
}

function checkText(value: string): string {
  if (value.includes('\0')) throw new EngineError('invalid', `text with a NUL byte: ${JSON.stringify(value)}`)
  return value
}

function encode(drafts: readonly Draft[], data: Buffer): Buffer {
  const codeBytes = HEADER_BYTES + drafts.length * INSTRUCTION_BYTES
  const head = Buffer.allocUnsafe(codeBytes + data.length)
  head.fill(0, 0, codeBytes)
  head.writeUInt32LE(PROGRAM_MAGIC, 0)
  head.writeUInt32LE(PROGRAM_VERSION, 4)
  head.writeUInt32LE(drafts.length, 8)
  head.writeUInt32LE(data.length, 12)
  drafts.forEach((draft, index) => {
    const at = HEADER_BYTES + index * INSTRUCTION_BYTES
    head.writeUInt8(OPS[draft.op].code, at)
    head.writeUInt8(draft.options.to?.register ?? 0, at + 1)
    head.writeUInt8(draft.options.ignore === true ? FLAGS.ignore : 0, at + 2)
    head.writeUInt16LE(draft.nr, at + 4)
    head.writeUInt16LE(draft.options.tolerate ?? 0, at + 6)
    draft.values.forEach((value, n) => {
      writeValue(head, at, n, value)
    })
  })
  data.copy(head, codeBytes)
  return head
}

/** Writes one argument; BigInt only where a number does not do, for it is slow. */
function writeValue(head: Buffer, at: number, n: number, value: Value): void {
  const word = at + 16 + n * 8
  const put = (kind: number, low: number): void => {
    head.writeUInt8(kind, at + 8 + n)
    head.writeInt32LE(low | 0, word)
    head.writeInt32LE(low < 0 ? -1 : Math.floor(low / 0x1_0000_0000) | 0, word + 4)
  }
  if (typeof value === 'number') put(KINDS.immediate, value)
  else if (typeof value === 'bigint') head.writeBigUInt64LE(BigInt.asUintN(64, value), word)
  else if ('register' in value) put(KINDS.register, value.register)
  else if ('blob' in value) put(KINDS.blob, value.blob)
  else if ('addressOf' in value) put(KINDS.registerAddress, value.addressOf.register)
  else if (value.at === undefined) throw new EngineError('internal', 'a label was never placed')
  else put(KINDS.immediate, value.at)
}

function list(drafts: readonly Draft[]): string {
  let phase = ''
  const lines: string[] = []
  drafts.forEach((draft, index) => {
    if (draft.step.phase !== phase) {
      phase = draft.step.phase
      lines.push(`# ${phase}`)
    }
    const side = draft.step.child ? 'init' : 'shim'
    const notes = [draft.options.ignore === true ? 'failures pass' : '', draft.options.tolerate === undefined ? '' : `${errnoName(draft.options.tolerate)} passes`]
    const suffix = notes.filter((note) => note !== '').join(', ')
    lines.push(`${String(index).padStart(3)} ${side} ${draft.op.padEnd(10)} ${draft.step.what}${suffix === '' ? '' : ` (${suffix})`}`)
  })
  return `${lines.join('\n')}\n`
}

/** A program that stopped: which step, and why. */
export class ProgramError extends EngineError {
  readonly errno: number
  readonly step: Step | undefined
  readonly detail: Buffer
  constructor(step: Step | undefined, errno: number, detail: Buffer) {
    super('internal', `${step?.what ?? 'program'}: ${errnoText(errno)}`)
    this.name = 'ProgramError'
    this.errno = errno
    this.step = step
    this.detail = detail
  }
}
