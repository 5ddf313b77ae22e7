import { isSince } from '@gantry/api'
import type { Graph } from '@gantry/graph'
import { EngineError, humanDuration } from '@gantry/std'
import type { Filters } from '../server/filters.ts'
import type { Container } from './container.ts'
import { namesOf, sizesOf, type ViewPorts } from './inspect.ts'
import { healthStatus } from './health.ts'
import { endpointsOf } from './network/networking.ts'
import { networksView } from './network/view.ts'
import { mountPoint } from './record.ts'

/** Keys of the container list's filter (Engine API, ContainerList). */
export const LIST_FILTERS: ReadonlySet<string> = new Set(['ancestor', 'before', 'expose', 'exited', 'health', 'id', 'is-task', 'isolation', 'label', 'name', 'network', 'publish', 'since', 'status', 'volume'])

/** What list needs beside the views. */
export interface ListPorts extends ViewPorts {
  list(): readonly Container[]
  find(key: string): Container
  /** What an image is called now; its id when the name has moved on. */
  imageName(container: Container): string
}

const STATUSES = new Set(['created', 'running', 'paused', 'restarting', 'removing', 'exited', 'dead'])

/** The one word for what a container does. */
export function statusOf(container: Container): string {
  if (container.removing) return 'removing'
  if (container.task !== undefined) return container.state.paused ? 'paused' : 'running'
  return container.state.restarting ? 'restarting' : container.state.status
}

/** `Up 2 seconds`, `Exited (3) 1 second ago`, `Created`. */
export function statusText(container: Container, now: number = Date.now()): string {
  const since = (nanos: string): string => humanDuration(now - Number(BigInt(nanos === '' ? '0' : nanos) / 1_000_000n))
  const { state } = container
  const health = healthStatus(container)
  switch (statusOf(container)) {
    case 'running':
      return `Up ${since(state.startedAt)}${health === 'none' ? '' : ` (${health === 'starting' ? 'health: starting' : health})`}`
    case 'paused':
      return `Up ${since(state.startedAt)} (Paused)`
    case 'restarting':
      return `Restarting (${state.exitCode}) ${since(state.finishedAt)} ago`
    case 'removing':
      return 'Removal In Progress'
    case 'exited':
      return `Exited (${state.exitCode}) ${since(state.finishedAt)} ago`
    default:
      return 'Created'
  }
}

function portsView(container: Container): readonly unknown[] {
  const bound = (container.sandbox?.bindings ?? []).map((one) => ({ IP: one.hostIp, PrivatePort: one.port, PublicPort: one.hostPort, Type: one.protocol }))
  const open = container.task === undefined ? [] : Object.keys(container.document.config.ExposedPorts ?? {}).map((key) => key.split('/')).filter(([port, type = 'tcp']) => !bound.some((one) => String(one.PrivatePort) === port && one.Type === type))
  return [...bound, ...open.map(([port, type = 'tcp']) => ({ PrivatePort: Number(port), Type: type }))]
}

