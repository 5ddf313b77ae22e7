import type { IncomingMessage } from 'node:http'
import { createInterface } from 'node:readline'
import type { Duplex } from 'node:stream'
import { EngineError } from '@gantry/std'
import { streamFrameDecoder } from '../stdcopy.ts'

/** A piece of what a container says. With a terminal all of it is `stdout`. */
export interface OutputChunk {
  readonly stream: 'stdout' | 'stderr'
  readonly bytes: Buffer
}

/** Output as it comes, from a framed or a plain stream. */
export async function* outputOf(source: IncomingMessage | Duplex, tty: boolean): AsyncGenerator<OutputChunk> {
  let ready: OutputChunk[] = []
  const decode = tty ? (bytes: Buffer) => void ready.push({ stream: 'stdout', bytes }) : streamFrameDecoder((kind, payload) => void ready.push({ stream: kind === 2 ? 'stderr' : 'stdout', bytes: payload }))
  for await (const chunk of source) {
    decode(chunk as Buffer)
    yield* ready
    ready = []
  }
}

/** One JSON object a line, as it comes. */
export async function* jsonLines<T>(source: IncomingMessage): AsyncGenerator<T> {
  for await (const line of createInterface({ input: source })) if (line.trim() !== '') yield JSON.parse(line) as T
}

/** One line of a progress stream (Engine API, `JSONMessage`). */
export interface Progress {
  readonly id?: string
  readonly status?: string
  readonly stream?: string
  readonly progressDetail?: { readonly current?: number; readonly total?: number }
  readonly aux?: unknown
}

/** Progress until it is over; an error in it is thrown. */
export async function* progressOf(source: IncomingMessage): AsyncGenerator<Progress> {
  for await (const line of jsonLines<Progress & { readonly error?: string; readonly errorDetail?: { readonly message?: string } }>(source)) {
    const failure = line.errorDetail?.message ?? line.error
    if (failure !== undefined) throw new EngineError('internal', failure)
    yield line
  }
}
