import type { Names } from './dns/answer.ts'
import type { EndpointInfo } from './network.ts'

/** A container as names lead to it. */
export interface NamedSandbox {
  readonly request: { readonly containerName: string }
  readonly endpoints: readonly EndpointInfo[]
}

const addressesOf = (endpoint: EndpointInfo): readonly string[] => [endpoint.ipv4?.address, endpoint.ipv6?.address].flatMap((one) => one ?? [])

/** Names that a container sees: those of the networks that it is in, as they are at the time of each question. */
export function namesFor(own: () => NamedSandbox | undefined, all: () => Iterable<NamedSandbox>): Names {
  const neighbours = function* (): Generator<readonly [EndpointInfo, NamedSandbox, EndpointInfo]> {
    for (const mine of own()?.endpoints ?? []) {
      if (mine.dnsNames.length === 0) continue
      for (const sandbox of all()) for (const endpoint of sandbox.endpoints) if (endpoint.networkId === mine.networkId) yield [endpoint, sandbox, mine]
    }
  }
  return {
    addresses(text) {
      const name = text.toLowerCase()
      const found = new Set<string>()
      for (const [endpoint, , mine] of neighbours()) {
        const suffix = `.${endpoint.networkName.toLowerCase()}`
        const short = name.endsWith(suffix) ? name.slice(0, -suffix.length) : name
        // `name:alias` of a link is a name for this container alone.
        const linked = mine.request.links.filter((link) => link.split(':')[1]?.toLowerCase() === short).map((link) => link.split(':')[0]?.toLowerCase())
        if (endpoint.dnsNames.some((one) => one.toLowerCase() === short || linked.includes(one.toLowerCase()))) for (const address of addressesOf(endpoint)) found.add(address)
      }
      return found.size === 0 ? undefined : [...found]
    },
    nameOf(address) {
      for (const [endpoint, sandbox] of neighbours()) if (addressesOf(endpoint).includes(address)) return `${sandbox.request.containerName}.${endpoint.networkName}`
      return undefined
    },
  }
}
