import { chownSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { hasCode } from '@gantry/std'
import { isIP } from 'node:net'
import type { ContainerDocument } from '../record.ts'

/** Where a container's own hosts, hostname and resolv.conf go; on tmpfs, made anew at every start. */
export interface EtcInput {
  readonly document: ContainerDocument
  readonly directory: string
  /** Its address on the network, when it has one. */
  readonly address: string | undefined
  readonly gateway: string | undefined
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

/** resolv.conf: what was asked for, else the host's without its own loopback resolvers, else public ones. */
export function resolvConf(input: EtcInput, host: string): string {
  const { hostConfig, networkMode } = input.document
  if (networkMode === 'host' && hostConfig.Dns.length === 0 && hostConfig.DnsSearch.length === 0 && hostConfig.DnsOptions.length === 0) return host
  const pick = (own: readonly string[], daemon: readonly string[], fallback: readonly string[]): readonly string[] => (own.length > 0 ? own : daemon.length > 0 ? daemon : fallback)
  const hostServers = words(host, 'nameserver').filter((server) => !/^(127\.|::1$)/.test(server))
  const servers = pick(hostConfig.Dns, input.dns.servers, hostServers.length > 0 ? hostServers : ['8.8.8.8', '8.8.4.4'])
  const search = pick(hostConfig.DnsSearch, input.dns.search, words(host, 'search')).filter((domain) => domain !== '.')
  const options = pick(hostConfig.DnsOptions, input.dns.options, words(host, 'options'))
  return [...servers.map((server) => `nameserver ${server}`), ...(search.length > 0 ? [`search ${search.join(' ')}`] : []), ...(options.length > 0 ? [`options ${options.join(' ')}`] : [])].map((line) => `${line}\n`).join('')
}

/** hosts: loopback, what was added, and the container itself. */
export function hostsText(input: EtcInput): string {
  const { config, hostConfig } = input.document
  const lines = ['127.0.0.1\tlocalhost', '::1\tlocalhost ip6-localhost ip6-loopback', 'fe00::\tip6-localnet', 'ff00::\tip6-mcastprefix', 'ff02::1\tip6-allnodes', 'ff02::2\tip6-allrouters']
  for (const entry of hostConfig.ExtraHosts ?? []) {
    const at = entry.search(/[:=]/)
    const address = entry.slice(at + 1).replace(/^\[|\]$/g, '')
    lines.push(`${address === 'host-gateway' ? (input.gateway ?? '127.0.0.1') : address}\t${entry.slice(0, at)}`)
  }
  const names = config.Domainname === '' ? config.Hostname : `${config.Hostname}.${config.Domainname} ${config.Hostname}`
  if (input.address !== undefined) lines.push(`${input.address}\t${names}`)
  return lines.map((line) => `${line}\n`).join('')
}

/** Writes the three files. */
export function writeEtcFiles(input: EtcInput): void {
  mkdirSync(input.directory, { recursive: true, mode: 0o755 })
  const host = input.document.networkMode === 'host'
  writeFileSync(`${input.directory}/hosts`, host && (input.document.hostConfig.ExtraHosts ?? []).length === 0 ? hostFile('/etc/hosts') : hostsText(input), { mode: 0o644 })
  writeFileSync(`${input.directory}/hostname`, `${input.document.config.Hostname}\n`, { mode: 0o644 })
  writeFileSync(`${input.directory}/resolv.conf`, resolvConf(input, hostFile('/etc/resolv.conf')), { mode: 0o644 })
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
