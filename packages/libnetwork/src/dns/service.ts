import type { Launcher } from '@gantry/linux'
import { logger } from '@gantry/std'
import { hasNames, hasWayOut, type Live } from '../live.ts'
import { namesFor } from '../names.ts'
import { openResolver } from './resolver.ts'
import { openResolverOf, planResolver, resolverPort, type ResolverSockets } from './sockets.ts'

const log = logger('libnetwork.dns')

/** The resolvers of all containers. */
export interface NameService {
  /** Plans the sockets of a container that is about to start; they come while it does. */
  plan(one: Live): void
  /** Opens them in one that runs, where they are not there. */
  open(one: Live, pid: number): Promise<void>
  close(one: Live): void
}

/** Makes the service. `atStart`: the runtime opens the sockets itself. */
export function createNameService(launcher: Launcher, atStart: boolean, lives: ReadonlyMap<string, Live>): NameService {
  const serve = (one: Live, sockets: ResolverSockets): void => {
    one.planned = undefined
    one.resolver?.close()
    const { containerId } = one.request
    one.resolver = openResolver(sockets, {
      names: namesFor(() => lives.get(containerId), () => lives.values()),
      // Nothing leaves through the daemon for a container that may not leave itself (CVE-2024-29018).
      upstreams: () => (hasWayOut(one.endpoints) ? one.request.dns.servers : []),
    })
  }
  return {
    plan(one) {
      if (!hasNames(one.endpoints)) return
      one.resolverPort = resolverPort()
      one.planned = atStart ? planResolver(launcher, one.resolverPort) : undefined
      one.planned?.sockets.then((sockets) => serve(one, sockets), (cause: unknown) => log.error('the sockets of a resolver did not come', { cause }))
    },
    async open(one, pid) {
      if (!hasNames(one.endpoints) || one.resolver !== undefined || one.planned !== undefined) return
      if (one.resolverPort === 0) one.resolverPort = resolverPort()
      const sockets = await openResolverOf(launcher, pid, one.resolverPort)
      if (sockets !== undefined) serve(one, sockets)
    },
    close(one) {
      one.planned?.cancel()
      one.planned = undefined
      one.resolver?.close()
    },
  }
}
