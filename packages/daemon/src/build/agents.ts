import { createServer, type Server, type Socket } from 'node:net'
import { chmodSync, chownSync, mkdtempSync, rmSync } from 'node:fs'
import type { SocketAccess } from '@gantry/builder'
import { EngineError, logger } from '@gantry/std'

const log = logger('daemon.build.agents')

/** A client's agents. */
export interface AgentSource {
  /** True where there is one of the name. */
  has(id: string): Promise<boolean>
  /** Serves one connection of a step; ends with it. */
  forward(id: string, socket: Socket, signal: AbortSignal): Promise<void>
}

/** Sockets of steps that lead to the agents of a client (`RUN --mount=type=ssh`). */
export interface Agents extends Disposable {
  /** The socket for an agent, for whoever may use it; undefined: the client offers none of that name. */
  socket(id: string, access: SocketAccess): Promise<string | undefined>
}

/** Makes sockets below `home` for the agents of a client, as they are asked for. */
export function openAgents(source: AgentSource, home: string, signal: AbortSignal): Agents {
  const servers = new Map<string, Promise<{ readonly path: string; readonly server: Server } | undefined>>()
  let directory: string | undefined
  const open = async (id: string, { mode, uid, gid }: SocketAccess): Promise<{ readonly path: string; readonly server: Server } | undefined> => {
    if (!(await source.has(id))) return undefined
    directory ??= mkdtempSync(`${home}/ssh-`)
    const path = `${directory}/${servers.size}`
    const server = createServer((socket) => {
      source.forward(id, socket, signal).catch((cause: unknown) => log.debug('a connection to an agent ended', { id, cause }))
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
