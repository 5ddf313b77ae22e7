import type { TarEntry } from './tar-header.ts'
import { tarParser } from './tar-parser.ts'

/** A member and its data; data that is not read is left out by the reader itself. */
export interface TarMember {
  readonly entry: TarEntry
  data(): AsyncGenerator<Buffer>
}

type Event = { readonly kind: 'entry'; readonly entry: TarEntry } | { readonly kind: 'data'; readonly chunk: Buffer } | { readonly kind: 'hole'; readonly length: number } | { readonly kind: 'finish' }

const ZEROS = Buffer.alloc(1 << 16)

/** Reads an archive member by member. */
export async function* readTar(source: AsyncIterable<Uint8Array>): AsyncGenerator<TarMember> {
  let events: Event[] = []
  let at = 0
  const parser = tarParser({
    entry: (entry) => events.push({ kind: 'entry', entry }),
    data: (chunk) => events.push({ kind: 'data', chunk }),
    hole: (length) => events.push({ kind: 'hole', length }),
    finish: () => events.push({ kind: 'finish' }),
  })
  const iterator = source[Symbol.asyncIterator]()
  const next = async (): Promise<Event | undefined> => {
    while (at === events.length) {
      events = []
      at = 0
      const { done, value } = await iterator.next()
      if (done === true) {
        parser.end()
        return undefined
      }
      parser.push(Buffer.from(value.buffer, value.byteOffset, value.byteLength))
    }
    return events[at++]
  }
  let open = false
  async function* data(): AsyncGenerator<Buffer> {
    while (open) {
      const event = await next()
      if (event?.kind === 'data') yield event.chunk
      else if (event?.kind === 'hole') for (let left = event.length; left > 0; left -= ZEROS.length) yield ZEROS.subarray(0, left)
      else open = false
    }
  }
  for (;;) {
    const event = await next()
    if (event === undefined) return
    if (event.kind !== 'entry') continue
    open = true
    yield { entry: event.entry, data }
    for await (const _ of data()) continue
  }
}
