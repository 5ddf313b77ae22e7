import type { Controller, NetworkInfo } from '@gantry/libnetwork'
import { EngineError, parseTimestamp } from '@gantry/std'
import type { Container } from '../containers/container.ts'
import { connectContainer, type ConnectingPorts, disconnectContainer, endpointsOf } from '../containers/network/networking.ts'
import type { Handlers } from '../engine/job.ts'
import type { NetworkJobs } from '../jobs/networks.ts'
import { isUsed, membersOf, networkMatches, networkView } from './views.ts'

/** What the jobs of networks stand on. */
export interface NetworkHandlerPorts {
  readonly networks: Controller
  readonly connecting: ConnectingPorts
  containers(): readonly Container[]
  emit(action: string, network: NetworkInfo, attributes?: Readonly<Record<string, string>>): void
}

/** All jobs of networks. */
export function networkHandlers(ports: NetworkHandlerPorts): Handlers<NetworkJobs> {
  const { networks, connecting } = ports
  const find = (key: string): NetworkInfo => {
    const network = networks.network(key)
    if (network === undefined) throw new EngineError('not-found', `network ${key} not found`)
    return network
  }
  const remove = async (network: NetworkInfo): Promise<void> => {
    await networks.removeNetwork(network.id)
    ports.emit('destroy', network)
  }
  return {
    'network.list': async ({ input }) => [...networks.networks()].sort((a, b) => (a.name < b.name ? -1 : 1)).filter((network) => networkMatches(input.filters, network, ports.containers())).map((network) => networkView(network, ports.containers(), input.apiVersion)),
    'network.inspect': async ({ input }) => {
      const network = find(input.key)
      return networkView(network, ports.containers(), input.apiVersion, { subnets: networks.subnetCounts(network.id) })
    },
    'network.create': async ({ input }) => {
      const network = await networks.createNetwork(input.request)
      ports.emit('create', network)
      return { id: network.id }
    },
    'network.remove': async ({ input }) => {
      await remove(find(input.key))
      return undefined
    },
    'network.rename': async ({ input }) => {
      const network = find(input.key)
      networks.renameNetwork(network.id, input.name)
      for (const container of ports.containers()) {
        const endpoints = endpointsOf(container.document)
        if (!endpoints.some((one) => one.network === network.name)) continue
        const renamed = endpoints.map((one) => (one.network === network.name ? { ...one, network: input.name } : one))
        connecting.replace(container, { ...container.document, endpoints: renamed, networkMode: container.document.networkMode === network.name ? input.name : container.document.networkMode })
      }
      ports.emit('update', find(input.name))
      return undefined
    },
    'network.prune': async ({ input }) => {
      const until = input.filters.values('until').map((text) => Number(parseTimestamp(text) / 1_000_000n)).reduce((least, one) => Math.min(least, one), Number.POSITIVE_INFINITY)
      const lacks = (network: NetworkInfo): boolean => input.filters.none('label!') || !input.filters.labels('label!', network.labels)
      const gone = networks.networks().filter((network) => !network.builtin && !isUsed(network, ports.containers()) && input.filters.labels('label', network.labels) && lacks(network) && network.createdAt < until)
      for (const network of gone) await remove(network)
      return { removed: gone.map((network) => network.name) }
    },
    'network.connect': async ({ input }) => {
      const network = find(input.key)
      const container = connecting.store.find(input.container)
      if (network.driver === 'host' || network.driver === 'null') throw new EngineError('forbidden', network.driver === 'host' ? 'cannot connect container to host network - container must be created in host network mode' : `container cannot be connected to ${network.name} network`)
      const mode = container.document.networkMode
      if (mode === 'host' || mode.startsWith('container:')) throw new EngineError('forbidden', mode === 'host' ? 'cannot connect container to multiple networks when it uses the host network' : 'container sharing network namespace with another container or host cannot be connected to any other network')
      if (endpointsOf(container.document).some((one) => one.network === network.name)) throw new EngineError('forbidden', `endpoint with name ${container.name} already exists in network ${network.name}`)
      await connectContainer(connecting, container, { ...input.request, network: network.name })
      if (container.task !== undefined) ports.emit('connect', network, { container: container.id })
      return undefined
    },
    'network.why': async ({ input }) => {
      const { protocol, port } = input
      if (protocol !== 'tcp' && protocol !== 'udp' && protocol !== 'sctp') throw new EngineError('invalid', `protocol: expected tcp, udp or sctp, got "${protocol}"`)
      if (!Number.isInteger(port) || port < 1 || port > 65_535) throw new EngineError('invalid', `port: expected 1 to 65535, got ${port}`)
      const running = (key: string): string => {
        const container = connecting.store.find(key)
        if (container.task === undefined) throw new EngineError('conflict', `container ${container.name} is not running`)
        return container.id
      }
      return networks.sandboxes.why(input.from === 'host' || input.from === 'outside' ? input.from : running(input.from), running(input.to), port, protocol)
    },
    'network.disconnect': async ({ input }) => {
      const network = find(input.key)
      const container = ports.containers().find((one) => one.id === input.container || one.name === input.container) ?? connecting.store.find(input.container)
      if (network.driver === 'host') throw new EngineError('forbidden', 'container cannot be disconnected from host network or connected to host network')
      if (!endpointsOf(container.document).some((one) => one.network === network.name) && membersOf([container], network).length === 0) throw new EngineError('internal', `container ${container.id} is not connected to network ${network.name}`)
      await disconnectContainer(connecting, container, network)
      if (container.task !== undefined) ports.emit('disconnect', network, { container: container.id })
      return undefined
    },
  }
}
