import { EngineError } from '@gantry/std'

/** Flags of a request (`linux/netlink.h`). */
export const NLM = { REQUEST: 1, MULTI: 2, ACK: 4, DUMP: 0x300, REPLACE: 0x100, EXCL: 0x200, CREATE: 0x400, APPEND: 0x800 } as const

const NESTED = 0x8000
const HEAD = 16

/** An attribute: {u16 length, u16 type}, payload, padding to 4. Longer than 16 bits is refused (the class of CVE-2021-43784). */
export function attribute(type: number, payload: Uint8Array): Buffer {
  const length = 4 + payload.length
  if (length > 0xffff) throw new EngineError('invalid', `netlink attribute ${type} is ${length} bytes long, more than 65535`)
  const buffer = Buffer.alloc((length + 3) & ~3)
  buffer.writeUInt16LE(length, 0)
  buffer.writeUInt16LE(type, 2)
  buffer.set(payload, 4)
  return buffer
}

/** An attribute that holds attributes. */
export function nested(type: number, parts: readonly Uint8Array[]): Buffer {
  return attribute(type | NESTED, Buffer.concat(parts))
}

/** One byte. */
export function u8(value: number): Buffer {
  return Buffer.from([value])
}
/** Host order (rtnetlink). */
export function u16(value: number): Buffer {
  const buffer = Buffer.alloc(2)
  buffer.writeUInt16LE(value)
  return buffer
}
/** Host order (rtnetlink). */
export function u32(value: number): Buffer {
  const buffer = Buffer.alloc(4)
  buffer.writeUInt32LE(value >>> 0)
  return buffer
}
/** Network order (nf_tables). */
export function be32(value: number): Buffer {
  const buffer = Buffer.alloc(4)
  buffer.writeUInt32BE(value >>> 0)
  return buffer
}
/** Network order (ports). */
export function be16(value: number): Buffer {
  const buffer = Buffer.alloc(2)
  buffer.writeUInt16BE(value)
  return buffer
}
/** Text with its NUL. */
export function text(value: string): Buffer {
  return Buffer.from(`${value}\0`)
}

/** A request: header, fixed part, attributes. */
export function message(type: number, flags: number, fixed: Uint8Array, attributes: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat([fixed, ...attributes])
  const head = Buffer.alloc(HEAD)
  head.writeUInt32LE(HEAD + body.length, 0)
  head.writeUInt16LE(type, 4)
  head.writeUInt16LE(flags | NLM.REQUEST, 6)
  return Buffer.concat([head, body])
}

/** Requests that go out in one send; `acks` answers are awaited. */
export interface NetlinkBatch {
  readonly what: string
  readonly bytes: Buffer
  readonly acks: number
  /** Where the container's pid (4 bytes, host order) has to be written before sending. */
  readonly pidAt?: readonly number[]
}

/** Joins requests that each ask for an ack. */
export function batch(what: string, messages: readonly Buffer[]): NetlinkBatch {
  return { what, bytes: Buffer.concat(messages), acks: messages.length }
}

/** One answer of a dump. */
export interface NetlinkAnswer {
  readonly type: number
  readonly body: Buffer
}

/** Cuts a dump into answers. */
export function parseAnswers(bytes: Buffer): readonly NetlinkAnswer[] {
  const answers: NetlinkAnswer[] = []
  for (let at = 0; at + HEAD <= bytes.length; ) {
    const length = bytes.readUInt32LE(at)
    if (length < HEAD || at + length > bytes.length) break
    answers.push({ type: bytes.readUInt16LE(at + 4), body: bytes.subarray(at + HEAD, at + length) })
    at += (length + 3) & ~3
  }
  return answers
}

/** Attributes by type; the last of several wins. */
export function parseAttributes(bytes: Buffer): ReadonlyMap<number, Buffer> {
  const found = new Map<number, Buffer>()
  for (let at = 0; at + 4 <= bytes.length; ) {
    const length = bytes.readUInt16LE(at)
    if (length < 4 || at + length > bytes.length) break
    found.set(bytes.readUInt16LE(at + 2) & 0x3fff, bytes.subarray(at + 4, at + length))
    at += (length + 3) & ~3
  }
  return found
}
