import { EngineError } from '@gantry/std'
import { FILE_TYPE } from '@gantry/linux'

/** One member of a tar archive. Paths are Latin-1 text that keeps every byte. */
export interface TarEntry {
  readonly path: string
  readonly type: 'file' | 'directory' | 'link' | 'hardlink' | 'character' | 'block' | 'fifo'
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly size: number
  readonly mtimeSeconds: number
  readonly mtimeNanos: number
  readonly link: string
  readonly major: number
  readonly minor: number
  readonly xattrs: ReadonlyMap<string, Buffer>
}

/** Sizes of the format (POSIX.1-2001 ustar and pax). */
export const BLOCK = 512

const TYPES: Readonly<Record<string, TarEntry['type']>> = { '0': 'file', '\0': 'file', '7': 'file', S: 'file', '1': 'hardlink', '2': 'link', '3': 'character', '4': 'block', '5': 'directory', '6': 'fifo' }
const FLAGS: Readonly<Record<TarEntry['type'], string>> = { file: '0', hardlink: '1', link: '2', character: '3', block: '4', directory: '5', fifo: '6' }

/** st_mode type bits of an entry. */
export function modeType(type: TarEntry['type']): number {
  switch (type) {
    case 'file':
    case 'hardlink':
      return FILE_TYPE.regular
    case 'directory':
      return FILE_TYPE.directory
    case 'link':
      return FILE_TYPE.link
    case 'character':
      return FILE_TYPE.character
    case 'block':
      return FILE_TYPE.block
    case 'fifo':
      return FILE_TYPE.fifo
    default:
      return type satisfies never
  }
}

/** The entry type of st_mode; undefined for sockets. */
export function typeOfMode(mode: number): TarEntry['type'] | undefined {
  const type = mode & FILE_TYPE.mask
  if (type === FILE_TYPE.regular) return 'file'
  if (type === FILE_TYPE.directory) return 'directory'
  if (type === FILE_TYPE.link) return 'link'
  if (type === FILE_TYPE.character) return 'character'
  if (type === FILE_TYPE.block) return 'block'
  return type === FILE_TYPE.fifo ? 'fifo' : undefined
}

/** Reads text up to its NUL. */
export function fieldText(block: Buffer, at: number, length: number): string {
  const end = block.indexOf(0, at)
  return block.toString('latin1', at, end < 0 || end > at + length ? at + length : end)
}

/** An octal number, or GNU's base-256 form for large ones. */
export function fieldNumber(block: Buffer, at: number, length: number): number {
  const first = block[at] ?? 0
  if (first & 0x80) {
    let value = BigInt(first & 0x7f)
    for (let n = 1; n < length; n++) value = (value << 8n) | BigInt(block[at + n] ?? 0)
    if (first & 0x40) value -= 1n << BigInt(length * 8 - 1)
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw new EngineError('invalid', 'tar: number out of range')
    return Number(value)
  }
  let value = 0
  let from = at
  const end = at + length
  while (from < end && (block[from] === 0x20 || block[from] === 0)) from++
  for (; from < end; from++) {
    const digit = (block[from] ?? 0) - 0x30
    if (digit < 0 || digit > 7) {
      if (block[from] === 0 || block[from] === 0x20) return value
      throw new EngineError('invalid', `tar: bad number ${JSON.stringify(fieldText(block, at, length))}`)
    }
    value = value * 8 + digit
  }
  return value
}

/** Checks the sum over the header with its own field as blanks. */
export function checkSum(block: Buffer): number {
  let sum = 256
  for (let n = 0; n < BLOCK; n++) if (n < 148 || n >= 156) sum += block[n] ?? 0
  return sum
}

/** Records of a pax header: `length key=value\n`. */
export function parsePax(data: Buffer): ReadonlyMap<string, Buffer> {
  const records = new Map<string, Buffer>()
  for (let at = 0; at < data.length; ) {
    const space = data.indexOf(0x20, at)
    const length = Number(data.toString('latin1', at, space))
    if (space < 0 || !Number.isSafeInteger(length) || length < 5 || at + length > data.length) throw new EngineError('invalid', 'tar: broken pax header')
    const equals = data.indexOf(0x3d, space)
    if (equals < 0 || equals >= at + length) throw new EngineError('invalid', 'tar: broken pax record')
    records.set(data.toString('latin1', space + 1, equals), data.subarray(equals + 1, at + length - 1))
    at += length
  }
  return records
}

function paxTime(value: Buffer | undefined): readonly [number, number] | undefined {
  if (value === undefined) return undefined
  const match = /^(-?\d+)(?:\.(\d{1,9}))?/.exec(value.toString('latin1'))
  return match === null ? undefined : [Number(match[1]), Number((match[2] ?? '').padEnd(9, '0'))]
}

function paxNumber(value: Buffer | undefined): number | undefined {
  if (value === undefined) return undefined
  const number = Number(value.toString('latin1'))
  if (!Number.isSafeInteger(number) || number < 0) throw new EngineError('invalid', 'tar: bad number in a pax record')
  return number
}

const XATTR_PREFIX = 'SCHILY.xattr.'

/** What came before a header: pax records, and GNU's long names. */
export interface HeaderPrefix {
  readonly pax: ReadonlyMap<string, Buffer>
  readonly longPath?: string
  readonly longLink?: string
}

