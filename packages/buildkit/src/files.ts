import { EngineError } from '@gantry/std'
import { bytesMessage, readBytesMessage } from './bytes-message.ts'
import { framed } from './frames.ts'
import { type FileStat, PACKET, packet, readPacket, writeStat } from './packet.ts'
import type { ClientSession, SessionCall } from './session.ts'

/** Which files of a client are meant: a directory that it has named, patterns as `.dockerignore` has them, and paths whose links are followed. */
export interface FileRequest {
  readonly directory: string
  readonly exclude: readonly string[]
  /** Only what these lead to; empty: all. */
  readonly follow: readonly string[]
}

/** Takes files as they come. Throws to end the exchange. */
export interface FileSink {
  /** The list as it came before, in bytes. Where it comes so again nothing of it is read; undefined: it has not come before. */
  readonly expected: Buffer | undefined
  /** The list is complete; undefined: it is as expected. */
  listed(bytes: Buffer | undefined): void
  /** The next file's properties; true: its content is wanted. The bytes are a view. */
  stat(id: number, stat: Uint8Array): boolean
  /** Content of a file, a piece at a time; those of several files come mixed. A view. */
  data(id: number, chunk: Uint8Array): void
  end(id: number): void
}

const FILES = '/moby.filesync.v1.FileSync/DiffCopy'
const SEND = '/moby.filesync.v1.FileSend/DiffCopy'
const UPLOAD = '/moby.upload.v1.Upload/Pull'
const EXPORTER = 'buildkit-attachable-exporter-id'
const MAX_FILES = 2_000_000

/** Text that headers can carry; what is not ASCII is escaped, and that is said (`…-encoded`). */
function headerValues(name: string, values: readonly string[]): Readonly<Record<string, readonly string[]>> {
  if (values.length === 0) return {}
  const plain = values.every((value) => /^[\x20-\x7e]*$/.test(value))
  return plain ? { [name]: values } : { [name]: values.map((value) => encodeURIComponent(value)), [`${name}-encoded`]: ['1'] }
}

/** Passes bytes on that are not as expected; the first of them that are not bring those before along. */
function comparison(expected: Buffer | undefined): { readonly through: (chunk: Buffer) => Buffer | undefined; same(): boolean } {
  let at = expected === undefined ? -1 : 0
  return {
    same: () => expected !== undefined && at === expected.length,
    through(chunk) {
      if (expected === undefined || at < 0 || at === expected.length) return chunk
      const length = Math.min(chunk.length, expected.length - at)
      if (chunk.compare(expected, at, at + length, 0, length) === 0) {
        at += length
        return at === expected.length ? chunk.subarray(length) : undefined
      }
      const before = expected.subarray(0, at)
      at = -1
      return Buffer.concat([before, chunk])
    },
  }
}

/** Has a client send files: first what there is of them, then the content of those that the sink wants. */
export async function receiveFiles(session: ClientSession, request: FileRequest, sink: FileSink, signal: AbortSignal): Promise<void> {
  const call = session.open(FILES, { ...headerValues('dir-name', [request.directory]), ...headerValues('exclude-patterns', request.exclude), ...headerValues('followpaths', request.follow) }, signal)
  const open = new Set<number>()
  const list: Uint8Array[] = []
  const { through, same } = comparison(sink.expected)
  let [next, listed, ended] = [0, false, false]
  const take = (message: Buffer): number | undefined => {
    const { type, id, data, stat } = readPacket(message)
    if (type === PACKET.error) throw new EngineError('invalid', Buffer.from(data ?? []).toString('utf8'))
    if (type === PACKET.stat && stat !== undefined && !listed) {
      if (next >= MAX_FILES) throw new EngineError('invalid', `the context has more than ${MAX_FILES} files`)
      const own = next++
      list.push(framed(message))
      if (!sink.stat(own, stat)) return undefined
      open.add(own)
      return own
    }
    if (type === PACKET.stat) {
      listed = true
      sink.listed(Buffer.concat([...list, framed(message)]))
    }
    else if (type === PACKET.end) ended = true
    else if (type !== PACKET.data || !open.has(id)) throw new EngineError('invalid', `the client sends a packet of type ${type} for file ${id}, which nobody has asked for`)
    else if (data !== undefined && data.length > 0) sink.data(id, data)
    else {
      open.delete(id)
      sink.end(id)
    }
    return undefined
  }
  try {
    let told = false
    let sending = Promise.resolve()
    for await (const messages of call.received(through)) {
      if (!listed && same()) {
        listed = true
        sink.listed(undefined)
      }
      const wanted: Uint8Array[] = []
      for (const message of messages) {
        const id = take(message)
        if (id !== undefined) wanted.push(packet(PACKET.request, { id }))
      }
      const done: boolean = listed && open.size === 0 && !told
      if (done) wanted.push(packet(PACKET.end))
      told ||= done
      // Not waited for: whoever reads no more while it writes could be waited for by the one who writes.
      if (wanted.length > 0) sending = sending.then(() => call.sendAll(wanted))
      sending.catch(() => call.cancel())
      if (ended) call.end()
    }
    if (!told) throw new EngineError('unavailable', 'the client ended the exchange of files too early')
  } catch (error) {
    call.cancel()
    throw error
  }
}

