import { chmodSync, chownSync, readFileSync, rmSync, statSync } from 'node:fs'
import type { Server } from 'node:http'
import { createConnection } from 'node:net'
import { EngineError, logger, readText } from '@gantry/std'
import type { DaemonConfig } from '../config.ts'
import { refuseBrowsers } from './guard.ts'
import { createApiServer } from './server.ts'
import type { Authorization } from './authorization.ts'
import type { Router } from './router.ts'

const log = logger('daemon.server.listen')
const SOCKET_MODE = 0o660
const FIRST_INHERITED = 3

/** Opens every listener of the configuration. */
export async function openListeners(config: DaemonConfig, router: Router, accepted: Promise<void>, authorization: Authorization): Promise<readonly Server[]> {
  const servers: Server[] = []
  for (const host of config.hosts) servers.push(...(await openHost(config, host, router, accepted, authorization)))
  return servers
}

const listening = (server: Server, start: () => void): Promise<void> =>
  new Promise((resolve, reject) => {
    server.once('error', reject)
    server.once('listening', resolve)
    start()
  })

async function openHost(config: DaemonConfig, host: string, router: Router, accepted: Promise<void>, authorization: Authorization): Promise<readonly Server[]> {
  if (host.startsWith('unix://')) return [await openUnix(config, host.slice('unix://'.length), router, accepted, authorization)]
  if (host.startsWith('tcp://')) return [await openTcp(config, host.slice('tcp://'.length), router, accepted, authorization)]
  if (host.startsWith('fd://')) return openInherited(config, router, accepted, authorization)
  throw new EngineError('invalid', `Invalid bind address format: ${host}: expected unix://, tcp:// or fd://`)
}

function groupId(name: string): number | undefined {
  if (/^\d+$/.test(name)) return Number(name)
  const line = (readText('/etc/group') ?? '').split('\n').find((one) => one.startsWith(`${name}:`))
  return line === undefined ? undefined : Number(line.split(':')[2])
}

async function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection(path)
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}

async function openUnix(config: DaemonConfig, path: string, router: Router, accepted: Promise<void>, authorization: Authorization): Promise<Server> {
  const old = statSync(path, { throwIfNoEntry: false })
  if (old !== undefined) {
    if (!old.isSocket()) throw new EngineError('conflict', `${path} is there and is not a socket`)
    if (await answers(path)) throw new EngineError('conflict', `another daemon listens on ${path}`)
    rmSync(path)
  }
  const server = createApiServer({ router, accepted, authorization, experimental: config.experimental })
  const before = process.umask(0o177)
  try {
    await listening(server, () => server.listen(path, 1024))
  } finally {
    process.umask(before)
  }
  const gid = groupId(config.group)
  if (gid === undefined) log.info('the socket belongs to root alone: the group does not exist', { group: config.group })
  else chownSync(path, 0, gid)
  chmodSync(path, SOCKET_MODE)
  return server
}

async function openTcp(config: DaemonConfig, address: string, router: Router, accepted: Promise<void>, authorization: Authorization): Promise<Server> {
  const match = /^(\[[0-9a-fA-F:]+\]|[^:]*):(\d+)\/?$/.exec(address)
  if (match === null) throw new EngineError('invalid', `Invalid bind address format: tcp://${address}`)
  const host = (match[1] ?? '').replace(/^\[|\]$/g, '')
  const tls = config.tls === undefined ? undefined : { key: readFileSync(config.tls.key), cert: readFileSync(config.tls.cert), requestCert: config.tls.verify, ...(config.tls.verify && { ca: readFileSync(config.tls.ca) }) }
  if (tls === undefined || !tls.requestCert) log.warn('this TCP socket asks for no proof: whoever reaches it is root on this host', { address })
  const server = createApiServer({ router, accepted, authorization, experimental: config.experimental, ...(tls === undefined ? { guard: (headers) => refuseBrowsers(headers, config.hosts) } : { tls }) })
  await listening(server, () => server.listen(Number(match[2]), host === '' ? '127.0.0.1' : host))
  return server
}

/** Sockets that systemd opened (sd_listen_fds(3)). */
async function openInherited(config: DaemonConfig, router: Router, accepted: Promise<void>, authorization: Authorization): Promise<readonly Server[]> {
  const count = Number(process.env['LISTEN_FDS'] ?? 0)
  if (count < 1 || Number(process.env['LISTEN_PID'] ?? process.pid) !== process.pid) throw new EngineError('invalid', 'fd://: no sockets found via socket activation: make sure the service was started by systemd')
  const servers: Server[] = []
  for (let fd = FIRST_INHERITED; fd < FIRST_INHERITED + count; fd++) {
    const server = createApiServer({ router, accepted, authorization, experimental: config.experimental })
    await listening(server, () => server.listen({ fd }))
    servers.push(server)
  }
  return servers
}
