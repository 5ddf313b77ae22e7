import { EngineError } from '@gantry/std'
import { BLOCK, fieldNumber } from './tar-header.ts'

/** One piece of a sparse file: so many bytes of data at this offset; the rest are zeros. */
export interface Segment {
  readonly offset: number
  readonly length: number
}

/** How an archive keeps a sparse file (GNU tar manual, "Storing Sparse Files"). */
export interface SparseHeader {
  readonly realSize: number
  /** Where the pieces are told: known already, in blocks after the header (old format), or at the head of the data (pax 1.0). */
  readonly map: { readonly kind: 'known' } | { readonly kind: 'blocks' } | { readonly kind: 'data' }
  readonly segments: Segment[]
  /** The name where the header's own is made up. */
  readonly name: string | undefined
}

const SEGMENT_LIMIT = 1_000_000
const SIZE_LIMIT = 2 ** 43
const OLD = { map: 386, more: 482, realSize: 483, pieces: 4 } as const
const OLD_BLOCK = { more: 504, pieces: 21 } as const

function number(text: string): number {
  if (!/^\d{1,16}$/.test(text)) throw new EngineError('invalid', `tar: bad number ${JSON.stringify(text)} in a sparse map`)
  return Number(text)
}

function readPieces(block: Buffer, at: number, count: number, into: Segment[]): void {
  for (let n = 0; n < count; n++) {
    const from = at + n * 24
    if (block[from] === 0) return
    into.push({ offset: fieldNumber(block, from, 12), length: fieldNumber(block, from + 12, 12) })
  }
}

/** What a member's header says of holes; undefined for ordinary members. */
export function sparseHeader(block: Buffer, pax: ReadonlyMap<string, Buffer>): SparseHeader | undefined {
  const text = (key: string): string | undefined => pax.get(`GNU.sparse.${key}`)?.toString('latin1')
  if (block[156] === 0x53) {
    const segments: Segment[] = []
    readPieces(block, OLD.map, OLD.pieces, segments)
    return { realSize: fieldNumber(block, OLD.realSize, 12), map: { kind: block[OLD.more] === 0 ? 'known' : 'blocks' }, segments, name: undefined }
  }
  const size = text('realsize') ?? text('size')
  if (size === undefined) return undefined
  if (text('major') === '1') return { realSize: number(size), map: { kind: 'data' }, segments: [], name: text('name') }
  const numbers = (text('map') ?? '').split(',').filter((part) => part !== '').map(number)
  const segments = Array.from({ length: numbers.length >> 1 }, (_, n) => ({ offset: numbers[2 * n] ?? 0, length: numbers[2 * n + 1] ?? 0 }))
  return { realSize: number(size), map: { kind: 'known' }, segments, name: text('name') }
}

/** Reads one more block of the old format's map; true when another follows. */
export function takeSparseBlock(sparse: SparseHeader, block: Buffer): boolean {
  readPieces(block, 0, OLD_BLOCK.pieces, sparse.segments)
  if (sparse.segments.length > SEGMENT_LIMIT) throw new EngineError('invalid', `tar: a sparse file of more than ${SEGMENT_LIMIT} pieces`)
  return block[OLD_BLOCK.more] !== 0
}

/** Hears the content of a sparse file in order. */
export interface SparseOutput {
  data(chunk: Buffer): void
  hole(length: number): void
}

/** Takes the stored bytes of a sparse file and gives its content. */
export interface SparseFeed {
  push(chunk: Buffer): void
  end(): void
}

/** Checks the map: pieces in order, inside the file. */
function checked(segments: readonly Segment[], realSize: number): readonly Segment[] {
  let at = 0
  for (const { offset, length } of segments) {
    if (offset < at || length < 0 || offset + length > realSize) throw new EngineError('invalid', `tar: a piece of a sparse file lies outside of it: ${length} bytes at ${offset}`)
    at = offset + length
  }
  if (realSize > SIZE_LIMIT) throw new EngineError('invalid', `tar: a sparse file of ${realSize} bytes, more than ${SIZE_LIMIT}`)
  return segments
}

/** The map at the head of the data: decimal numbers, a line each, padded to a block. Gives what is left of the chunks. */
function mapReader(sparse: SparseHeader): (chunk: Buffer) => Buffer | undefined {
  let held: Buffer = Buffer.alloc(0)
  return (chunk) => {
    held = Buffer.concat([held, chunk])
    let at = 0
    const line = (): number | undefined => {
      const end = held.indexOf(0x0a, at)
      if (end < 0) return undefined
      const value = number(held.toString('latin1', at, end))
      at = end + 1
      return value
    }
    const count = line()
    if (count !== undefined && count > SEGMENT_LIMIT) throw new EngineError('invalid', `tar: a sparse file of ${count} pieces`)
    const numbers: number[] = []
    while (count !== undefined && numbers.length < count * 2) {
      const value = line()
      if (value === undefined) break
      numbers.push(value)
    }
    const whole = Math.ceil(at / BLOCK) * BLOCK
    if (count === undefined || numbers.length < count * 2 || held.length < whole) {
      if (held.length > SEGMENT_LIMIT * 40) throw new EngineError('invalid', 'tar: the map of a sparse file does not end')
      return undefined
    }
    for (let n = 0; n < count; n++) sparse.segments.push({ offset: numbers[2 * n] ?? 0, length: numbers[2 * n + 1] ?? 0 })
    return held.subarray(whole)
  }
}

/** Makes the feed of one sparse member. */
export function sparseFeed(sparse: SparseHeader, output: SparseOutput): SparseFeed {
  let segments = sparse.map.kind === 'data' ? undefined : checked(sparse.segments, sparse.realSize)
  const readMap = mapReader(sparse)
  let index = 0
  let written = 0
  const feed = (chunk: Buffer, list: readonly Segment[]): void => {
    for (let rest = chunk; rest.length > 0; ) {
      const piece = list[index]
      if (piece === undefined) return
      if (piece.offset > written) output.hole(piece.offset - written)
      written = Math.max(written, piece.offset)
      const part = rest.subarray(0, piece.offset + piece.length - written)
      if (part.length > 0) output.data(part)
      written += part.length
      rest = rest.subarray(part.length)
      if (written === piece.offset + piece.length) index++
    }
  }
  return {
    push(chunk) {
      if (segments !== undefined) return feed(chunk, segments)
      const rest = readMap(chunk)
      if (rest === undefined) return
      segments = checked(sparse.segments, sparse.realSize)
      feed(rest, segments)
    },
    end() {
      const last = segments?.findLast((piece) => piece.length > 0)
      if (segments === undefined || (last !== undefined && written < last.offset + last.length)) throw new EngineError('invalid', 'tar: the data of a sparse file is cut off')
      if (written < sparse.realSize) output.hole(sparse.realSize - written)
    },
  }
}
