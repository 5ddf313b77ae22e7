import { closeSync, fstatSync, openSync, readSync, rmSync, writeSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { decompressed, layerWriter } from '@gantry/graph'
import { createRegistryClient, type RegistryClient, RegistryError } from '@gantry/registry'
import { digester, EngineError, isEngineError, messageOf } from '@gantry/std'
import { type Isal, openIsal } from './isal.ts'
import { type FetchLayer, type OpProgress, toAnswer, type WrittenAnswer } from './protocol.ts'
import { threadedWriter } from './sink-thread.ts'

const CHUNK = 1 << 20
/** Times that a broken download goes on, when it gets nothing in between. */
const ATTEMPTS = 5
const FIRST_WAIT_MS = 200
/** Blobs of this size and more have a thread that writes. */
const THREAD_BYTES = 8 << 20

type Report = (progress: OpProgress) => void

/** Reads what an earlier try has kept. */
function* kept(fd: number, size: number): Generator<Buffer> {
  for (let at = 0; at < size; ) {
    const chunk = Buffer.allocUnsafe(Math.min(CHUNK, size - at))
    const count = readSync(fd, chunk, 0, chunk.length, at)
    if (count === 0) return
    at += count
    yield chunk.subarray(0, count)
  }
}

/** Joins the small chunks of a socket: everything after works on few large ones. What came before it breaks off is passed on, too. */
async function* joined(source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let held: Buffer[] = []
  let bytes = 0
  let failure: unknown
  try {
    for await (const chunk of source) {
      held.push(chunk)
      bytes += chunk.length
      if (bytes < CHUNK / 2) continue
      const all = held.length === 1 ? chunk : Buffer.concat(held)
      held = []
      bytes = 0
      yield all
    }
  } catch (error) {
    failure = error
  }
  if (bytes > 0) yield Buffer.concat(held)
  if (failure !== undefined) throw failure
}

/** One piece of the blob from an offset; what a registry sends again is left out. */
async function* piece(client: RegistryClient, input: FetchLayer, offset: number, signal: AbortSignal): AsyncGenerator<Buffer> {
  const { stream, offset: begins, size } = await client.blob(input.remote.name, input.digest, offset, signal)
  if (size !== undefined && size !== input.size) {
    stream.destroy()
    throw new EngineError('invalid', `blob ${input.digest}: the registry has ${size} bytes, the manifest says ${input.size}`)
  }
  let again = offset - begins
  for await (const chunk of joined(stream)) {
    if (again >= chunk.length) again -= chunk.length
    else {
      yield chunk.subarray(again)
      again = 0
    }
  }
}

/** The blob from its first byte: from the disk what is there, the rest from the registry, which may break off now and then. */
async function* content(client: RegistryClient, input: FetchLayer, fd: number, report: Report, signal: AbortSignal): AsyncGenerator<Buffer> {
  let at = Math.min(fstatSync(fd).size, input.size)
  if (at > 0) report({ step: 'resume', current: at, total: input.size })
  yield* kept(fd, at)
  for (let attempt = 0; at < input.size; ) {
    const before = at
    try {
      for await (const chunk of piece(client, input, at, signal)) {
        if (at + chunk.length > input.size) throw new EngineError('invalid', `blob ${input.digest}: more than the ${input.size} bytes that the manifest says`)
        writeSync(fd, chunk, 0, chunk.length, at)
        at += chunk.length
        report({ step: 'download', current: at, total: input.size })
        yield chunk
      }
      if (at < input.size) throw new EngineError('unavailable', `blob ${input.digest}: the registry ended it after ${at} of ${input.size} bytes`)
    } catch (error) {
      attempt = at > before ? 1 : attempt + 1
      // What a registry says has been asked for several times already.
      const lasting = error instanceof RegistryError || (isEngineError(error) && error.kind !== 'unavailable')
      if (lasting || signal.aborted) throw error
      if (attempt >= ATTEMPTS) throw isEngineError(error) ? error : new EngineError('unavailable', `blob ${input.digest}: the registry ended it after ${at} of ${input.size} bytes: ${messageOf(error)}`, { cause: error })
      await delay(FIRST_WAIT_MS * 2 ** attempt, undefined, { signal })
    }
  }
}

/** Gzip by ISA-L where it is there; anything else as ever. `owned`: nobody else sees the chunk's memory. */
async function* unpacked(source: AsyncGenerator<Buffer>, isal: Isal | undefined): AsyncGenerator<{ readonly chunk: Uint8Array; readonly owned: boolean }> {
  const { done, value: head } = await source.next()
  async function* whole(): AsyncGenerator<Buffer> {
    if (done !== true) yield head
    yield* source
  }
  if (isal === undefined || done === true || head[0] !== 0x1f || head[1] !== 0x8b) {
    for await (const chunk of await decompressed(whole())) yield { chunk, owned: false }
    return
  }
  const inflater = isal.inflater()
  for await (const piece of whole()) for (const chunk of inflater.push(piece)) yield { chunk, owned: true }
  inflater.end()
}

/** Downloads, checks, inflates, checks and writes in one pass. */
async function attempt(client: RegistryClient, input: FetchLayer, report: Report, signal: AbortSignal): Promise<WrittenAnswer> {
  const fd = openSync(input.part, 'a+', 0o600)
  const isal = openIsal()
  const writer = isal !== undefined && input.size >= THREAD_BYTES ? threadedWriter(process.argv[1] ?? '', input.target) : layerWriter(input.target)
  try {
    const digest = digester()
    async function* checked(): AsyncGenerator<Buffer> {
      for await (const chunk of content(client, input, fd, report, signal)) {
        digest.update(chunk)
        yield chunk
      }
      report({ step: 'verify', current: input.size, total: input.size })
      const seen = digest.digest()
      if (seen !== input.digest) throw new EngineError('invalid', `filesystem layer verification failed for digest ${input.digest}: what the registry gave has ${seen}`)
    }
    for await (const { chunk, owned } of unpacked(checked(), isal)) {
      const full = writer.push(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength), owned)
      if (full !== undefined) await full
      report({ step: 'extract', current: Math.min(digest.bytes, input.size), total: input.size })
    }
  } catch (error) {
    writer.abort()
    throw error
  } finally {
    closeSync(fd)
  }
  const written = await writer.close()
  if (written.diffId !== input.diffId) throw new EngineError('invalid', `layer ${input.digest}: its content has the digest ${written.diffId}, the image says ${input.diffId}`)
  return toAnswer(written)
}

/** Brings a layer from a registry. What came of a blob that proves wrong is thrown away, so that nobody builds on it. */
export async function fetchLayer(input: FetchLayer, report: Report, signal: AbortSignal): Promise<WrittenAnswer> {
  using client = createRegistryClient(input.remote.endpoint, input.remote.credentials)
  try {
    const answer = await attempt(client, input, report, signal)
    rmSync(input.part, { force: true })
    return answer
  } catch (error) {
    if (isEngineError(error) && error.kind === 'invalid') rmSync(input.part, { force: true })
    throw error
  }
}
