import type { Duplex } from 'node:stream'
import { Transform } from 'node:stream'
import type { ExpectedStream, StreamPlan, StreamServer } from '@gantry/runtime'
import { EngineError } from '@gantry/std'

/** Which streams a client wants. */
export interface StreamChoice {
  readonly stdin: boolean
  readonly stdout: boolean
  readonly stderr: boolean
}

const CONTROL: Readonly<Record<string, number>> = { '@': 0, '[': 27, '\\': 28, ']': 29, '^': 30, _: 31 }

/** `ctrl-p,ctrl-q` as bytes. */
export function parseDetachKeys(text: string): Buffer {
  if (text === '') return Buffer.from([16, 17])
  return Buffer.from(
    text.split(',').map((part) => {
      if (part.length === 1) return part.charCodeAt(0)
      const letter = /^ctrl-([a-z@[\\\]^_])$/.exec(part)?.[1]
      if (letter === undefined) throw new EngineError('invalid', `Invalid detach keys (${text}) provided: unknown character: '${part}'`)
      return CONTROL[letter] ?? letter.charCodeAt(0) - 96
    }),
  )
}

/** Passes input on until the keys are typed; what looked like their beginning is passed on once it turns out not to be. */
export function detachFilter(keys: Buffer, onDetach: () => void): Transform {
  let matched = 0
  return new Transform({
    transform(chunk: Buffer, _, done) {
      const out: number[] = []
      for (const byte of chunk) {
        if (byte === keys[matched]) {
          matched++
          if (matched < keys.length) continue
          matched = 0
          onDetach()
          return done(null, Buffer.from(out))
        }
        out.push(...keys.subarray(0, matched))
        matched = byte === keys[0] ? 1 : 0
        if (matched === 0) out.push(byte)
      }
      done(null, Buffer.from(out))
    },
  })
}

/** A stream that the shim is going to open, and what it is told about it. */
export function prepareStream(streams: StreamServer, choice: StreamChoice): { readonly plan: StreamPlan; readonly expected: ExpectedStream } {
  const expected = streams.expect()
  return { plan: { socketPath: expected.socketPath, token: expected.token, ...choice }, expected }
}

/** Ties a client's connection to the shim's stream until either ends. */
export async function joinStreams(client: Duplex, expected: ExpectedStream, options: { readonly choice: StreamChoice; readonly detachKeys: Buffer | undefined; readonly onDetach: () => void }): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  client.on('error', () => resolve())
  client.on('close', () => {
    expected.cancel('the client has gone')
    resolve()
  })
  // Input may come before the container runs; it waits in the socket until there is somebody to take it.
  const shim = await expected.socket.catch(() => undefined)
  if (shim === undefined) {
    client.end()
    return
  }
  if (client.destroyed) {
    shim.destroy()
    return
  }
  // A short process may have said nothing and be gone already: its end has been told to nobody.
  if (shim.readableEnded) {
    shim.destroy()
    client.end()
    return
  }
  shim.on('error', () => undefined)
  shim.on('close', () => resolve())
  shim.on('end', () => {
    client.end()
    resolve()
  })
  shim.pipe(client, { end: false })
  if (options.choice.stdin) {
    const detach = (): void => {
      options.onDetach()
      shim.destroy()
      client.end()
    }
    const source = options.detachKeys === undefined ? client : client.pipe(detachFilter(options.detachKeys, detach))
    source.pipe(shim)
  } else {
    client.resume()
  }
  await promise
  shim.destroy()
}
