import type { LinkedPorts } from '@gantry/libnetwork'
import { EngineError } from '@gantry/std'
import type { Container } from '../container.ts'
import { parsePort } from '../request/ports.ts'
import { withAlias } from '../request/endpoints.ts'

/** A link of the default bridge, resolved: the other container, which runs, and what it is called here. */
export interface Link {
  readonly source: Container
  readonly alias: string
}

const onBridge = (source: Container): boolean => source.sandbox?.endpoints.some((one) => one.networkName === 'bridge') ?? false

/** Links that a request asks for on the default bridge, by alias; those on networks of users are names only. */
export function requestedLinks(mode: string, links: readonly string[], find: (key: string) => Container): ReadonlyMap<string, Container> {
  const found = new Map<string, Container>()
  for (const link of links) {
    const [name = '', alias = ''] = withAlias(link).split(':')
    const source = find(name)
    if (mode !== 'bridge') continue
    if (found.has(alias)) throw new EngineError('conflict', `Conflict. The link alias "${alias}" is used twice`)
    found.set(alias, source)
  }
  return found
}

/** The links of a container that is about to start; all of their sources have to run. */
export function linksOf(container: Container, edges: ReadonlyMap<string, Container>): readonly Link[] {
  return [...edges].map(([alias, source]) => {
    if (source.task === undefined) throw new EngineError('conflict', `Cannot link to a non running container: /${source.name} AS /${container.name}/${alias}`)
    if (!onBridge(source)) throw new EngineError('invalid', `Cannot link to /${source.name}, as it does not belong to the default network`)
    return { source, alias }
  })
}

/** Those of its links whose sources run at this moment. */
export function liveLinks(edges: ReadonlyMap<string, Container>): readonly Link[] {
  return [...edges].filter(([, source]) => source.task !== undefined && onBridge(source)).map(([alias, source]) => ({ source, alias }))
}

function exposedOf(source: Container): LinkedPorts['ports'] {
  const keys = new Set([...Object.keys(source.document.config.ExposedPorts ?? {}), ...Object.keys(source.document.hostConfig.PortBindings)])
  return [...keys].map(parsePort).sort((a, b) => a.port - b.port || (a.protocol < b.protocol ? -1 : 1))
}

/** What the firewall opens for links where containers may not talk to each other. */
export function linkedPorts(links: readonly Link[]): readonly LinkedPorts[] {
  return links.map(({ source }) => ({ containerId: source.id, ports: exposedOf(source) }))
}

/** `1.2.3.4	alias name` for hosts. */
export function linkHosts(links: readonly Link[]): readonly string[] {
  return links.map(({ source, alias }) => {
    const address = source.sandbox?.endpoints.find((one) => one.networkName === 'bridge')?.ipv4?.address ?? ''
    return `${address}\t${[...new Set([alias, source.document.config.Hostname, source.name])].join(' ')}`
  })
}

/** The environment that a link brings (Docker's legacy links): ports as URLs and in parts, the name, and the other's own variables. */
export function linkEnvironment(consumer: Container, links: readonly Link[]): readonly string[] {
  return links.flatMap(({ source, alias }) => {
    const prefix = (alias.split('/').at(-1) ?? alias).toUpperCase().replaceAll('-', '_')
    const address = source.sandbox?.endpoints.find((one) => one.networkName === 'bridge')?.ipv4?.address ?? ''
    const ports = exposedOf(source)
    const url = (port: (typeof ports)[number]): string => `${port.protocol}://${address}:${port.port}`
    const preferred = ports.find((port) => port.protocol === 'tcp') ?? ports[0]
    const env = preferred === undefined ? [] : [`${prefix}_PORT=${url(preferred)}`]
    for (let from = 0; from < ports.length; ) {
      let to = from
      while (ports[to + 1]?.port === (ports[to]?.port ?? 0) + 1 && ports[to + 1]?.protocol === ports[to]?.protocol) to++
      const [first, last] = [ports[from], ports[to]]
      if (first !== undefined && last !== undefined && to > from) {
        const head = `${prefix}_PORT_${first.port}_${first.protocol.toUpperCase()}`
        env.push(`${head}_START=${url(first)}`, `${head}_ADDR=${address}`, `${head}_PROTO=${first.protocol}`, `${head}_PORT_START=${first.port}`, `${head}_END=${url(last)}`, `${head}_PORT_END=${last.port}`)
      }
      from = to + 1
    }
    for (const port of ports) {
      const head = `${prefix}_PORT_${port.port}_${port.protocol.toUpperCase()}`
      env.push(`${head}=${url(port)}`, `${head}_ADDR=${address}`, `${head}_PORT=${port.port}`, `${head}_PROTO=${port.protocol}`)
    }
    env.push(`${prefix}_NAME=/${consumer.name}/${alias}`)
    for (const entry of source.document.config.Env) if (!/^(HOME|PATH)=/.test(entry)) env.push(`${prefix}_ENV_${entry}`)
    return env
  })
}