/** Puts a header and what came before it together. */
export function parseHeader(block: Buffer, prefix: HeaderPrefix): TarEntry {
  const type = TYPES[String.fromCharCode(block[156] ?? 0)]
  if (type === undefined) throw new EngineError('invalid', `tar: unsupported member type ${JSON.stringify(String.fromCharCode(block[156] ?? 0))}`)
  const ustar = block.toString('latin1', 257, 262) === 'ustar' && block.toString('latin1', 257, 265) !== 'ustar  \0'
  const directory = ustar ? fieldText(block, 345, 155) : ''
  const short = fieldText(block, 0, 100)
  const { pax } = prefix
  const [seconds, nanos] = paxTime(pax.get('mtime')) ?? [fieldNumber(block, 136, 12), 0]
  const xattrs = new Map<string, Buffer>()
  for (const [key, value] of pax) if (key.startsWith(XATTR_PREFIX)) xattrs.set(key.slice(XATTR_PREFIX.length), Buffer.from(value))
  const path = pax.get('path')?.toString('latin1') ?? prefix.longPath ?? (directory === '' ? short : `${directory}/${short}`)
  return {
    path,
    type: type === 'file' && path.endsWith('/') ? 'directory' : type,
    mode: fieldNumber(block, 100, 8) & 0o7777,
    uid: paxNumber(pax.get('uid')) ?? fieldNumber(block, 108, 8),
    gid: paxNumber(pax.get('gid')) ?? fieldNumber(block, 116, 8),
    size: type === 'file' ? (paxNumber(pax.get('size')) ?? fieldNumber(block, 124, 12)) : 0,
    mtimeSeconds: seconds,
    mtimeNanos: nanos,
    link: pax.get('linkpath')?.toString('latin1') ?? prefix.longLink ?? fieldText(block, 157, 100),
    major: type === 'character' || type === 'block' ? fieldNumber(block, 329, 8) : 0,
    minor: type === 'character' || type === 'block' ? fieldNumber(block, 337, 8) : 0,
    xattrs,
  }
}

function octal(block: Buffer, at: number, length: number, value: number): boolean {
  const text = value.toString(8)
  if (text.length > length - 1) return false
  block.write(text.padStart(length - 1, '0'), at, 'latin1')
  return true
}

function paxRecord(key: string, value: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(` ${key}=`), value, Buffer.from('\n')])
  let length = body.length + 1
  while (String(length).length + body.length > length) length++
  return Buffer.concat([Buffer.from(String(length)), body])
}

function headerBlock(name: string, flag: string, entry: TarEntry, size: number): Buffer {
  const block = Buffer.alloc(BLOCK)
  block.write(name.slice(0, 100), 0, 'latin1')
  octal(block, 100, 8, entry.mode)
  octal(block, 108, 8, entry.uid > 0o7777777 ? 0 : entry.uid)
  octal(block, 116, 8, entry.gid > 0o7777777 ? 0 : entry.gid)
  octal(block, 124, 12, size > 0o77777777777 ? 0 : size)
  octal(block, 136, 12, Math.max(0, entry.mtimeSeconds))
  block.write(flag, 156, 'latin1')
  block.write(entry.link.slice(0, 100), 157, 'latin1')
  block.write('ustar\0' + '00', 257, 'latin1')
  octal(block, 329, 8, entry.major)
  octal(block, 337, 8, entry.minor)
  block.write(`${checkSum(block).toString(8).padStart(6, '0')}\0 `, 148, 'latin1')
  return block
}

/** Zeros up to the next block. */
export function padding(size: number): Buffer {
  return Buffer.alloc((BLOCK - (size % BLOCK)) % BLOCK)
}

/** Writes the header of an entry, with a pax header before it for what ustar cannot hold. */
export function encodeHeader(entry: TarEntry): Buffer {
  const path = entry.type === 'directory' && !entry.path.endsWith('/') ? `${entry.path}/` : entry.path
  const records: Buffer[] = []
  if (path.length > 100) records.push(paxRecord('path', Buffer.from(path, 'latin1')))
  if (entry.link.length > 100) records.push(paxRecord('linkpath', Buffer.from(entry.link, 'latin1')))
  if (entry.size > 0o77777777777) records.push(paxRecord('size', Buffer.from(String(entry.size))))
  if (entry.uid > 0o7777777) records.push(paxRecord('uid', Buffer.from(String(entry.uid))))
  if (entry.gid > 0o7777777) records.push(paxRecord('gid', Buffer.from(String(entry.gid))))
  if (entry.mtimeNanos > 0 || entry.mtimeSeconds < 0) records.push(paxRecord('mtime', Buffer.from(`${entry.mtimeSeconds}.${String(entry.mtimeNanos).padStart(9, '0')}`)))
  for (const [name, value] of entry.xattrs) records.push(paxRecord(`${XATTR_PREFIX}${name}`, value))
  const main = headerBlock(path, FLAGS[entry.type], entry, entry.type === 'file' ? entry.size : 0)
  if (records.length === 0) return main
  const pax = Buffer.concat(records)
  return Buffer.concat([headerBlock('PaxHeaders.0/entry', 'x', { ...entry, link: '', mode: 0o644 }, pax.length), pax, padding(pax.length), main])
}
