import { EngineError } from '@gantry/std'
import { BLOCK, type TarEntry } from './tar-header.ts'
import { type ExtensionHeader, headerReader, isEmptyBlock, type MemberHeader } from './tar-headers.ts'
import { type SparseFeed, sparseFeed, takeSparseBlock } from './tar-sparse.ts'

/** Hears an archive in its order. Chunks are views that are good until the call returns. */
export interface TarHandler {
  /** A member begins. `at`: where its data begins in the archive; `packed`: the data there is not the file's content (a sparse file). */
  entry(entry: TarEntry, at: number, packed: boolean): void
  /** Content of the member that began last. */
  data(chunk: Buffer): void
  /** So many zeros of its content. */
  hole(length: number): void
  /** The member is complete. */
  finish(): void
  /** Bytes that are no file's content: headers, padding, the end. Only what `skeleton` wants. */
  raw?(bytes: Buffer): void
}

/** Takes an archive apart as its bytes come. */
export interface TarParser {
  push(chunk: Buffer): void
  /** No more bytes come; an archive that is cut off is an error. */
  end(): void
}

/** More members than this are refused. */
const ENTRY_LIMIT = 5_000_000
const NOTHING: Buffer = Buffer.alloc(0)

type State =
  | { readonly kind: 'block' | 'end' }
  | { readonly kind: 'extension'; readonly header: ExtensionHeader }
  | { readonly kind: 'map'; readonly member: MemberHeader }
  | { readonly kind: 'data'; readonly sparse: SparseFeed | undefined }
  | { readonly kind: 'padding' }

const BLOCK_STATE: State = { kind: 'block' }
const PLAIN_DATA: State = { kind: 'data', sparse: undefined }
const PADDING: State = { kind: 'padding' }

/** Makes a parser (POSIX.1-2001 ustar and pax, GNU's long names, base-256 numbers and sparse files). */
export function tarParser(handler: TarHandler): TarParser {
  const headers = headerReader()
  let state: State = BLOCK_STATE
  /** Bytes that the state still wants. */
  let left = BLOCK
  let padding = 0
  let held: Buffer = NOTHING
  let position = 0
  let count = 0

  const expectBlock = (): void => {
    state = BLOCK_STATE
    left = BLOCK
  }
  const finishData = (): void => {
    if (state.kind === 'data') state.sparse?.end()
    handler.finish()
    if (padding === 0) return expectBlock()
    state = PADDING
    left = padding
  }
  const begin = (member: MemberHeader): void => {
    handler.entry(member.entry, position, member.sparse !== undefined)
    padding = (BLOCK - (member.stored % BLOCK)) % BLOCK
    left = member.stored
    state = member.sparse === undefined ? PLAIN_DATA : { kind: 'data', sparse: sparseFeed(member.sparse, handler) }
    if (left === 0) finishData()
  }
  const takeHeader = (block: Buffer): void => {
    if (isEmptyBlock(block)) {
      state = { kind: 'end' }
      return
    }
    const header = headers.extension(block)
    if (header !== undefined) {
      if (header.size === 0) header.take(NOTHING)
      else {
        state = { kind: 'extension', header }
        left = Math.ceil(header.size / BLOCK) * BLOCK
        return
      }
      return expectBlock()
    }
    if (++count > ENTRY_LIMIT) throw new EngineError('invalid', `tar: more than ${ENTRY_LIMIT} members`)
    const member = headers.entry(block)
    if (member.sparse?.map.kind === 'blocks') {
      state = { kind: 'map', member }
      left = BLOCK
    } else begin(member)
  }
  /** A block or an extension's data has come whole. */
  const takeWhole = (bytes: Buffer): void => {
    position += bytes.length
    handler.raw?.(bytes)
    switch (state.kind) {
      case 'block':
        return takeHeader(bytes)
      case 'extension':
        state.header.take(Buffer.from(bytes.subarray(0, state.header.size)))
        return expectBlock()
      case 'map':
        if (state.member.sparse !== undefined && takeSparseBlock(state.member.sparse, bytes)) left = BLOCK
        else begin(state.member)
        return
      case 'padding':
        return expectBlock()
      default:
        throw new EngineError('internal', `tar: nothing is awaited in ${state.kind}`)
    }
  }
  const takeData = (chunk: Buffer): number => {
    const part = chunk.length <= left ? chunk : chunk.subarray(0, left)
    position += part.length
    left -= part.length
    if (state.kind === 'data' && state.sparse !== undefined) {
      handler.raw?.(part)
      state.sparse.push(part)
    } else handler.data(part)
    if (left === 0) finishData()
    return part.length
  }
  const takePiece = (chunk: Buffer): number => {
    if (held.length === 0 && chunk.length >= left) {
      const length = left
      takeWhole(chunk.subarray(0, length))
      return length
    }
    const part = chunk.subarray(0, left - held.length)
    held = Buffer.concat([held, part])
    if (held.length < left) return part.length
    const whole = held
    held = NOTHING
    takeWhole(whole)
    return part.length
  }
  return {
    push(chunk) {
      for (let at = 0; at < chunk.length; ) {
        const rest = at === 0 ? chunk : chunk.subarray(at)
        if (state.kind === 'end') {
          position += rest.length
          handler.raw?.(rest)
          return
        }
        at += state.kind === 'data' ? takeData(rest) : takePiece(rest)
      }
    },
    end() {
      if (state.kind === 'end' || (state.kind === 'block' && held.length === 0)) return
      throw new EngineError('invalid', state.kind === 'data' ? `unexpected EOF: ${left} bytes of a file are missing` : 'unexpected EOF in a tar header')
    },
  }
}
