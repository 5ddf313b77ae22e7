import type { EventMessage } from '@gantry/api'
import { logger, nowNanos, topic } from '@gantry/std'
import type { Filters } from '../server/filters.ts'

const log = logger('daemon.system.events')
const KEPT = 256

/** Everything that happens, as it happens, and the last of it again. */
export interface Events {
  emit(type: string, action: string, id: string, attributes: Readonly<Record<string, string>>): void
  /** What was kept since a time. */
  since(nanos: bigint): readonly EventMessage[]
  subscribe(listener: (event: EventMessage) => void): () => void
  readonly subscribers: number
}

/** Makes the event log. */
export function createEvents(): Events {
  const kept: EventMessage[] = []
  const live = topic<EventMessage>((cause) => log.error('a listener failed', { cause }))
  return {
    emit(type, action, id, attributes) {
      const nanos = nowNanos()
      const from = type === 'container' ? attributes['image'] : undefined
      const event: EventMessage = {
        ...(type === 'container' || type === 'image' ? { status: action, id } : {}),
        ...(from !== undefined && { from }),
        Type: type,
        Action: action,
        Actor: { ID: id, Attributes: attributes },
        scope: 'local',
        time: Number(nanos / 1_000_000_000n),
        timeNano: Number(nanos),
      }
      kept.push(event)
      if (kept.length > KEPT) kept.shift()
      live.publish(event)
    },
    since: (nanos) => kept.filter((event) => BigInt(event.timeNano) >= nanos),
    subscribe: (listener) => live.subscribe(listener),
    get subscribers() {
      return live.subscribers
    },
  }
}

const actionName = (action: string): string => action.split(':', 1)[0] ?? action

/** True when an event passes the filters; those that nobody knows pass everything, as with Docker. */
export function eventMatches(filters: Filters, event: EventMessage): boolean {
  const attributes = event.Actor.Attributes
  const object = (type: string): boolean => filters.none(type) || (event.Type === type && filters.some(type, (value) => event.Actor.ID === value || event.Actor.ID.startsWith(value) || attributes['name'] === value.replace(/^\//, '')))
  return (
    filters.matches('type', event.Type) &&
    (filters.none('event') || filters.some('event', (value) => value === event.Action || value === actionName(event.Action))) &&
    filters.matches('scope', event.scope) &&
    object('container') && object('volume') && object('network') && object('daemon') &&
    (filters.none('image') || filters.some('image', (value) => [event.Actor.ID, attributes['image'], attributes['name']].some((one) => one !== undefined && (one === value || one.split(':', 1)[0] === value)))) &&
    filters.labels('label', attributes)
  )
}

/** Attributes of a volume that a container has from now on, or has no more. */
export function volumeAttributes(container: string, mount: { readonly destination: string; readonly driver?: string; readonly readOnly: boolean; readonly propagation: string }, action: 'mount' | 'unmount'): Readonly<Record<string, string>> {
  const driver = mount.driver ?? 'local'
  return action === 'unmount' ? { container, driver } : { container, destination: mount.destination, driver, propagation: mount.propagation, 'read/write': String(!mount.readOnly) }
}

/** What a prune has come to is told, too. */
export function withPruneEvents<T extends Readonly<Record<'container.prune' | 'image.prune' | 'volume.prune' | 'network.prune', (job: never) => Promise<object>>>>(events: Events, handlers: T): T {
  const told = <Job, Output extends object>(type: string, handle: (job: Job) => Promise<Output>) => async (job: Job): Promise<Output> => {
    const output = await handle(job)
    events.emit(type, 'prune', '', { reclaimed: String('bytes' in output ? output.bytes : 0) })
    return output
  }
  return { ...handlers, 'container.prune': told('container', handlers['container.prune']), 'image.prune': told('image', handlers['image.prune']), 'volume.prune': told('volume', handlers['volume.prune']), 'network.prune': told('network', handlers['network.prune']) }
}
