import { ERRNO, type Label, type ProgramBuilder, type ProgramError, type Register } from '@gantry/linux'
import { EngineError } from '@gantry/std'
import type { OciHook } from '../spec/oci.ts'
import type { HookState } from './plan.ts'

const SIGKILL = 9
const POLLIN = 1
const MFD_CLOEXEC = 1
const STDERR_BYTES = 1024
const PID_DIGITS = 20

/** The state on a hook's standard input (runtime.md, State): text with room for the pid. */
function stateOn(p: ProgramBuilder, state: HookState, status: string, pid: Register): Register {
  const [before = '', after = ''] = JSON.stringify({ ociVersion: state.ociVersion, id: state.id, status, pid: 0, bundle: state.bundle, ...(state.annotations && { annotations: state.annotations }) }).split('"pid":0')
  const capacity = Buffer.byteLength(before) + Buffer.byteLength(after) + PID_DIGITS + 16
  const json = p.room(capacity)
  const [length, fd] = [p.register(), p.register()]
  p.op('its state', 'format', [json, capacity, p.text(`${before}"pid":`), pid, p.text(after)], { to: length })
  p.call('a file for the state', 'memfd_create', [p.text('state'), MFD_CLOEXEC], { to: fd })
  p.call('write the state', 'write', [fd, json, length])
  p.call('back to its beginning', 'lseek', [fd, 0, 0])
  return fd
}

/** Waits for a hook at most so long; one that takes longer is ended. */
function limitTime(p: ProgramBuilder, name: string, child: Register, seconds: number): void {
  const [pidfd, ended] = [p.register(), p.register()]
  const [late, inTime] = [p.label(), p.label()]
  const poll = Buffer.alloc(8)
  poll.writeInt16LE(POLLIN, 4)
  const [polled, time] = [p.bytes(poll), Buffer.alloc(16)]
  time.writeBigInt64LE(BigInt(seconds), 0)
  p.call('hold the hook', 'pidfd_open', [child, 0], { to: pidfd })
  p.op('name it', 'store', [polled, pidfd, 4])
  p.call(`give it ${seconds} s`, 'ppoll', [polled, 1, p.bytes(time), 0, 0], { to: ended })
  p.call('let go of the hook', 'close', [pidfd])
  p.op('is it late', 'jumpIfZero', [ended, late])
  p.op('it is not', 'jump', [inTime])
  p.place(late)
  p.call('end the hook', 'kill', [child, SIGKILL], { ignore: true })
  p.call('reap the hook', 'wait4', [child, 0, 0, 0], { ignore: true })
  p.op(`${name} takes longer than ${seconds} s`, 'fail', [ERRNO.ETIMEDOUT])
  p.place(inTime)
}

function runHook(p: ProgramBuilder, name: string, hook: OciHook, state: HookState, status: string, pid: Register): void {
  const [child, result] = [p.register(), p.register()]
  const [inChild, on, good]: readonly [Label, Label, Label] = [p.label(), p.label(), p.label()]
  const input = stateOn(p, state, status, pid)
  const errors = p.register()
  p.call('a file for its errors', 'memfd_create', [p.text('errors'), MFD_CLOEXEC], { to: errors })
  // Not clone3: a filter that is in place may refuse it.
  p.op(`start ${name}`, 'fork', [inChild], { to: child })
  p.op('go on', 'jump', [on])
  p.place(inChild)
  p.call('the state as standard input', 'dup3', [input, 0, 0])
  p.call('the file as standard error', 'dup3', [errors, 2, 0])
  const args = hook.args.length === 0 ? [hook.path] : hook.args
  p.op(`${name}: ${hook.path}`, 'exec', [p.strings([hook.path]), 1, p.pointers(args), args.length, p.pointers(hook.env), hook.env.length])
  p.place(on)
  p.call('close the state', 'close', [input])
  if (hook.timeoutSeconds !== undefined && hook.timeoutSeconds > 0) limitTime(p, name, child, hook.timeoutSeconds)
  const ended = p.room(8)
  p.call(`wait for ${name}`, 'wait4', [child, ended, 0, 0])
  p.op('how it ended', 'load', [ended, 4], { to: result })
  p.op('is it well', 'jumpIfZero', [result, good])
  const said = p.room(STDERR_BYTES)
  p.call('what it said', 'pread64', [errors, said, STDERR_BYTES, 0], { ignore: true })
  p.op('answer with how it ended', 'out', [ended, 8])
  p.op('and with that', 'out', [said, STDERR_BYTES])
  p.op(`${name} (${hook.path})`, 'fail', [ERRNO.ECHILD])
  p.place(good)
  p.call('close what it said', 'close', [errors])
}

/** How a hook ended and what it said, from the answer of a program that it has stopped. */
export function describeHookFailure(error: ProgramError): string | undefined {
  const name = / hook #\d+ \(/.test(error.step?.what ?? '') ? error.step?.what : undefined
  if (name === undefined || error.detail.length < 8 + STDERR_BYTES) return undefined
  const status = error.detail.readUInt32LE(0)
  const said = error.detail.toString('utf8', 8).replace(/\0.*$/s, '').trim()
  return `error running ${name.replace(/ \(.*$/s, '')}: ${(status & 0x7f) === 0 ? `exit status ${(status >> 8) & 0xff}` : `signal ${status & 0x7f}`}, stderr: ${said}`
}

/** Runs hooks one after another; the first that fails ends the program (config.md, POSIX-platform Hooks). */
export function runHooks(p: ProgramBuilder, kind: string, hooks: readonly OciHook[] | undefined, state: HookState | undefined, status: string, pid: Register): void {
  if (hooks === undefined || hooks.length === 0) return
  if (state === undefined) throw new EngineError('internal', `hooks.${kind}: nothing is known of the state that they are told`)
  hooks.forEach((hook, index) => p.scoped(() => runHook(p, `${kind} hook #${index}`, hook, state, status, pid)))
}
