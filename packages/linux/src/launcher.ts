import { spawn } from 'node:child_process'
import type { Socket as DatagramSocket } from 'node:dgram'
import type { Server, Socket } from 'node:net'
import { EngineError, logger } from '@gantry/std'
import { encodeFrameHead, type Frame, frameDecoder, nextFrameId } from './frames.ts'
import { REPLIES, REQUESTS } from './ops.table.ts'
import { ProgramError, syscallProgram, type SyscallProgram } from './program.ts'
import { PR } from './constants.ts'

const log = logger('linux.launcher')
const ORPHANS_KEPT = 64

/** Descriptor of the channel over which programs of the launcher hand sockets to this process. */
export const HANDLES = 4

/** What a program left behind. */
export interface ProgramResult {
  /** Register 0 at the end: the result of the last op that named no register. */
  readonly value: bigint
  readonly output: Buffer
}

/** A launched program whose process runs. */
export interface Launched {
  readonly id: number
  readonly pid: number
  readonly shimPid: number
  /** Nanoseconds since the program was taken up, per instruction; 0 for those that did not run. */
  readonly stamps: readonly number[]
}

/** How a process ended. */
export interface Exit {
  /** As wait(2) gives it. */
  readonly waitStatus: number
  /** Nanoseconds since 1970. */
  readonly at: bigint
  /** What the exit section of the program read (out-of-memory counters). */
  readonly oom: string
}

/** What a launch tells after its start. */
export interface LaunchEvents {
  exited(exit: Exit): void
  /** The host side has been tidied: cgroups are gone, the root file system is unmounted. */
  clean(): void
  /** The cgroup has run out of memory, or its counters of that have changed. */
  lacking?(): void
  /** The shim is gone; comes last. */
  gone(): void
}

/** The zygote: carries programs out, inside itself, in a child, or in a child that stays as a shim. */
export interface Launcher extends AsyncDisposable {
  readonly pid: number
  /** Runs inside the launcher: for sockets and reservations that live as long as the daemon. */
  inline(program: SyscallProgram): Promise<ProgramResult>
  /** Runs in a child of its own. */
  fork(program: SyscallProgram): Promise<ProgramResult>
  /** `signal` ends a start that takes too long, with all that it has made. */
  launch(program: SyscallProgram, events: LaunchEvents, signal?: AbortSignal): Promise<Launched>
  /** The text that a program sends along with a socket (`sendFd` to `HANDLES`), for Node to take it; undefined where there is no channel for it. */
  handleText(kind: 'udp4' | 'udp6' | 'tcp', token: string): Buffer | undefined
  /** The socket that comes with this token. */
  handle(token: string): Promise<DatagramSocket | Server>
  /** Nobody waits for it any more. */
  forgetHandle(token: string): void
  /** Exits of exec processes arrive by the id that their program was given. */
  expectExit(id: number, exited: (exit: Exit) => void): void
  /** From now on processes that forked programs leave behind are reaped here; otherwise they go to whoever reaps above. */
  adoptOrphans(): Promise<void>
  /** The wait status of such a process, once they are adopted. */
  orphanEnded(pid: number): Promise<number>
  /** Resolves when the launcher ends before it was asked to. */
  readonly lost: Promise<void>
}

interface Pending {
  readonly program: SyscallProgram
  readonly resolve: (frame: Frame) => void
  readonly reject: (error: unknown) => void
}

/** Reads EXITED: {u64 status, u64 time, text}. */
export function decodeExit(body: Buffer): Exit {
  return { waitStatus: Number(body.readBigUInt64LE(0)), at: body.readBigUInt64LE(8), oom: body.toString('utf8', 16) }
}

/** Reads DONE or FAILED: {u32 index, u32 errno, u32 length, u32, u64 value, bytes}. */
export function decodeResult(program: SyscallProgram, frame: Frame): ProgramResult {
  const output = Buffer.from(frame.body.subarray(24))
  if (frame.kind === REPLIES.failed) throw new ProgramError(program.steps[frame.body.readUInt32LE(0)], frame.body.readUInt32LE(4), output)
  return { value: frame.body.readBigInt64LE(16), output }
}

function decodeStarted(frame: Frame): Launched {
  // Decoded only when somebody asks: 300 stamps a start are garbage that nobody reads.
  const body = Buffer.from(frame.body)
  return {
    id: frame.id,
    pid: body.readUInt32LE(0),
    shimPid: body.readUInt32LE(4),
    get stamps() {
      const began = body.readBigUInt64LE(8)
      const stamps: number[] = []
      for (let at = 16; at + 8 <= body.length; at += 8) {
        const stamp = body.readBigUInt64LE(at)
        stamps.push(stamp === 0n ? 0 : Number(stamp - began))
      }
      return stamps
    },
  }
}

