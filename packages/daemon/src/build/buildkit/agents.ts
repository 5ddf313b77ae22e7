import { createServer, type Server, type Socket } from 'node:net'
import { chmodSync, chownSync, mkdtempSync, rmSync } from 'node:fs'
import type { SocketAccess } from '@gantry/builder'
import { bytesMessage, type ClientSession, readBytesMessage } from '@gantry/buildkit'
import { EngineError, isEngineError, logger, writePaced } from '@gantry/std'

const log = logger('daemon.build.agents')
const CHECK = '/moby.sshforward.v1.SSH/CheckAgent'
const FORWARD = '/moby.sshforward.v1.SSH/ForwardAgent'

/** Sockets of steps that lead to the agents of a client (`RUN --mount=type=ssh`). */
export interface Agents extends Disposable {
  /** The socket for an agent, for whoever may use it; undefined: the client offers none of that name. */
  socket(id: string, access: SocketAccess): Promise<string | undefined>
}

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

/** Makes sockets below `home` for the agents of a client, as they are asked for. */
export function openAgents(session: ClientSession, home: string, signal: AbortSignal): Agents {
  const servers = new Map<string, Promise<{ readonly path: string; readonly server: Server } | undefined>>()
  let directory: string | undefined
  const open = async (id: string, { mode, uid, gid }: SocketAccess): Promise<{ readonly path: string; readonly server: Server } | undefined> => {
    if (!session.offers(CHECK)) return undefined
    try {
      await session.ask(CHECK, ['moby.sshforward.v1.CheckAgentRequest', { ID: id }], 'moby.sshforward.v1.CheckAgentResponse')
    } catch (error) {
      if (isEngineError(error)) return undefined
      throw error
    }
    directory ??= mkdtempSync(`${home}/ssh-`)
    const path = `${directory}/${servers.size}`
    const server = createServer((socket) => {
      forward(session, id, socket, signal).catch((cause: unknown) => log.debug('a connection to an agent ended', { id, cause }))
    })
    await new Promise<void>((resolve, reject) => {
      server.once('error', (cause) => reject(new EngineError('internal', `no socket for the agent ${id}`, { cause })))
      server.listen(path, resolve)
    })
    chmodSync(path, mode)
    chownSync(path, uid, gid)
    return { path, server }
  }
  return {
    async socket(id, access) {
      const key = JSON.stringify([id, access.mode, access.uid, access.gid])
      const known = servers.get(key) ?? open(id, access)
      servers.set(key, known)
      return (await known)?.path
    },
    [Symbol.dispose]() {
      for (const one of servers.values()) one.then((opened) => opened?.server.close(), (cause: unknown) => log.debug('an agent had no socket', { cause }))
      if (directory !== undefined) rmSync(directory, { recursive: true, force: true })
    },
  }
}
