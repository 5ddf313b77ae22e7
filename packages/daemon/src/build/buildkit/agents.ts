import type { Socket } from 'node:net'
import { bytesMessage, type ClientSession, readBytesMessage } from '@gantry/buildkit'
import { isEngineError, logger, writePaced } from '@gantry/std'
import { type Agents, type AgentSource, openAgents } from '../agents.ts'

const log = logger('daemon.build.agents')
const CHECK = '/moby.sshforward.v1.SSH/CheckAgent'
const FORWARD = '/moby.sshforward.v1.SSH/ForwardAgent'

async function forward(session: ClientSession, id: string, socket: Socket, signal: AbortSignal): Promise<void> {
  const call = session.open(FORWARD, { 'buildkit.ssh.id': id }, signal)
  const back = (async () => {
    for await (const messages of call.received()) for (const message of messages) await writePaced(socket, readBytesMessage(message))
    socket.end()
  })()
  back.catch((cause: unknown) => {
    log.debug('an agent ended', { id, cause })
    socket.destroy()
  })
  try {
    for await (const chunk of socket) await call.send(bytesMessage(chunk as Buffer))
    call.end()
    await back
  } finally {
    call.cancel()
    socket.destroy()
  }
}

function agentsOfClient(session: ClientSession): AgentSource {
  return {
    async has(id) {
      if (!session.offers(CHECK)) return false
      try {
        await session.ask(CHECK, ['moby.sshforward.v1.CheckAgentRequest', { ID: id }], 'moby.sshforward.v1.CheckAgentResponse')
        return true
      } catch (error) {
        if (isEngineError(error)) return false
        throw error
      }
    },
    forward: (id, socket, signal) => forward(session, id, socket, signal),
  }
}

/** Sockets for agents that a client offers on its session. */
export const openClientAgents = (session: ClientSession, home: string, signal: AbortSignal): Agents => openAgents(agentsOfClient(session), home, signal)