/** Starts the launcher from the helper's file and waits until it is ready. Its children have no standard streams unless they are to inherit these; descriptors 3, 4 … of this process are 4, 5 … there. */
export async function startLauncher(helper: string, options: { readonly inheritStdio?: boolean; readonly passFds?: number; readonly handles?: boolean } = {}): Promise<Launcher> {
  const own = options.inheritStdio === true ? 'inherit' : 'ignore'
  const child = spawn(helper, ['launcher'], { stdio: [own, own, 'inherit', 'pipe', ...(options.handles === true ? ['ipc' as const] : []), ...Array.from({ length: options.passFds ?? 0 }, (_, n) => 3 + n)], env: {}, detached: true })
  const channel = child.stdio[3] as Socket
  const handles = new Map<string, (handle: DatagramSocket | Server) => void>()
  if (options.handles === true) {
    child.channel?.unref()
    child.on('message', (message, handle) => {
      const { token } = message as { readonly token: string }
      const taken = handles.get(token)
      handles.delete(token)
      if (taken === undefined || handle === undefined) (handle as DatagramSocket | undefined)?.close()
      else taken(handle as DatagramSocket | Server)
    })
  }
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()))
  const spawned = new Promise<never>((_, reject) => child.once('error', (cause) => reject(new EngineError('internal', `cannot start ${helper}`, { cause }))))
  const results = new Map<number, Pending>()
  const launches = new Map<number, LaunchEvents>()
  const exits = new Map<number, (exit: Exit) => void>()
  const shims = new Map<number, number>()
  let closing = false
  let ready: (() => void) | undefined
  const isReady = new Promise<void>((resolve) => {
    ready = resolve
  })
  const orphans = new Map<number, number>()
  const awaited = new Map<number, (status: number) => void>()
  /** It may end before somebody asks. */
  const orphan = (pid: number, status: number): void => {
    const heard = awaited.get(pid)
    awaited.delete(pid)
    if (heard !== undefined) return heard(status)
    orphans.set(pid, status)
    const [oldest] = orphans.keys()
    if (orphans.size > ORPHANS_KEPT && oldest !== undefined) orphans.delete(oldest)
  }
  const onGone = (body: Buffer): void => {
    const id = shims.get(body.readUInt32LE(0))
    if (id === undefined) return orphan(body.readUInt32LE(0), body.readUInt32LE(4))
    shims.delete(body.readUInt32LE(0))
    const pending = results.get(id)
    results.delete(id)
    pending?.reject(new EngineError('internal', `the helper's child ended without an answer (wait status ${body.readUInt32LE(4)})`))
    const events = launches.get(id)
    launches.delete(id)
    events?.gone()
  }
  const onFrame = (frame: Frame): void => {
    switch (frame.kind) {
      case REPLIES.done:
      case REPLIES.failed:
      case REPLIES.started: {
        if (frame.id === 0) return ready?.()
        const pending = results.get(frame.id)
        results.delete(frame.id)
        return pending?.resolve(frame)
      }
      case REPLIES.forked:
        shims.set(Number(frame.body.readBigUInt64LE(0)), frame.id)
        return
      case REPLIES.exited: {
        const waiting = exits.get(frame.id)
        exits.delete(frame.id)
        waiting?.(decodeExit(frame.body))
        return launches.get(frame.id)?.exited(decodeExit(frame.body))
      }
      case REPLIES.lacking:
        return launches.get(frame.id)?.lacking?.()
      case REPLIES.clean:
        return launches.get(frame.id)?.clean()
      case REPLIES.gone:
        return onGone(frame.body)
      default:
        log.warn('unknown frame from the launcher', { kind: frame.kind })
    }
  }
  channel.on('data', frameDecoder(onFrame))
  channel.on('error', (cause) => log.error('channel of the launcher failed', { cause }))
  const lost = ended.then(() => {
    for (const pending of results.values()) pending.reject(new EngineError('unavailable', 'the launcher has ended'))
    results.clear()
    if (!closing) log.error('the launcher has ended')
    return closing ? new Promise<void>(() => undefined) : undefined
  })
  const send = (kind: number, program: SyscallProgram, id: number): Promise<Frame> =>
    new Promise((resolve, reject) => {
      results.set(id, { program, resolve, reject })
      channel.cork()
      channel.write(encodeFrameHead(kind, id, program.bytes.length))
      channel.write(program.bytes)
      channel.uncork()
    })
  await Promise.race([isReady, spawned, ended.then(() => Promise.reject(new EngineError('internal', `${helper} ended at once`)))])
  const inline = async (program: SyscallProgram): Promise<ProgramResult> => decodeResult(program, await send(REQUESTS.inline, program, nextFrameId()))
  return {
    pid: child.pid ?? 0,
    lost,
    inline,
    adoptOrphans: async () => void (await inline(syscallProgram((p) => p.call('reap what is left behind', 'prctl', [PR.SET_CHILD_SUBREAPER, 1, 0, 0, 0])))),
    fork: async (program) => decodeResult(program, await send(REQUESTS.fork, program, nextFrameId())),
    async launch(program, events, signal) {
      const id = nextFrameId()
      launches.set(id, events)
      const end = (): void => {
        for (const [pid, launched] of shims) if (launched === id) process.kill(pid, 'SIGKILL')
      }
      signal?.addEventListener('abort', end)
      const frame = await send(REQUESTS.launch, program, id).catch((error: unknown) => {
        launches.delete(id)
        throw error
      }).finally(() => signal?.removeEventListener('abort', end))
      if (frame.kind !== REPLIES.started) {
        launches.delete(id)
        decodeResult(program, frame)
        throw new EngineError('internal', 'the program ended without a start')
      }
      return decodeStarted(frame)
    },
    handleText: (kind, token) => (options.handles === true ? Buffer.from(`${JSON.stringify({ cmd: 'NODE_HANDLE', ...(kind === 'tcp' ? { type: 'net.Server' } : { type: 'dgram.Socket', dgramType: kind }), msg: { token } })}\n`) : undefined),
    forgetHandle: (token) => void handles.delete(token),
    handle: (token) => new Promise((resolve) => handles.set(token, resolve)),
    orphanEnded: (pid) =>
      new Promise((resolve) => {
        const known = orphans.get(pid)
        orphans.delete(pid)
        if (known === undefined) awaited.set(pid, resolve)
        else resolve(known)
      }),
    expectExit: (id, exited) => {
      exits.set(id, exited)
    },
    async [Symbol.asyncDispose]() {
      closing = true
      channel.destroy()
      await ended
    },
  }
}
