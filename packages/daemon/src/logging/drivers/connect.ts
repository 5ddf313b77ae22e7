import { createSocket } from 'node:dgram'
import { readFileSync } from 'node:fs'
import { createConnection, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { EngineError, messageOf } from '@gantry/std'

const PATIENCE_MS = 10_000

/** `scheme://host:port`, or `scheme:///path`. */
export interface LogAddress {
  readonly scheme: string
  readonly host: string
  readonly port: number
  readonly path: string
}

/** Reads an address; `schemes` are those that the driver has, the port is what stands for none. */
export function parseAddress(text: string, option: string, schemes: readonly string[], port: number): LogAddress {
  const match = /^(?:([a-z+]+):\/\/)?(.*)$/.exec(text)
  const [, scheme = schemes[0] ?? '', rest = ''] = match ?? []
  if (!schemes.includes(scheme)) throw new EngineError('invalid', `${option}: unsupported scheme in ${JSON.stringify(text)}: expected ${schemes.map((one) => `${one}://`).join(', ')}`)
  if (scheme.startsWith('unix')) {
    if (!rest.startsWith('/')) throw new EngineError('invalid', `${option}: expected a path in ${JSON.stringify(text)}`)
    return { scheme, host: '', port: 0, path: rest }
  }
  const place = /^(\[[^\]]+\]|[^:/]*)(?::(\d{1,5}))?\/?$/.exec(rest)
  if (place === null || place[1] === '' || Number(place[2] ?? port) > 65_535 || Number(place[2] ?? port) === 0) throw new EngineError('invalid', `${option}: expected host:port in ${JSON.stringify(text)}`)
  return { scheme, host: (place[1] ?? '').replace(/^\[|\]$/g, ''), port: Number(place[2] ?? port), path: '' }
}

/** How a stream proves who is at its end. */
export interface LogTls {
  readonly ca: string
  readonly cert: string
  readonly key: string
  readonly skipVerify: boolean
}

/** Opens a stream to a log's receiver. */
export function openStream(address: LogAddress, tls?: LogTls): Promise<Socket> {
  const file = (path: string): Buffer | undefined => (path === '' ? undefined : readFileSync(path))
  return new Promise((resolve, reject) => {
    const place = address.path === '' ? { host: address.host, port: address.port } : { path: address.path }
    const socket = tls === undefined ? createConnection(place) : connectTls({ ...place, servername: address.host, rejectUnauthorized: !tls.skipVerify, ...(tls.ca !== '' && { ca: file(tls.ca) }), ...(tls.cert !== '' && { cert: file(tls.cert), key: file(tls.key) }) })
    const fail = (cause: Error): void => {
      socket.destroy()
      reject(new EngineError('unavailable', `failed to initialize logging driver: dial ${address.scheme} ${address.path || `${address.host}:${address.port}`}: ${messageOf(cause)}`, { cause }))
    }
    socket.setTimeout(PATIENCE_MS, () => fail(new Error('i/o timeout')))
    socket.once('error', fail)
    socket.once(tls === undefined ? 'connect' : 'secureConnect', () => {
      socket.setTimeout(0)
      socket.off('error', fail)
      // Told by the next write.
      socket.on('error', () => undefined)
      socket.unref()
      resolve(socket)
    })
  })
}

/** Writes; resolves when the bytes are with the kernel, rejects when the other side is gone. */
export function writeAll(socket: Socket, bytes: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    if (socket.destroyed || socket.readableEnded) return reject(new EngineError('unavailable', 'the receiver of the log has closed the connection'))
    socket.write(bytes, (error) => (error === undefined || error === null ? resolve() : reject(error)))
  })
}

/** A socket that sends datagrams to one receiver. */
export interface Datagrams {
  send(message: string | Uint8Array): Promise<void>
  close(): void
}

/** Opens it; nobody needs to listen. */
export function openDatagrams(address: LogAddress): Datagrams {
  const socket = createSocket(address.host.includes(':') ? 'udp6' : 'udp4').unref()
  return {
    send: (message) => new Promise((resolve, reject) => socket.send(message, address.port, address.host, (error) => (error === null ? resolve() : reject(error)))),
    close: () => void socket.close(),
  }
}
