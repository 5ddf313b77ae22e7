import { createConnection, type Socket } from 'node:net'
import { EngineError } from '@gantry/std'
import { decodeExit, decodeResult, encodeFrame, errnoText, type Exit, type Frame, frameDecoder, nextFrameId, type ProgramResult, REPLIES, REQUESTS, type SyscallProgram } from '@gantry/linux'
import type { StreamPlan } from './init/plan.ts'

/** What a shim says of its container when asked. */
export interface ShimState {
  readonly pid: number
  readonly ended: boolean
  readonly waitStatus: number
  readonly programId: number
}

/** The daemon's line to one shim. */
export interface ShimClient {
  exec(program: SyscallProgram, id: number): Promise<ProgramResult>
  signal(process: number, signal: number): Promise<void>
  resize(process: number, rows: number, columns: number): Promise<void>
  attach(process: number, stream: StreamPlan): Promise<void>
  subscribe(): Promise<ShimState>
  close(): void
}

/** What a shim tells without being asked. */
export interface ShimEvents {
  exited(id: number, exit: Exit): void
  clean(): void
  lacking?(): void
  closed(): void
}

const u64s = (...values: readonly number[]): Buffer => {
  const bytes = Buffer.alloc(values.length * 8)
  values.forEach((value, index) => {
    bytes.writeBigUInt64LE(BigInt(value), index * 8)
  })
  return bytes
}

/** Flags of a stream as the shim reads them. */
function streamFlags(stream: StreamPlan): number {
  return (stream.stdin ? 1 : 0) | (stream.stdout ? 2 : 0) | (stream.stderr ? 4 : 0)
}

/** Connects to a shim; fails with `not-found` when nobody listens there. */
export async function connectShim(path: string, events: ShimEvents): Promise<ShimClient> {
  const socket = await new Promise<Socket>((resolve, reject) => {
    const connecting = createConnection(path)
    connecting.once('connect', () => resolve(connecting))
    connecting.once('error', (cause) => reject(new EngineError('not-found', `no shim listens on ${path}`, { cause })))
  })
  const pending = new Map<number, { readonly resolve: (frame: Frame) => void; readonly reject: (error: Error) => void }>()
  socket.on(
    'data',
    frameDecoder((frame) => {
      const waiting = pending.get(frame.id)
      if (frame.kind === REPLIES.exited) return events.exited(frame.id, decodeExit(frame.body))
      if (frame.kind === REPLIES.clean) return events.clean()
      if (frame.kind === REPLIES.lacking) return events.lacking?.()
      pending.delete(frame.id)
      return waiting?.resolve(frame)
    }),
  )
  socket.on('error', () => undefined)
  socket.on('close', () => {
    for (const waiting of pending.values()) waiting.reject(new EngineError('unavailable', 'the shim has ended'))
    pending.clear()
    events.closed()
  })
  const ask = (kind: number, body: Buffer, id = nextFrameId()): Promise<Frame> =>
    new Promise((resolve, reject) => {
      if (socket.destroyed) return reject(new EngineError('unavailable', 'the shim has ended'))
      pending.set(id, { resolve, reject })
      socket.write(encodeFrame(kind, id, body))
    })
  const command = async (what: string, kind: number, body: Buffer): Promise<void> => {
    const errno = Number((await ask(kind, body)).body.readBigUInt64LE(0))
    if (errno !== 0) throw new EngineError(errno === 3 ? 'not-found' : 'internal', `${what}: ${errnoText(errno)}`)
  }
  return {
    exec: async (program, id) => decodeResult(program, await ask(REQUESTS.exec, program.bytes, id)),
    signal: (process, signal) => command(`signal ${signal}`, REQUESTS.signal, u64s(process, signal)),
    resize: (process, rows, columns) => command('resize', REQUESTS.resize, u64s(process, rows, columns)),
    attach: (process, stream) => command('attach', REQUESTS.attach, Buffer.concat([u64s(process, streamFlags(stream)), Buffer.from(stream.token), Buffer.from(stream.socketPath)])),
    async subscribe() {
      const { body } = await ask(REQUESTS.subscribe, Buffer.alloc(0))
      return { pid: Number(body.readBigUInt64LE(0)), ended: body.readBigUInt64LE(8) !== 0n, waitStatus: Number(body.readBigUInt64LE(16)), programId: Number(body.readBigUInt64LE(24)) }
    },
    close: () => socket.destroy(),
  }
}
