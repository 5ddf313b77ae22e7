import { conntrack, type Launcher, parseAnswers, ProgramError } from '@gantry/linux'
import { logger } from '@gantry/std'
import { addressBytes } from '../address.ts'
import { netfilter } from '../host.ts'
import type { PublishedPort } from './table.ts'

const log = logger('libnetwork.flows')
const UDP = 17
const ENOENT = 2
const FAMILIES = { 4: 2, 6: 10 } as const

/**
 * Forgets UDP flows of these ports: the kernel translates a flow as it did with its first packet, for as long as packets come, so that
 * clients would go on talking to a container that is gone, or to nobody where one has come.
 */
export async function forgetFlows(launcher: Launcher, ports: readonly PublishedPort[]): Promise<void> {
  const wanted = ports.filter((port) => port.protocol === 'udp')
  for (const family of [4, 6] as const) {
    const own = wanted.filter((port) => port.address.family === family).map((port) => ({ hostPort: port.hostPort, address: addressBytes(port.address), port: port.port }))
    if (own.length === 0) continue
    try {
      const found = parseAnswers(await netfilter(launcher, 'list flows', conntrack.getConnections(FAMILIES[family]), 'dump')).flatMap((answer) => conntrack.parseConnection(answer) ?? [])
      const stale = found.filter(({ original, reply }) => original.protocol === UDP && own.some((one) => original.destinationPort === one.hostPort || (reply.source.equals(one.address) && reply.sourcePort === one.port)))
      for (const flow of stale) {
        await netfilter(launcher, 'forget a flow', conntrack.deleteConnection(flow), 1).catch((error: unknown) => {
          if (!(error instanceof ProgramError) || error.errno !== ENOENT) throw error // it has ended by itself
        })
      }
    } catch (cause) {
      // The kernel may be without the interface, or have more flows than one answer holds: they end by themselves after half a minute of silence.
      log.warn('flows of UDP ports could not be forgotten', { cause })
    }
  }
}
