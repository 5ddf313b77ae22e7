import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { byteReader, type ByteReader, EngineError, writePaced } from '@gantry/std'
import type { AgentSource } from './agents.ts'

/** Connections to agents of a client of ours, which it has opened ahead of a build (`POST /build/agents/{token}`). */
export interface AgentLines {
  /** Ends with the connection. */
  join(token: string, id: string, line: Duplex): Promise<void>
  /** Those that came under this token. */
  of(token: string): AgentSource
}

interface Line {
  readonly duplex: Duplex
  /** Who waits for answers, in the order of the questions; undefined: the agent has gone. */
  readonly waiting: ((answer: Buffer | undefined) => void)[]
}

const HEAD_BYTES = 4
const MAX_LINES = 1000
const MIN_TOKEN = 16
/** What agents themselves take (AGENT_MAX_LEN of OpenSSH). */
const MAX_MESSAGE = 256 << 10

/** One message of the protocol (draft-ietf-sshm-ssh-agent, 3): its length and what it says; undefined: the other side has ended. */
async function message(reader: ByteReader): Promise<Buffer | undefined> {
  const head = await reader.read(HEAD_BYTES)
  if (head === undefined) return undefined
  const bytes = head.readUInt32BE(0)
  if (bytes === 0 || bytes > MAX_MESSAGE) throw new EngineError('invalid', `a message of ${bytes} bytes of an agent: expected 1 to ${MAX_MESSAGE}`)
  const body = await reader.read(bytes)
  if (body === undefined) throw new EngineError('invalid', 'a message of an agent ends in the middle')
  return Buffer.concat([head, body])
}

/** Asks; answers come in the order of the questions. */
async function ask({ duplex, waiting }: Line, question: Buffer): Promise<Buffer> {
  const { promise, resolve } = Promise.withResolvers<Buffer | undefined>()
  waiting.push(resolve)
  await writePaced(duplex, question)
  const answer = await promise
  if (answer === undefined) throw new EngineError('unavailable', 'the agent has gone')
  return answer
}

/** Makes the list. */
export function openAgentLines(): AgentLines {
  const all = new Map<string, Line>()
  const nameOf = (token: string, id: string): string => `${token} ${id}`
  return {
    async join(token, id, duplex) {
      const name = nameOf(token, id)
      if (token.length < MIN_TOKEN || all.has(name) || all.size >= MAX_LINES) throw new EngineError('invalid', `agent ${id}: expected a token of at least ${MIN_TOKEN} letters that no other connection has`)
      const line: Line = { duplex, waiting: [] }
      all.set(name, line)
      try {
        const reader = byteReader(duplex)
        for (let answer = await message(reader); answer !== undefined; answer = await message(reader)) line.waiting.shift()?.(answer)
      } finally {
        all.delete(name)
        duplex.destroy()
        for (const resolve of line.waiting.splice(0)) resolve(undefined)
      }
    },
    of: (token) => ({
      has: async (id) => all.has(nameOf(token, id)),
      async forward(id, socket: Socket) {
        try {
          const reader = byteReader(socket)
          for (let question = await message(reader); question !== undefined; question = await message(reader)) {
            const line = all.get(nameOf(token, id))
            if (line === undefined) return
            await writePaced(socket, await ask(line, question))
          }
        } finally {
          socket.destroy()
        }
      },
    }),
  }
}
