import packet, { type Answer, type Question } from 'dns-packet'
import { formatAddress, parseAddress } from '../address.ts'

/** Seconds that an answer of ours may be kept. */
const TTL = 600
/** Most bytes of an answer over UDP to somebody who did not say how many he takes (RFC 1035, 2.3.4; RFC 6891). */
const PLAIN_LIMIT = 512
const UDP_LIMIT = 4096
const AUTHORITATIVE = 0x0400
const RECURSION_AVAILABLE = 0x0080
const RECURSION_DESIRED = 0x0100
const TRUNCATED = 0x0200
/** 0: a query. */
const OPCODE = 0x7800
const SERVFAIL = 2
const REFUSED = 5

/** What names of a container's networks lead to. */
export interface Names {
  /** Addresses of a name, of all families; undefined: not a name here. */
  addresses(name: string): readonly string[] | undefined
  /** The name of an address; undefined: not an address here. */
  nameOf(address: string): string | undefined
}

/** What becomes of a query. */
export type Verdict = { readonly kind: 'answer'; readonly bytes: Buffer } | { readonly kind: 'forward' }

interface Query {
  readonly id: number
  readonly flags: number
  readonly question: Question
  /** Bytes that the asker takes over UDP. */
  readonly room: number
}

/** Reads a query; undefined where it is none. */
export function readQuery(bytes: Buffer): Query | undefined {
  if (bytes.length < 12 || (bytes.readUInt16BE(2) & 0x8000) !== 0) return undefined
  let decoded: packet.DecodedPacket
  try {
    decoded = packet.decode(bytes)
  } catch (error) {
    if (error instanceof Error) return undefined // not a message of DNS: nobody waits for an answer to noise
    throw error
  }
  const [question] = decoded.questions ?? []
  if (question === undefined || decoded.questions?.length !== 1 || (bytes.readUInt16BE(2) & OPCODE) !== 0) return undefined
  const opt = (decoded.additionals ?? []).find((one) => one.type === 'OPT') as { readonly udpPayloadSize?: number } | undefined
  return { id: decoded.id ?? 0, flags: decoded.flags ?? 0, question, room: Math.min(UDP_LIMIT, Math.max(PLAIN_LIMIT, opt?.udpPayloadSize ?? PLAIN_LIMIT)) }
}

function respond(query: Query, answers: readonly Answer[], code = 0): Buffer {
  return packet.encode({ type: 'response', id: query.id, flags: AUTHORITATIVE | RECURSION_AVAILABLE | (query.flags & RECURSION_DESIRED) | code, questions: [query.question], answers: [...answers] })
}

/** An answer that says why there is none. */
export function failure(query: Query, what: 'servfail' | 'refused'): Buffer {
  return respond(query, [], what === 'servfail' ? SERVFAIL : REFUSED)
}

/** `4.3.2.1.in-addr.arpa`, or 32 nibbles below `ip6.arpa`. */
export function addressOfPointer(name: string): string | undefined {
  const v4 = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.in-addr\.arpa$/i.exec(name)
  if (v4 !== null) return v4.slice(1).reverse().join('.')
  if (!/^([0-9a-f]\.){32}ip6\.arpa$/i.test(name)) return undefined
  const nibbles = name.slice(0, 63).split('.').reverse().join('')
  return formatAddress(parseAddress((nibbles.match(/.{4}/g) ?? []).join(':'), 'PTR'))
}

function shuffled<T>(list: readonly T[]): readonly T[] {
  const copy = [...list]
  for (let n = copy.length - 1; n > 0; n--) {
    const other = Math.floor(Math.random() * (n + 1))
    ;[copy[n], copy[other]] = [copy[other] as T, copy[n] as T]
  }
  return copy
}

/** Answers from what is known; a name that is known is never asked for elsewhere, whatever kind of record is wanted. */
export function answerFrom(names: Names, query: Query): Verdict {
  const { question } = query
  const name = question.name.replace(/\.$/, '')
  const isInternet = question.class === undefined || question.class === 'IN'
  if (!isInternet) return { kind: 'forward' }
  if (question.type === 'PTR') {
    const address = addressOfPointer(name)
    const found = address === undefined ? undefined : names.nameOf(address)
    return found === undefined ? { kind: 'forward' } : { kind: 'answer', bytes: respond(query, [{ type: 'PTR', name: question.name, ttl: TTL, data: found }]) }
  }
  const addresses = names.addresses(name)
  if (addresses === undefined) return { kind: 'forward' }
  const type = question.type === 'AAAA' ? 'AAAA' : 'A'
  const wanted = question.type === 'A' || question.type === 'AAAA' ? addresses.filter((address) => address.includes(':') === (type === 'AAAA')) : []
  return { kind: 'answer', bytes: respond(query, shuffled(wanted).map((data) => ({ type, name: question.name, ttl: TTL, data }))) }
}

/** An answer as it fits over UDP: what is too long is cut, and asked for again over TCP. */
export function forDatagram(query: Query, bytes: Buffer): Buffer {
  if (bytes.length <= query.room) return bytes
  return packet.encode({ type: 'response', id: query.id, flags: TRUNCATED | RECURSION_AVAILABLE | (query.flags & RECURSION_DESIRED), questions: [query.question] })
}

export type { Query }
