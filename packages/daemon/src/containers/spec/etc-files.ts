import { chownSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { hasCode } from '@gantry/std'
import { isIP } from 'node:net'
import { type EndpointInfo, RESOLVER_ADDRESS } from '@gantry/libnetwork'
import { type Link, linkHosts } from '../network/links.ts'
import type { ContainerDocument } from '../record.ts'

/** Where a container's own hosts, hostname and resolv.conf go; on tmpfs, made anew at every start. */
export interface EtcInput {
  readonly document: ContainerDocument
  readonly directory: string
  readonly endpoints: readonly EndpointInfo[]
  /** The daemon resolves its names. */
  readonly resolver: boolean
  /** What `host-gateway` means; empty: the gateway of its own network. */
  readonly hostGateway: string
  readonly links: readonly Link[]
  /** uid and gid on the host. */
  readonly owner: readonly [number, number]
  readonly dns: { readonly servers: readonly string[]; readonly search: readonly string[]; readonly options: readonly string[] }
}

function hostFile(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return ''
    throw error
  }
}

const words = (text: string, keyword: string): readonly string[] => [...text.matchAll(new RegExp(`^${keyword}[ \\t]+(.*)$`, 'gm'))].flatMap((match) => (match[1] ?? '').trim().split(/\s+/)).filter((word) => word !== '')

/** Servers of the host's own resolv.conf. */
export function hostServers(): readonly string[] {
  return words(hostFile('/etc/resolv.conf'), 'nameserver')
}

/** resolv.conf: the daemon's resolver where there is one; else what was asked for, the host's servers without its own loopback resolvers, or public ones. */
export function resolvConf(input: EtcInput, host: string): string {
  const { hostConfig, networkMode } = input.document
  if (networkMode === 'host' && hostConfig.Dns.length === 0 && hostConfig.DnsSearch.length === 0 && hostConfig.DnsOptions.length === 0) return host
  const pick = (own: readonly string[], daemon: readonly string[], fallback: readonly string[]): readonly string[] => (own.length > 0 ? own : daemon.length > 0 ? daemon : fallback)
  const hostOwn = words(host, 'nameserver').filter((server) => !/^(127\.|::1$)/.test(server))
  const servers = input.resolver ? [RESOLVER_ADDRESS] : pick(hostConfig.Dns, input.dns.servers, hostOwn.length > 0 ? hostOwn : ['8.8.8.8', '8.8.4.4'])
  const search = pick(hostConfig.DnsSearch, input.dns.search, words(host, 'search')).filter((domain) => domain !== '.')
  const asked = pick(hostConfig.DnsOptions, input.dns.options, words(host, 'options'))
  const options = input.resolver && !asked.some((option) => option.startsWith('ndots:')) ? [...asked, 'ndots:0'] : asked
  return [...servers.map((server) => `nameserver ${server}`), ...(search.length > 0 ? [`search ${search.join(' ')}`] : []), ...(options.length > 0 ? [`options ${options.join(' ')}`] : [])].map((line) => `${line}\n`).join('')
}

/** hosts: loopback, what was added, links, and the container itself. */
export function hostsText(input: EtcInput): string {
  const { config, hostConfig } = input.document
  const lines = ['127.0.0.1\tlocalhost', '::1\tlocalhost ip6-localhost ip6-loopback', 'fe00::\tip6-localnet', 'ff00::\tip6-mcastprefix', 'ff02::1\tip6-allnodes', 'ff02::2\tip6-allrouters']
  const gateway = input.hostGateway !== '' ? input.hostGateway : (input.endpoints.find((one) => (one.ipv4?.gateway ?? '') !== '')?.ipv4?.gateway ?? '127.0.0.1')
  for (const entry of hostConfig.ExtraHosts ?? []) {
    const at = entry.search(/[:=]/)
    const address = entry.slice(at + 1).replace(/^\[|\]$/g, '')
    lines.push(`${address === 'host-gateway' ? gateway : address}\t${entry.slice(0, at)}`)
  }
  lines.push(...linkHosts(input.links))
  const names = config.Domainname === '' ? config.Hostname : `${config.Hostname}.${config.Domainname} ${config.Hostname}`
  for (const endpoint of input.endpoints) for (const own of [endpoint.ipv4, endpoint.ipv6]) if (own !== undefined) lines.push(`${own.address}\t${names}`)
  return lines.map((line) => `${line}\n`).join('')
}

/** Writes hosts, in place. */
export function writeHosts(input: EtcInput): void {
  const host = input.document.networkMode === 'host'
  writeFileSync(`${input.directory}/hosts`, host && (input.document.hostConfig.ExtraHosts ?? []).length === 0 ? hostFile('/etc/hosts') : hostsText(input), { mode: 0o644 })
}

/** Writes resolv.conf, in place. */
export function writeResolvConf(input: EtcInput): void {
  writeFileSync(`${input.directory}/resolv.conf`, resolvConf(input, hostFile('/etc/resolv.conf')), { mode: 0o644 })
}

/** Writes the three files. */
export function writeEtcFiles(input: EtcInput): void {
  mkdirSync(input.directory, { recursive: true, mode: 0o755 })
  writeHosts(input)
  writeFileSync(`${input.directory}/hostname`, `${input.document.config.Hostname}\n`, { mode: 0o644 })
  writeResolvConf(input)
  const [uid, gid] = input.owner
  if (uid !== 0 || gid !== 0) for (const file of ['hosts', 'hostname', 'resolv.conf']) chownSync(`${input.directory}/${file}`, uid, gid)
}

/** Checks `name:address` before anything is made. */
export function isExtraHost(entry: string): boolean {
  const at = entry.search(/[:=]/)
  const address = entry.slice(at + 1).replace(/^\[|\]$/g, '')
  return at > 0 && (address === 'host-gateway' || isIP(address) !== 0)
}

/** Where a container's hosts, hostname and resolv.conf are. */
export function etcDirectory(execRoot: string, id: string): string {
  return `${execRoot}/etc/${id}`
}
