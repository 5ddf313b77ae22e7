import { statSync } from 'node:fs'
import { connect } from 'node:net'
import { pipeline } from 'node:stream/promises'
import { hasCode, randomHex } from '@gantry/std'
import type { Context } from '../command.ts'
import { UsageError } from '../flags.ts'

/** Agents that a build may ask. They are let go behind it. */
export interface OfferedAgents extends Disposable {
  /** What the build names them by; undefined: there are none. */
  readonly token: string | undefined
}

/** `default`, `NAME` or `NAME=PATH` of `--ssh`: a name and the socket of an agent. */
function agentOf(spec: string): { readonly id: string; readonly path: string } {
  const equals = spec.indexOf('=')
  const [id, given] = equals < 0 ? [spec, ''] : [spec.slice(0, equals), spec.slice(equals + 1)]
  const path = given !== '' ? given : (process.env['SSH_AUTH_SOCK'] ?? '')
  if (path === '') throw new UsageError(`--ssh ${spec}: expected the socket of an agent (NAME=PATH, or SSH_AUTH_SOCK)`)
  if (statSync(path, { throwIfNoEntry: false })?.isSocket() !== true) throw new UsageError(`--ssh ${spec}: ${path} is not the socket of an agent: add keys to one (ssh-add)`)
  return { id, path }
}

/** Connects the daemon with agents of ours (`--ssh`): it asks, they answer; keys stay where they are. */
export async function offerAgents(context: Context, specs: readonly string[]): Promise<OfferedAgents> {
  const ends: (() => void)[] = []
  const token = specs.length === 0 ? undefined : randomHex(16)
  for (const { id, path } of specs.map(agentOf)) {
    const line = await context.api.hijack(`/build/agents/${token}`, { query: { id } })
    const agent = connect(path)
    const gone = (error: unknown): void => {
      // Whoever ends first ends the other.
      if (!hasCode(error, 'ERR_STREAM_PREMATURE_CLOSE', 'ECONNRESET', 'EPIPE')) process.stderr.write(`agent ${id}: ${String(error)}\n`)
    }
    pipeline(line, agent).catch(gone)
    pipeline(agent, line).catch(gone)
    ends.push(() => {
      agent.destroy()
      line.destroy()
    })
  }
  return { token, [Symbol.dispose]: () => ends.forEach((end) => end()) }
}
