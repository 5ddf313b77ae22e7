import { type ByteReader, byteReader, EngineError } from '@gantry/std'
import { BLOCK, checkSum, fieldNumber, fieldText, type HeaderPrefix, parseHeader, parsePax, type TarEntry } from './tar-header.ts'

/** Limits on what a header may bring, before it is read. */
const HEADER_LIMIT = 1 << 20
const ENTRY_LIMIT = 5_000_000

/** A member and its data; data that is not read is left out by the reader itself. */
export interface TarMember {
  readonly entry: TarEntry
  data(): AsyncGenerator<Buffer>
}

/** Hears of every byte of the archive: what belongs to headers and padding, and where the data of a file goes. */
export interface TarObserver {
  raw(bytes: Buffer): void
  file(entry: TarEntry): void
}

const isEmpty = (block: Buffer): boolean => block.every((byte) => byte === 0)
const trim = (data: Buffer): string => data.toString('latin1').replace(/\0.*$/s, '')

/** Reads an archive member by member. */
export async function* readTar(source: AsyncIterable<Uint8Array>, observer?: TarObserver): AsyncGenerator<TarMember> {
  const reader = byteReader(source)
  let prefix: HeaderPrefix = { pax: new Map() }
  let globals: ReadonlyMap<string, Buffer> = new Map()
  for (let count = 0; count < ENTRY_LIMIT; count++) {
    const block = await reader.read(BLOCK)
    if (block === undefined) return
    observer?.raw(block)
    if (isEmpty(block)) {
      await drain(reader, observer)
      return
    }
    if (fieldNumber(block, 148, 8) !== checkSum(block)) throw new EngineError('invalid', 'archive/tar: invalid tar header')
    const flag = String.fromCharCode(block[156] ?? 0)
    if (flag === 'x' || flag === 'g' || flag === 'L' || flag === 'K') {
      const data = await readExtension(reader, block, observer)
      if (flag === 'g') globals = parsePax(data)
      else if (flag === 'x') prefix = { ...prefix, pax: parsePax(data) }
      else prefix = flag === 'L' ? { ...prefix, longPath: trim(data) } : { ...prefix, longLink: trim(data) }
      continue
    }
    const entry = parseHeader(block, { ...prefix, pax: new Map([...globals, ...prefix.pax]) })
    prefix = { pax: new Map() }
    if (entry.path.includes('\0') || entry.path.length > 4096) throw new EngineError('invalid', 'tar: path is too long')
    yield* member(reader, entry, observer)
  }
  throw new EngineError('invalid', `tar: more than ${ENTRY_LIMIT} members`)
}

async function* member(reader: ByteReader, entry: TarEntry, observer: TarObserver | undefined): AsyncGenerator<TarMember> {
  let left = entry.size
  if (left > 0) observer?.file(entry)
  async function* data(): AsyncGenerator<Buffer> {
    while (left > 0) {
      const chunk = await reader.chunk(Math.min(left, 1 << 20))
      if (chunk === undefined) throw new EngineError('invalid', `unexpected EOF: ${left} bytes of ${entry.path} are missing`)
      left -= chunk.length
      yield chunk
    }
  }
  yield { entry, data }
  if (left > 0) await reader.skip(left)
  await readPadding(reader, entry.size, observer)
}

async function readPadding(reader: ByteReader, size: number, observer: TarObserver | undefined): Promise<void> {
  const length = (BLOCK - (size % BLOCK)) % BLOCK
  if (length === 0) return
  const bytes = await reader.read(length)
  if (bytes === undefined) throw new EngineError('invalid', 'unexpected EOF in tar padding')
  observer?.raw(bytes)
}

async function readExtension(reader: ByteReader, block: Buffer, observer: TarObserver | undefined): Promise<Buffer> {
  const size = fieldNumber(block, 124, 12)
  if (size > HEADER_LIMIT) throw new EngineError('invalid', `tar: extension header of ${size} bytes for ${fieldText(block, 0, 100)}`)
  const data = Buffer.from((await reader.read(size)) ?? [])
  if (data.length < size) throw new EngineError('invalid', 'unexpected EOF in tar header')
  observer?.raw(data)
  await readPadding(reader, size, observer)
  return data
}

/** What follows the end mark still counts for the digest of the archive. */
async function drain(reader: ByteReader, observer: TarObserver | undefined): Promise<void> {
  for (;;) {
    const chunk = await reader.chunk(1 << 20)
    if (chunk === undefined) return
    observer?.raw(chunk)
  }
}
