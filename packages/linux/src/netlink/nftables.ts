import { attribute, be16, be32, message, nested, type NetlinkAnswer, NLM, parseAttributes, text, u8 } from './message.ts'

/** nf_tables messages (`linux/netfilter/nf_tables.h`); table, chains, sets and rules of family inet. */
const SUBSYSTEM = 0x0a00
const OP = { NEWTABLE: 0, DELTABLE: 2, NEWCHAIN: 3, NEWRULE: 6, GETRULE: 7, DELRULE: 8, NEWSET: 9, NEWSETELEM: 12, DELSETELEM: 14, DESTROYTABLE: 26 } as const
const INET = 1
/** A verdict's register, and the first of the 32-bit registers. */
const VERDICT_REGISTER = 0
const REGISTER = 8
const LIST = 1

/** Verdict codes. */
export const VERDICT = { accept: 1, drop: 0, jump: -3, goto: -4, return: -5, continue: -1 } as const
/** Type ids as user space prints them. */
export const TYPE = { ipv4: 7, ipv6: 8, proto: 12, service: 13, ifname: 41, verdict: 0xffffff00 } as const
const SET_FLAG = { interval: 4, map: 8 } as const

function header(resource = 0, family = INET): Buffer {
  const head = Buffer.from([family, 0, 0, 0])
  head.writeUInt16BE(resource, 2)
  return head
}

const nft = (op: number, flags: number, parts: readonly Uint8Array[]): Buffer => message(SUBSYSTEM | op, flags, header(), parts)

/** All or nothing: wraps messages into one batch; the last one asks for the ack. */
export function nftBatch(messages: readonly Buffer[]): { readonly bytes: Buffer; readonly acks: number } {
  const last = messages.at(-1)
  last?.writeUInt16LE(last.readUInt16LE(6) | NLM.ACK, 6)
  const begin = message(16, 0, header(10, 0), [])
  const end = message(17, 0, header(10, 0), [])
  return { bytes: Buffer.concat([begin, ...messages, end]), acks: 1 }
}

/** Makes the table, or adopts the one that is there. */
export function newTable(name: string, flags = 0): Buffer {
  return nft(OP.NEWTABLE, NLM.CREATE, [attribute(1, text(name)), ...(flags === 0 ? [] : [attribute(2, be32(flags))])])
}
/** Table flags: only the socket that made it may change it; it stays when that socket is closed (kernel 6.9). */
export const TABLE_OWNED = 2 | 4
/** Removes the table with all in it. */
export function deleteTable(name: string): Buffer {
  return nft(OP.DELTABLE, 0, [attribute(1, text(name))])
}

/** The same, also where there is none (kernel 6.3). */
export function destroyTable(name: string): Buffer {
  return nft(OP.DESTROYTABLE, 0, [attribute(1, text(name))])
}

/** Where a base chain hangs. Hook numbers: 0 prerouting, 1 input, 2 forward, 3 output, 4 postrouting. */
export interface Hook {
  readonly hook: number
  readonly priority: number
  readonly type: 'filter' | 'nat'
}

/** Makes a chain. */
export function newChain(table: string, name: string, hook?: Hook): Buffer {
  const parts = [attribute(1, text(table)), attribute(3, text(name))]
  if (hook !== undefined) {
    parts.push(nested(4, [attribute(1, be32(hook.hook)), attribute(2, be32(hook.priority))]), attribute(5, be32(1)), attribute(7, text(hook.type)))
  }
  return nft(OP.NEWCHAIN, NLM.CREATE, parts)
}

/** A field of a key: its user-space type and its length in bytes. */
export interface KeyField {
  readonly type: number
  readonly bytes: number
}
/** A set, map or verdict map. */
export interface SetSpec {
  readonly name: string
  readonly id: number
  readonly key: readonly KeyField[]
  readonly data?: readonly KeyField[] | 'verdict'
  readonly interval?: boolean
}

const padded = (bytes: number): number => (bytes + 3) & ~3
const typeOf = (fields: readonly KeyField[]): number => fields.reduce((id, field) => (id << 6) | field.type, 0)
const lengthOf = (fields: readonly KeyField[]): number =>
  fields.length === 1 ? (fields[0]?.bytes ?? 0) : fields.reduce((sum, field) => sum + padded(field.bytes), 0)

/** Makes a set. */
export function newSet(table: string, spec: SetSpec): Buffer {
  const concatenated = spec.key.length > 1
  let flags = (spec.interval === true ? SET_FLAG.interval : 0) | (spec.data === undefined ? 0 : SET_FLAG.map)
  if (concatenated) flags |= 0x80
  const parts = [
    attribute(1, text(table)),
    attribute(2, text(spec.name)),
    attribute(3, be32(flags)),
    attribute(4, be32(typeOf(spec.key))),
    attribute(5, be32(lengthOf(spec.key))),
    attribute(10, be32(spec.id)),
  ]
  // Tells `nft list` that the key is in host order, as interface names are.
  if (spec.key.length === 1 && spec.key[0]?.type === TYPE.ifname) parts.push(attribute(13, Buffer.from([0, 4, 1, 0, 0, 0])))
  if (spec.data === 'verdict') parts.push(attribute(6, be32(TYPE.verdict)), attribute(7, be32(0)))
  else if (spec.data !== undefined) parts.push(attribute(6, be32(typeOf(spec.data))), attribute(7, be32(lengthOf(spec.data))))
  if (concatenated) parts.push(nested(9, [nested(2, spec.key.map((field) => nested(LIST, [attribute(1, be32(field.bytes))])))]))
  return nft(OP.NEWSET, NLM.CREATE, parts)
}

