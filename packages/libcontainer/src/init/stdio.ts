import { O, type ProgramBuilder, type Register, SOCKET, SOCKET_ADDRESS_BYTES, socketAddress, TIO } from '@gantry/linux'
import type { OciProcess } from '../spec/oci.ts'
import type { StdioPlan, StreamPlan } from './plan.ts'
import { SHIM_REGISTERS } from './registers.ts'

/** The ends that the shim keeps and those that the process gets; a register of 0 is none. */
export interface StdioRegisters {
  readonly shim: { readonly in?: Register; readonly out: Register; readonly err?: Register }
  readonly process: { readonly in: Register; readonly out: Register; readonly err: Register }
  readonly streams: readonly Register[]
}

/** Both ends of a pipe. */
export interface PipeEnds {
  readonly read: Register
  readonly write: Register
}

/** A pipe whose ends are closed on exec. */
export function openPipe(p: ProgramBuilder, what: string, readingEnd = 'its reading end', writingEnd = 'its writing end'): PipeEnds {
  const pair = p.room(8)
  const [read, write] = [p.register(), p.register()]
  p.call(what, 'pipe2', [pair, O.CLOEXEC])
  p.op(readingEnd, 'load', [pair, 4], { to: read })
  p.op(writingEnd, 'load', [{ blob: pair.blob + 4, length: 4 }, 4], { to: write })
  return { read, write }
}

/** Gives a terminal the size that was asked for (struct winsize, `asm-generic/termios.h`). */
export function setSize(p: ProgramBuilder, process: OciProcess, terminal: Register): void {
  const size = Buffer.alloc(8)
  size.writeUInt16LE(process.consoleSize?.height ?? 0, 0)
  size.writeUInt16LE(process.consoleSize?.width ?? 0, 2)
  p.call('size of the terminal', 'ioctl', [terminal, TIO.CSWINSZ, p.bytes(size)])
}

/** A terminal in the container's devpts. */
export function openTerminal(p: ProgramBuilder, process: OciProcess): { readonly master: Register; readonly slave: Register } {
  const master = p.register()
  const slave = p.register()
  p.call('open a terminal in the container’s devpts', 'openat', [SHIM_REGISTERS.devpts, p.text('ptmx'), O.RDWR | O.NOCTTY | O.CLOEXEC, 0], { to: master })
  p.call('unlock the terminal', 'ioctl', [master, TIO.CSPTLCK, p.bytes(Buffer.alloc(4))])
  p.call('open its other side', 'ioctl', [master, TIO.CGPTPEER, O.RDWR | O.NOCTTY | O.CLOEXEC], { to: slave })
  setSize(p, process, slave)
  return { master, slave }
}

function dial(p: ProgramBuilder, stream: StreamPlan): Register {
  const fd = p.register()
  p.call('socket for a stream', 'socket', [SOCKET.UNIX, SOCKET.STREAM | SOCKET.CLOEXEC, 0], { to: fd })
  p.call('dial the daemon for a stream', 'connect', [fd, p.bytes(socketAddress(stream.socketPath)), SOCKET_ADDRESS_BYTES])
  p.call('show the token of the stream', 'write', [fd, p.bytes(Buffer.from(stream.token)), 32])
  return fd
}

/** Dials every reader and writer that is waiting. */
export function dialStreams(p: ProgramBuilder, plan: StdioPlan): readonly Register[] {
  return plan.streams.map((stream) => dial(p, stream))
}

/** Opens what the process reads and writes, on the shim's side. */
export function openStdio(p: ProgramBuilder, process: OciProcess, plan: StdioPlan): StdioRegisters {
  const streams = dialStreams(p, plan)
  if (process.terminal) {
    const { master, slave } = openTerminal(p, process)
    return { shim: { in: master, out: master }, process: { in: slave, out: slave, err: slave }, streams }
  }
  const out = openPipe(p, 'pipe for standard output', 'reading end of standard output', 'writing end of standard output')
  const err = openPipe(p, 'pipe for standard error', 'reading end of standard error', 'writing end of standard error')
  if (plan.openStdin) {
    const input = openPipe(p, 'pipe for standard input', 'reading end of standard input', 'writing end of standard input')
    return { shim: { in: input.write, out: out.read, err: err.read }, process: { in: input.read, out: out.write, err: err.write }, streams }
  }
  const nothing = p.register()
  p.call('open /dev/null as standard input', 'openat', [-100, p.text('/dev/null'), O.RDONLY | O.CLOEXEC, 0], { to: nothing })
  return { shim: { out: out.read, err: err.read }, process: { in: nothing, out: out.write, err: err.write }, streams }
}

/** The process's ends are its own now. */
export function closeProcessEnds(p: ProgramBuilder, stdio: StdioRegisters): void {
  for (const end of new Set([stdio.process.in, stdio.process.out, stdio.process.err])) p.call('close the process’s end', 'close', [end])
}

/** Puts the ends in place as descriptors 0, 1 and 2; runs in the child. */
export function placeStdio(p: ProgramBuilder, process: OciProcess, stdio: StdioRegisters): void {
  p.call('standard input', 'dup3', [stdio.process.in, 0, 0])
  p.call('standard output', 'dup3', [stdio.process.out, 1, 0])
  p.call('standard error', 'dup3', [stdio.process.err, 2, 0])
  if (process.terminal) p.call('make it the controlling terminal', 'ioctl', [0, TIO.CSCTTY, 0])
}

const NAMED = 1n << 63n
const NONE = (1n << 64n) - 1n
const word = (value: Register | undefined): bigint => (value === undefined ? NONE : NAMED | BigInt(value.register))

/** The words of `struct process_table` in shim.h. */
export function processTable(id: number, pid: Register, process: OciProcess, plan: StdioPlan, stdio: StdioRegisters): Buffer {
  const flags = plan.streams.map((stream) => (stream.stdin ? 1 : 0) | (stream.stdout ? 2 : 0) | (stream.stderr ? 4 : 0) | (stream.stdin && plan.stdinOnce ? 8 : 0))
  const pad = <T>(list: readonly T[], filler: T): readonly T[] => [...list, ...Array<T>(8 - list.length).fill(filler)]
  const words = [
    BigInt(id),
    word(pid),
    word(stdio.shim.in),
    word(stdio.shim.out),
    word(stdio.shim.err),
    process.terminal ? 1n : 0n,
    plan.stdinOnce ? 1n : 0n,
    BigInt(plan.streams.length),
    ...pad(stdio.streams.map(word), 0n),
    ...pad(flags.map(BigInt), 0n),
  ]
  const table = Buffer.alloc(words.length * 8)
  words.forEach((value, index) => {
    table.writeBigUInt64LE(value, index * 8)
  })
  return table
}
