import { message, type NetlinkAnswer, NLM, parseAttributes } from './message.ts'

/** ctnetlink messages (`linux/netfilter/nfnetlink_conntrack.h`). */
const SUBSYSTEM = 0x0100
const OP = { NEW: 0, GET: 1, DELETE: 2 } as const
const TUPLE = { ORIGINAL: 1, REPLY: 2 } as const
const NESTED = 0x8000

function header(family: number): Buffer {
  return Buffer.from([family, 0, 0, 0])
}

/** One direction of a connection. */
export interface Tuple {
  readonly source: Buffer
  readonly destination: Buffer
  readonly protocol: number
  readonly sourcePort: number
  readonly destinationPort: number
}

/** A connection that is tracked. */
export interface Connection {
  readonly family: number
  readonly original: Tuple
  readonly reply: Tuple
  /** The original tuple as it came, to be named by. */
  readonly raw: Buffer
}

/** Asks for all connections of a family (AF_INET 2, AF_INET6 10). */
export function getConnections(family: number): Buffer {
  return message(SUBSYSTEM | OP.GET, NLM.DUMP, header(family), [])
}

/** Forgets one. */
export function deleteConnection({ family, raw }: Connection): Buffer {
  const head = Buffer.alloc(4)
  head.writeUInt16LE(4 + raw.length, 0)
  head.writeUInt16LE(TUPLE.ORIGINAL | NESTED, 2)
  return message(SUBSYSTEM | OP.DELETE, NLM.ACK, header(family), [head, raw])
}

function tupleOf(bytes: Buffer | undefined): Tuple | undefined {
  if (bytes === undefined) return undefined
  const parts = parseAttributes(bytes)
  const [address, protocol] = [parseAttributes(parts.get(1) ?? Buffer.alloc(0)), parseAttributes(parts.get(2) ?? Buffer.alloc(0))]
  const [source, destination, number] = [address.get(1) ?? address.get(3), address.get(2) ?? address.get(4), protocol.get(1)]
  if (source === undefined || destination === undefined || number === undefined) return undefined
  return { source, destination, protocol: number[0] ?? 0, sourcePort: protocol.get(2)?.readUInt16BE(0) ?? 0, destinationPort: protocol.get(3)?.readUInt16BE(0) ?? 0 }
}

/** Reads an answer to `getConnections`. */
export function parseConnection(answer: NetlinkAnswer): Connection | undefined {
  if (answer.type !== (SUBSYSTEM | OP.NEW) || answer.body.length < 4) return undefined
  const attributes = parseAttributes(answer.body.subarray(4))
  const raw = attributes.get(TUPLE.ORIGINAL)
  const [original, reply] = [tupleOf(raw), tupleOf(attributes.get(TUPLE.REPLY))]
  return raw === undefined || original === undefined || reply === undefined ? undefined : { family: answer.body[0] ?? 0, original, reply, raw }
}