/** One element: key, and what it maps to. */
export interface Element {
  readonly key: Buffer
  readonly keyEnd?: Buffer
  readonly intervalEnd?: boolean
  readonly data?: Buffer | number
}

function encodeElement(element: Element): Buffer {
  const parts = [nested(1, [attribute(1, element.key)])]
  if (element.keyEnd !== undefined) parts.push(nested(10, [attribute(1, element.keyEnd)]))
  if (element.intervalEnd === true) parts.push(attribute(3, be32(1)))
  if (typeof element.data === 'number') parts.push(nested(2, [nested(2, [attribute(1, be32(element.data))])]))
  else if (element.data !== undefined) parts.push(nested(2, [attribute(1, element.data)]))
  return nested(LIST, parts)
}

/** Elements of one message; more than 500 are split by the caller. */
function elements(op: number, flags: number, table: string, set: string, list: readonly Element[]): Buffer {
  return nft(op, flags, [attribute(1, text(table)), attribute(2, text(set)), nested(3, list.map(encodeElement))])
}

const ELEMENTS_PER_MESSAGE = 500

/** Adds elements. */
export function addElements(table: string, set: string, list: readonly Element[]): readonly Buffer[] {
  return chunks(list).map((part) => elements(OP.NEWSETELEM, NLM.CREATE, table, set, part))
}
/** Removes elements. */
export function deleteElements(table: string, set: string, list: readonly Element[]): readonly Buffer[] {
  return chunks(list).map((part) => elements(OP.DELSETELEM, 0, table, set, part))
}
function chunks(list: readonly Element[]): readonly (readonly Element[])[] {
  const parts: Element[][] = []
  for (let at = 0; at < list.length; at += ELEMENTS_PER_MESSAGE) parts.push(list.slice(at, at + ELEMENTS_PER_MESSAGE))
  return parts
}

/** An expression of a rule, by name. */
export type Expression = Buffer
const expression = (name: string, parts: readonly Uint8Array[]): Expression => nested(LIST, [attribute(1, text(name)), nested(2, parts)])
const register = (n: number): Buffer => be32(REGISTER + n)

