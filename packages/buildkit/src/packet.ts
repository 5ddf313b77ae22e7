import { BinaryReader, BinaryWriter, WireType } from '@bufbuild/protobuf/wire'
import { EngineError } from '@gantry/std'

/** A file's properties (fsutil.types.Stat): its path has no slash at the beginning; modes are Go's. */
export interface FileStat {
  /** Latin-1 text that keeps every byte. */
  readonly path: string
  /** Permission bits, and the kinds of Go's `os.FileMode` above them. */
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly size: number
  /** Nanoseconds since 1970. */
  readonly modTime: bigint
  /** Target of a symbolic link; of a hard link: the path where its file came first. */
  readonly linkname: string
  readonly xattrs: ReadonlyMap<string, Buffer>
}

/** A message of the exchange of files (fsutil.types.Packet). */
export interface Packet {
  readonly type: number
  /** Of the file that is asked for or sent: how many stats came before its own. */
  readonly id: number
  readonly data: Uint8Array | undefined
  readonly stat: Uint8Array | undefined
}

export const PACKET = { stat: 0, request: 1, data: 2, end: 3, error: 4 } as const
/** Bits of Go's `os.FileMode`. */
export const GO_MODE = { directory: 2 ** 31, link: 2 ** 27, device: 2 ** 26, pipe: 2 ** 25, socket: 2 ** 24, setUid: 2 ** 23, setGid: 2 ** 22, sticky: 2 ** 20 } as const
const KEY_LIMIT = 10_000

/** What comes from outside may be cut off anywhere. */
function readable<T>(what: string, work: () => T): T {
  try {
    return work()
  } catch (cause) {
    if (cause instanceof EngineError) throw cause
    throw new EngineError('invalid', `a ${what} of a client cannot be read`, { cause })
  }
}

function parsePacket(bytes: Uint8Array): Packet {
  const reader = new BinaryReader(bytes)
  let type = 0
  let id = 0
  let data: Uint8Array | undefined
  let stat: Uint8Array | undefined
  while (reader.pos < reader.len) {
    const [field, wire] = reader.tag()
    if (field === 1 && wire === WireType.Varint) type = reader.uint32()
    else if (field === 2 && wire === WireType.LengthDelimited) stat = reader.bytes()
    else if (field === 3 && wire === WireType.Varint) id = reader.uint32()
    else if (field === 4 && wire === WireType.LengthDelimited) data = reader.bytes()
    else reader.skip(wire, field)
  }
  return { type, id, data, stat }
}

const latin1 = (bytes: Uint8Array): string => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1')

function readXattr(bytes: Uint8Array): readonly [string, Buffer] {
  const reader = new BinaryReader(bytes)
  let name = ''
  let value: Uint8Array = new Uint8Array()
  while (reader.pos < reader.len) {
    const [field, wire] = reader.tag()
    if (field === 1) name = latin1(reader.bytes())
    else if (field === 2) value = reader.bytes()
    else reader.skip(wire, field)
  }
  return [name, Buffer.from(value)]
}

const NO_XATTRS: ReadonlyMap<string, Buffer> = new Map()

function parseStat(bytes: Uint8Array): FileStat {
  const reader = new BinaryReader(bytes)
  let [path, mode, uid, gid, size, modTime, linkname] = ['', 0, 0, 0, 0, 0n, '']
  let xattrs: Map<string, Buffer> | undefined
  while (reader.pos < reader.len) {
    const [field, wire] = reader.tag()
    if (field === 1) path = latin1(reader.bytes())
    else if (field === 2) mode = reader.uint32()
    else if (field === 3) uid = reader.uint32()
    else if (field === 4) gid = reader.uint32()
    else if (field === 5) size = Number(reader.int64())
    else if (field === 6) modTime = BigInt(reader.int64())
    else if (field === 7) linkname = latin1(reader.bytes())
    else if (field === 10) {
      xattrs ??= new Map()
      if (xattrs.size > KEY_LIMIT) throw new EngineError('invalid', `${path} has too many extended attributes`)
      xattrs.set(...readXattr(reader.bytes()))
    } else reader.skip(wire, field)
  }
  return { path, mode, uid, gid, size, modTime, linkname, xattrs: xattrs ?? NO_XATTRS }
}

/** Reads a packet. Files come by the ten thousand: this is not left to descriptors. */
export const readPacket = (bytes: Uint8Array): Packet => readable('packet', () => parsePacket(bytes))
/** Reads the properties of a file. */
export const readStat = (bytes: Uint8Array): FileStat => readable('list of files', () => parseStat(bytes))

/** A packet's bytes. */
export function packet(type: number, fields: { readonly id?: number; readonly data?: Uint8Array; readonly stat?: Uint8Array } = {}): Uint8Array {
  const writer = new BinaryWriter()
  if (type !== 0) writer.tag(1, WireType.Varint).uint32(type)
  if (fields.stat !== undefined) writer.tag(2, WireType.LengthDelimited).bytes(fields.stat)
  if (fields.id !== undefined && fields.id !== 0) writer.tag(3, WireType.Varint).uint32(fields.id)
  if (fields.data !== undefined) writer.tag(4, WireType.LengthDelimited).bytes(fields.data)
  return writer.finish()
}

/** The properties' bytes. */
export function writeStat(stat: FileStat): Uint8Array {
  const writer = new BinaryWriter()
  writer.tag(1, WireType.LengthDelimited).bytes(Buffer.from(stat.path, 'latin1'))
  writer.tag(2, WireType.Varint).uint32(stat.mode)
  if (stat.uid !== 0) writer.tag(3, WireType.Varint).uint32(stat.uid)
  if (stat.gid !== 0) writer.tag(4, WireType.Varint).uint32(stat.gid)
  if (stat.size !== 0) writer.tag(5, WireType.Varint).int64(stat.size)
  writer.tag(6, WireType.Varint).int64(stat.modTime)
  if (stat.linkname !== '') writer.tag(7, WireType.LengthDelimited).bytes(Buffer.from(stat.linkname, 'latin1'))
  for (const [name, value] of stat.xattrs) writer.tag(10, WireType.LengthDelimited).bytes(new BinaryWriter().tag(1, WireType.LengthDelimited).bytes(Buffer.from(name, 'latin1')).tag(2, WireType.LengthDelimited).bytes(value).finish())
  return writer.finish()
}
