import { isIP } from 'node:net'
import { hostname } from 'node:os'
import type { IncomingHttpHeaders } from 'node:http'
import { EngineError } from '@gantry/std'

/** The name of a Host header, without its port and in small letters. */
const nameOf = (host: string): string => host.replace(/:\d+$/, '').replace(/^\[|\]$/g, '').toLowerCase()

/**
 * Refuses what a page in a browser could send to a socket that asks for no proof: requests with an Origin, and requests to a name
 * of a domain that is not this machine's, by which a foreign page would reach it (DNS rebinding). Addresses, names without a dot,
 * `*.localhost`, the host's name and the names of the daemon's own listeners are good.
 */
export function refuseBrowsers(headers: IncomingHttpHeaders, listeners: readonly string[]): void {
  if (headers.origin !== undefined) throw new EngineError('forbidden', 'requests with an Origin are refused on this socket')
  const name = nameOf(headers.host ?? '')
  if (isIP(name) !== 0 || !name.includes('.') || name.endsWith('.localhost') || name === hostname().toLowerCase()) return
  if (listeners.some((one) => nameOf(one.replace(/^tcp:\/\//, '')) === name)) return
  throw new EngineError('forbidden', `requests to the host ${name} are refused on this socket: name an address, start the daemon with --host tcp://${name}:PORT, or use TLS`)
}