/** A file that goes to a client. */
export interface OutgoingFile {
  readonly stat: FileStat
  read(): Iterable<Uint8Array>
}

const PIECE = 32 << 10
const LARGE_PIECE = 1 << 20

async function sendContent(call: SessionCall, id: number, file: OutgoingFile): Promise<void> {
  for (const chunk of file.read()) for (let at = 0; at < chunk.length; at += PIECE) await call.send(packet(PACKET.data, { id, data: chunk.subarray(at, at + PIECE) }))
  await call.send(packet(PACKET.data, { id }))
}

/** Sends a tree of files to a directory of the client: those that it asks for. `exporter` names the place among those that it has offered. */
export async function sendFiles(session: ClientSession, exporter: string, files: readonly OutgoingFile[], signal: AbortSignal): Promise<void> {
  const call = session.open(SEND, { [EXPORTER]: exporter }, signal)
  const list = (async () => {
    for (const { stat } of files) await call.send(packet(PACKET.stat, { stat: writeStat(stat) }))
    await call.send(packet(PACKET.stat))
  })()
  list.catch(() => undefined)
  const queue: number[] = []
  let stir = Promise.withResolvers<void>()
  let ended = false
  const sending = (async () => {
    await list
    for (;;) {
      const id = queue.shift()
      const file = id === undefined ? undefined : files[id]
      if (id !== undefined && file !== undefined) await sendContent(call, id, file)
      else if (ended) break
      else {
        await stir.promise
        stir = Promise.withResolvers()
      }
    }
    await call.send(packet(PACKET.end))
    call.end()
  })()
  sending.catch(() => undefined)
  try {
    for await (const messages of call.received()) {
      for (const message of messages) {
        const { type, id, data } = readPacket(message)
        if (type === PACKET.error) throw new EngineError('invalid', Buffer.from(data ?? []).toString('utf8'))
        if (type === PACKET.end) ended = true
        else if (type === PACKET.request && files[id] !== undefined) queue.push(id)
        else throw new EngineError('invalid', `the client asks for file ${id}: expected one of ${files.length}`)
        stir.resolve()
      }
    }
    await sending
  } catch (error) {
    call.cancel()
    throw error
  }
}

/** Sends bytes to a file of the client. */
export async function sendBytes(session: ClientSession, exporter: string, source: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<void> {
  const call = session.open(SEND, { [EXPORTER]: exporter }, signal)
  try {
    for await (const chunk of source) for (let at = 0; at < chunk.length; at += LARGE_PIECE) await call.send(bytesMessage(chunk.subarray(at, at + LARGE_PIECE)))
    call.end()
    // The client has written all of it once it ends the call, too.
    for await (const _ of call.received()) continue
  } catch (error) {
    call.cancel()
    throw error
  }
}

/** Bytes that a client has for whoever knows their path: its standard input. */
export async function* receiveUpload(session: ClientSession, path: string, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  const call = session.open(UPLOAD, { urlpath: path }, signal)
  call.end()
  for await (const messages of call.received()) for (const one of messages) yield readBytesMessage(one)
}
