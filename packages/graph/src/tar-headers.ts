import { EngineError } from '@gantry/std'
import { BLOCK, checkSum, fieldNumber, fieldText, type HeaderPrefix, parseHeader, parsePax, type TarEntry } from './tar-header.ts'
import { type SparseHeader, sparseHeader } from './tar-sparse.ts'

/** Longest extension header, before it is read. */
const HEADER_LIMIT = 1 << 20
const PATH_LIMIT = 4096

/** A header that says something of the next one; its `size` bytes of data (and padding) follow. */
export interface ExtensionHeader {
  readonly size: number
  take(data: Buffer): void
}

/** A member, and how its content lies in the archive. */
export interface MemberHeader {
  readonly entry: TarEntry
  /** Bytes of data after the header, without padding. */
  readonly stored: number
  readonly sparse: SparseHeader | undefined
}

/** Understands the headers of one archive in their order: pax records, global ones, GNU's long names. */
export interface HeaderReader {
  /** The block as an extension header; undefined when it is a member's. A block that is no header is an error. */
  extension(block: Buffer): ExtensionHeader | undefined
  /** The member, with all that was said of it before. */
  entry(block: Buffer): MemberHeader
}

/** True for the blocks of zeros that end an archive. */
export function isEmptyBlock(block: Buffer): boolean {
  for (let at = 0; at < BLOCK; at++) if (block[at] !== 0) return false
  return true
}

const trim = (data: Buffer): string => data.toString('latin1').replace(/\0.*$/s, '')
const NONE: ReadonlyMap<string, Buffer> = new Map()

/** Makes the reader of an archive's headers. */
export function headerReader(): HeaderReader {
  let prefix: HeaderPrefix = { pax: NONE }
  let globals = NONE
  return {
    extension(block) {
      if (fieldNumber(block, 148, 8) !== checkSum(block)) throw new EngineError('invalid', 'archive/tar: invalid tar header')
      const flag = String.fromCharCode(block[156] ?? 0)
      if (flag !== 'x' && flag !== 'g' && flag !== 'L' && flag !== 'K') return undefined
      const size = fieldNumber(block, 124, 12)
      if (size < 0 || size > HEADER_LIMIT) throw new EngineError('invalid', `tar: extension header of ${size} bytes for ${fieldText(block, 0, 100)}`)
      return {
        size,
        take(data) {
          if (flag === 'g') globals = parsePax(data)
          else if (flag === 'x') prefix = { ...prefix, pax: parsePax(data) }
          else prefix = flag === 'L' ? { ...prefix, longPath: trim(data) } : { ...prefix, longLink: trim(data) }
        },
      }
    },
    entry(block) {
      const all = globals.size === 0 ? prefix : { ...prefix, pax: new Map([...globals, ...prefix.pax]) }
      const entry = parseHeader(block, all)
      prefix = { pax: NONE }
      if (entry.path.includes('\0') || entry.path.length > PATH_LIMIT || entry.link.length > PATH_LIMIT) throw new EngineError('invalid', `tar: path of ${entry.path.length} bytes is too long`)
      if (entry.size < 0) throw new EngineError('invalid', `tar: size of ${entry.size} bytes for ${entry.path}`)
      const sparse = entry.type === 'file' ? sparseHeader(block, all.pax) : undefined
      return { entry: sparse === undefined ? entry : { ...entry, path: sparse.name ?? entry.path, size: sparse.realSize }, stored: entry.size, sparse }
    },
  }
}