function matcher(ports: ListPorts, filters: Filters, graph: Graph): (container: Container) => boolean {
  for (const status of filters.values('status')) if (!STATUSES.has(status)) throw new EngineError('invalid', `invalid filter 'status=${status}': invalid value for state (${status}): must be one of ${[...STATUSES].join(', ')}`)
  const exited = filters.values('exited').map((value) => {
    if (!/^-?\d+$/.test(value)) throw new EngineError('invalid', `invalid filter 'exited=${value}': strconv.Atoi: parsing "${value}": invalid syntax`)
    return Number(value)
  })
  const [before] = filters.values('before').map((key) => ports.find(key))
  const [since] = filters.values('since').map((key) => ports.find(key))
  const ancestors = new Set(filters.values('ancestor').flatMap((name) => imageIds(graph, name)))
  const names = filters.values('name').map((pattern) => new RegExp(pattern.startsWith('^/') ? `^${pattern.slice(2)}` : pattern.replace(/^\//, '')))
  return (container) =>
    (filters.none('id') || filters.some('id', (id) => container.id.startsWith(id))) &&
    (names.length === 0 || names.some((pattern) => pattern.test(container.name) || pattern.test(`/${container.name}`))) &&
    filters.labels('label', container.document.config.Labels) &&
    filters.matches('status', statusOf(container)) &&
    (exited.length === 0 || (container.task === undefined && container.state.finishedAt !== '' && exited.includes(container.state.exitCode))) &&
    (before === undefined || container.document.createdAt < before.document.createdAt) &&
    (since === undefined || container.document.createdAt > since.document.createdAt) &&
    (filters.none('ancestor') || ancestors.has(container.document.imageId)) &&
    (filters.none('network') || filters.some('network', (name) => endpointsOf(container.document).some((one) => one.network === name || ports.network(one.network)?.id.startsWith(name) === true))) &&
    (filters.none('volume') || filters.some('volume', (volume) => container.document.mounts.some((mount) => mount.name === volume || mount.destination === volume || mount.source === volume))) &&
    (filters.none('publish') || filters.some('publish', (wanted) => portMatches(container, wanted, true))) &&
    (filters.none('expose') || filters.some('expose', (wanted) => portMatches(container, wanted, false))) &&
    (filters.none('health') || filters.matches('health', healthStatus(container)))
}

function portMatches(container: Container, wanted: string, published: boolean): boolean {
  const [range = '', protocol = 'tcp'] = wanted.split('/')
  const [from, to] = range.split('-').map(Number)
  const keys = published ? Object.keys(container.document.hostConfig.PortBindings) : Object.keys(container.document.config.ExposedPorts ?? {})
  return keys.some((key) => {
    const [port, type = 'tcp'] = key.split('/')
    return type === protocol && Number(port) >= (from ?? 0) && Number(port) <= (to ?? from ?? 0)
  })
}

function imageIds(graph: Graph, name: string): readonly string[] {
  const tagged = graph.tags.get(name.includes(':') ? name : `${name}:latest`)
  const direct = tagged ?? graph.images.find(name.replace(/^sha256:/, ''))[0]
  if (direct === undefined) return []
  const chain = graph.images.get(direct)?.chainId
  // Containers of images that were made from it count too.
  return graph.images.list().filter((image) => image.id === direct || (chain !== undefined && graph.images.layers(image).some((layer) => layer.chainId === chain))).map((image) => image.id)
}

/** `GET /containers/json`. */
export async function listContainers(ports: ListPorts, query: { readonly apiVersion: number; readonly all: boolean; readonly size: boolean; readonly limit: number; readonly filters: Filters }): Promise<readonly unknown[]> {
  const matches = matcher(ports, query.filters, ports.graph)
  const everything = query.all || query.limit > 0 || !query.filters.none('status') || !query.filters.none('exited')
  const sorted = [...ports.list()].sort((a, b) => b.document.createdAt - a.document.createdAt)
  const found = sorted.filter((container) => (everything || container.task !== undefined) && matches(container))
  const shown = query.limit > 0 ? found.slice(0, query.limit) : found
  const sizes = query.size ? await Promise.all(shown.map((container) => sizesOf(ports.graph, container))) : []
  return shown.map((container, index) => ({
    Id: container.id,
    Names: namesOf(ports, container),
    Image: ports.imageName(container),
    ImageID: container.document.imageId,
    Command: [container.document.path, ...container.document.args].map((word) => (/[\s"']/.test(word) ? `'${word}'` : word)).join(' '),
    Created: Math.floor(container.document.createdAt / 1000),
    Ports: portsView(container),
    ...sizes[index],
    Labels: container.document.config.Labels,
    State: statusOf(container),
    Status: statusText(container),
    HostConfig: { NetworkMode: container.document.networkMode },
    NetworkSettings: { Networks: networksView(ports, container) },
    Mounts: container.document.mounts.map(mountPoint),
    ...(isSince(query.apiVersion, '1.52') && { Health: { Status: healthStatus(container), FailingStreak: container.health?.failingStreak ?? 0 } }),
  }))
}