const META = { protocol: 1, iifname: 6, oifname: 7, nfproto: 15, l4proto: 16 } as const
/** Loads a fact about the packet into a register. */
export function meta(key: keyof typeof META, to = 0): Expression {
  return expression('meta', [attribute(2, be32(META[key])), attribute(1, register(to))])
}
/** Loads bytes of a header: 1 network, 2 transport. */
export function payload(base: 'network' | 'transport', offset: number, length: number, to = 0): Expression {
  return expression('payload', [attribute(1, register(to)), attribute(2, be32(base === 'network' ? 1 : 2)), attribute(3, be32(offset)), attribute(4, be32(length))])
}
/** Writes a register over bytes of the transport header, and sets its checksum right, which is at `sumAt`. */
export function writeTransport(offset: number, length: number, sumAt: number, from = 0): Expression {
  return expression('payload', [attribute(5, register(from)), attribute(2, be32(2)), attribute(3, be32(offset)), attribute(4, be32(length)), attribute(6, be32(1)), attribute(7, be32(sumAt))])
}
/** Loads a value into a register. */
export function load(value: Buffer, to = 0): Expression {
  return expression('immediate', [attribute(1, register(to)), nested(2, [attribute(1, value)])])
}
/** Compares a register: 0 equal, 1 not equal. */
export function compare(value: Buffer, options: { readonly from?: number; readonly not?: boolean } = {}): Expression {
  return expression('cmp', [attribute(1, register(options.from ?? 0)), attribute(2, be32(options.not === true ? 1 : 0)), nested(3, [attribute(1, value)])])
}
/** Register = register & mask ^ xor. */
export function bitwise(mask: Buffer, xor: Buffer, reg = 0): Expression {
  return expression('bitwise', [
    attribute(1, register(reg)),
    attribute(2, register(reg)),
    attribute(3, be32(mask.length)),
    nested(4, [attribute(1, mask)]),
    nested(5, [attribute(1, xor)]),
  ])
}
/** Looks the registers up in a set; in a map the data lands in `to`; in a verdict map it is the verdict. */
export function lookup(set: { readonly name: string; readonly id: number }, options: { readonly from?: number; readonly to?: number | 'verdict'; readonly not?: boolean } = {}): Expression {
  const parts = [attribute(1, text(set.name)), attribute(2, register(options.from ?? 0)), attribute(4, be32(set.id))]
  if (options.to !== undefined) parts.push(attribute(3, options.to === 'verdict' ? be32(VERDICT_REGISTER) : register(options.to)))
  if (options.not === true) parts.push(attribute(5, be32(1)))
  return expression('lookup', parts)
}
/** Ends or redirects the evaluation. */
export function verdict(code: keyof typeof VERDICT, chain?: string): Expression {
  const parts = [attribute(1, be32(VERDICT[code]))]
  if (chain !== undefined) parts.push(attribute(2, text(chain)))
  return expression('immediate', [attribute(1, be32(VERDICT_REGISTER)), nested(2, [nested(2, parts)])])
}
const CT = { state: 0, direction: 1, status: 2 } as const
/** Loads a fact of the connection. */
export function conntrack(key: keyof typeof CT, to = 0): Expression {
  return expression('ct', [attribute(2, be32(CT[key])), attribute(1, register(to))])
}
/** Loads the kind of the destination or source address (2 = local). */
export function addressType(of: 'destination' | 'source', to = 0): Expression {
  return expression('fib', [attribute(1, register(to)), attribute(2, be32(3)), attribute(3, be32(of === 'destination' ? 2 : 1))])
}
/** Rewrites the destination from registers: address, then port. */
export function destinationNat(family: 'ipv4' | 'ipv6', address: number, port: number): Expression {
  return expression('nat', [
    attribute(1, be32(1)),
    attribute(2, be32(family === 'ipv4' ? 2 : 10)),
    attribute(3, register(address)),
    attribute(5, register(port)),
  ])
}
/** Rewrites the source to the address of the outgoing interface. */
export function masquerade(): Expression {
  return expression('masq', [])
}
/** Rewrites the source to an address in a register. */
export function sourceNat(family: 'ipv4' | 'ipv6', address: number): Expression {
  return expression('nat', [attribute(1, be32(0)), attribute(2, be32(family === 'ipv4' ? 2 : 10)), attribute(3, register(address))])
}
/** One host-order word, as ct and fib give them. */
export function hostWord(value: number): Buffer {
  const buffer = Buffer.alloc(4)
  buffer.writeUInt32LE(value >>> 0)
  return buffer
}
/** An interface name as a key: 16 bytes, zero-padded. */
export function interfaceKey(name: string): Buffer {
  const key = Buffer.alloc(16)
  key.write(name)
  return key
}
/** A protocol number in a key: 1 byte and 3 zeros. */
export function protocolKey(protocol: number): Buffer {
  return Buffer.concat([u8(protocol), Buffer.alloc(3)])
}
/** A port in a key: 2 bytes in network order and 2 zeros. */
export function portKey(port: number): Buffer {
  return Buffer.concat([be16(port), Buffer.alloc(2)])
}

/** Appends a rule. */
export function newRule(table: string, chain: string, expressions: readonly Expression[]): Buffer {
  return nft(OP.NEWRULE, NLM.CREATE | NLM.APPEND, [attribute(1, text(table)), attribute(2, text(chain)), nested(4, expressions)])
}

/** Families of tables that are not ours. */
export const FAMILY = { inet: 1, ipv4: 2, ipv6: 10 } as const

/** Puts a rule at the head of a chain of somebody else's table, with a comment that nft shows. */
export function insertRule(family: number, table: string, chain: string, expressions: readonly Expression[], comment: string): Buffer {
  const words = text(comment)
  return message(SUBSYSTEM | OP.NEWRULE, NLM.CREATE, header(0, family), [attribute(1, text(table)), attribute(2, text(chain)), nested(4, expressions), attribute(7, Buffer.concat([Buffer.from([0, words.length]), words]))])
}

/** Takes a rule away by its handle. */
export function deleteRule(family: number, table: string, chain: string, handle: bigint): Buffer {
  const number = Buffer.alloc(8)
  number.writeBigUInt64BE(handle)
  return message(SUBSYSTEM | OP.DELRULE, 0, header(0, family), [attribute(1, text(table)), attribute(2, text(chain)), attribute(3, number)])
}

/** Asks for the rules of a chain. */
export function getRules(family: number, table: string, chain: string): Buffer {
  return message(SUBSYSTEM | OP.GETRULE, NLM.DUMP, header(0, family), [attribute(1, text(table)), attribute(2, text(chain))])
}

/** Reads an answer to `getRules`. */
export function parseRule(answer: NetlinkAnswer): { readonly handle: bigint; readonly comment: string } | undefined {
  if (answer.type !== (SUBSYSTEM | OP.NEWRULE) || answer.body.length < 4) return undefined
  const attributes = parseAttributes(answer.body.subarray(4))
  const data = attributes.get(7)
  return { handle: attributes.get(3)?.readBigUInt64BE(0) ?? 0n, comment: data === undefined || data[0] !== 0 ? '' : data.toString('utf8', 2, 2 + (data[1] ?? 0)).replace(/\0.*$/, '') }
}
