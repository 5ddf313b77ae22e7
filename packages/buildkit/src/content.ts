import { decode, encode } from './schema.ts'
import type { ClientSession } from './session.ts'

const READ = '/containerd.services.content.v1.Content/Read'
const WRITE = '/containerd.services.content.v1.Content/Write'
const STORE = 'buildkit-attachable-store-id'
const ACTION = { write: 1, commit: 2 } as const
const PIECE = 1 << 20

/** A content by its digest. */
export interface ContentName {
  readonly digest: string
  readonly size: number
}

/** Reads from a store of contents that a client has opened (containerd.services.content.v1). */
export async function* readContent(session: ClientSession, store: string, digest: string, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  const call = session.open(READ, { [STORE]: store }, signal)
  await call.send(encode('containerd.services.content.v1.ReadContentRequest', { digest, offset: 0n, size: 0n }))
  call.end()
  for await (const messages of call.received()) for (const one of messages) yield decode<{ readonly data: Uint8Array }>('containerd.services.content.v1.ReadContentResponse', one).data
}

/** Writes into it. What is there already is not written again. */
export async function writeContent(session: ClientSession, store: string, { digest, size }: ContentName, source: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<void> {
  const call = session.open(WRITE, { [STORE]: store }, signal)
  const common = { ref: `gantry-${digest}`, total: BigInt(size), expected: digest }
  const send = (fields: object): Promise<void> => call.send(encode('containerd.services.content.v1.WriteContentRequest', { ...common, ...fields }))
  const answers = (async () => {
    for await (const _ of call.received()) continue
  })()
  answers.catch(() => undefined)
  try {
    let offset = 0
    for await (const chunk of source) {
      for (let at = 0; at < chunk.length; at += PIECE) {
        const data = chunk.subarray(at, at + PIECE)
        await send({ action: ACTION.write, offset: BigInt(offset), data })
        offset += data.length
      }
    }
    await send({ action: ACTION.commit, offset: BigInt(offset) })
    call.end()
    await answers
  } catch (error) {
    call.cancel()
    // What the client says of it tells more than that it went.
    await answers
    throw error
  }
}
