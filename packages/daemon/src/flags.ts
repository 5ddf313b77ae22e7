import { readFileSync } from 'node:fs'
import { findProgram, parseStartTimeout, readRuntimes } from '@gantry/runtime'
import { OWN_BRIDGE, parseAddress, parseDefaultPool } from '@gantry/libnetwork'
import { asObject, asStringMap, EngineError, hasCode, type JsonObject, type LogLevel, parseBytes } from '@gantry/std'
import { readEntitlements, readGc } from './build/gc.ts'
import type { DaemonConfig } from './config.ts'
import { readSubordinateIds } from './subordinate-ids.ts'

/** One flag of the daemon: dockerd's names. */
interface Flag {
  readonly name: string
  readonly short?: string
  readonly kind: 'text' | 'list' | 'bool'
  readonly value: string | boolean | readonly string[]
  readonly help: string
  /** Key in the configuration file, when it is not the name. */
  readonly key?: string
}

/** Flags that are there. What is not listed is an error with usage. */
export const FLAGS: readonly Flag[] = [
  { name: 'host', short: 'H', kind: 'list', value: [], key: 'hosts', help: 'Daemon socket(s) to connect to: unix://, tcp://, fd://' },
  { name: 'group', short: 'G', kind: 'text', value: 'docker', help: 'Group for the unix socket' },
  { name: 'data-root', kind: 'text', value: '/var/lib/gantry', help: 'Root directory of persistent state' },
  { name: 'exec-root', kind: 'text', value: '/run/gantry', help: 'Root directory for execution state files' },
  { name: 'pidfile', short: 'p', kind: 'text', value: '/run/gantry.pid', help: 'Path to use for the daemon PID file' },
  { name: 'config-file', kind: 'text', value: '/etc/gantry/daemon.json', help: 'Daemon configuration file' },
  { name: 'cgroup-parent', kind: 'text', value: '/gantry', help: 'Parent cgroup for all containers' },
  { name: 'storage-driver', short: 's', kind: 'text', value: '', help: 'Storage driver to use: erofs, overlay2, btrfs or vfs; the best that works here when none is named' },
  { name: 'storage-opt', kind: 'list', value: [], key: 'storage-opts', help: 'Storage driver options: DRIVER.size=10g bounds what each container may write' },
  { name: 'registry-mirror', kind: 'list', value: [], key: 'registry-mirrors', help: 'Preferred mirror: URL for the default registry, HOST=URL for any other' },
  { name: 'insecure-registry', kind: 'list', value: [], key: 'insecure-registries', help: 'Registry that may answer without TLS: HOST[:PORT] or a network (CIDR)' },
  { name: 'certs-dir', kind: 'text', value: '/etc/docker/certs.d', help: 'Certificates of registries, a folder a HOST[:PORT]' },
  { name: 'max-concurrent-downloads', kind: 'text', value: '0', help: 'Layers that are downloaded at a time; 0: as many as there are cores, at least 3' },
  { name: 'max-concurrent-uploads', kind: 'text', value: '5', help: 'Layers that are uploaded at a time' },
  { name: 'image-gc-keep', kind: 'text', value: '', help: 'Remove images that no container has, the longest unused first, while layers take more than this (20g); nothing is removed by default' },
  { name: 'push-compression', kind: 'text', value: 'gzip', help: 'How layers are packed for a push: gzip, or zstd for an OCI image' },
  { name: 'bridge', short: 'b', kind: 'text', value: '', help: 'Attach containers to a network bridge; none for no bridge' },
  { name: 'bip', kind: 'text', value: '', help: 'IPv4 address for the default bridge' },
  { name: 'fixed-cidr', kind: 'text', value: '', help: 'IPv4 subnet for the default bridge network' },
  { name: 'default-gateway', kind: 'text', value: '', help: 'Container default gateway IPv4 address' },
  { name: 'ipv6', kind: 'bool', value: false, help: 'Enable IPv6 on the default bridge network' },
  { name: 'fixed-cidr-v6', kind: 'text', value: '', help: 'IPv6 subnet for the default bridge network' },
  { name: 'default-gateway-v6', kind: 'text', value: '', help: 'Container default gateway IPv6 address' },
  { name: 'default-address-pool', kind: 'list', value: [], key: 'default-address-pools', help: 'Default address pools for node-specific local networks: base=SUBNET,size=BITS' },
  { name: 'ip', kind: 'text', value: '', help: 'Host IP for port publishing from the default bridge network' },
  { name: 'host-gateway-ip', kind: 'text', value: '', help: "IP address that the special 'host-gateway' string in --add-host resolves to" },
  { name: 'mtu', kind: 'text', value: '1500', help: 'MTU for the default bridge network' },
  { name: 'icc', kind: 'bool', value: true, help: 'Enable inter-container communication for the default bridge' },
  { name: 'ip-masq', kind: 'bool', value: true, help: 'Enable IP masquerading' },
  { name: 'ip-forward', kind: 'bool', value: true, help: 'Enable IP forwarding in system configuration' },
  { name: 'iptables', kind: 'bool', value: true, help: 'Enable the firewall' },
  { name: 'metrics-addr', kind: 'text', value: '', help: 'Serve metrics of the daemon and of each container on HOST:PORT' },
  { name: 'own-firewall-table', kind: 'bool', value: true, help: 'Keep others from changing our nftables table, where the kernel can (6.9); otherwise it is put back when it was changed (ours)' },
  { name: 'respect-host-firewall', kind: 'bool', value: false, help: "Put no rule into the host's own forward chain: what it drops stays dropped (ours)" },
  { name: 'dns', kind: 'list', value: [], help: 'DNS server to use' },
  { name: 'dns-search', kind: 'list', value: [], help: 'DNS search domains to use' },
  { name: 'dns-opt', kind: 'list', value: [], key: 'dns-opts', help: 'DNS options to use' },
  { name: 'tls', kind: 'bool', value: false, help: 'Use TLS; implied by --tlsverify' },
  { name: 'tlsverify', kind: 'bool', value: false, help: 'Use TLS and verify the remote' },
  { name: 'tlscacert', kind: 'text', value: '/etc/gantry/ca.pem', help: 'Trust certs signed only by this CA' },
  { name: 'tlscert', kind: 'text', value: '/etc/gantry/cert.pem', help: 'Path to TLS certificate file' },
  { name: 'tlskey', kind: 'text', value: '/etc/gantry/key.pem', help: 'Path to TLS key file' },
  { name: 'userns-remap', kind: 'text', value: '', help: 'User/Group setting for user namespaces: USER[:GROUP] of /etc/subuid and /etc/subgid' },
  { name: 'add-runtime', kind: 'list', value: [], help: 'Register an additional OCI compatible runtime: name=path' },
  { name: 'default-runtime', kind: 'text', value: 'gantry', help: 'Default OCI runtime for containers' },
  { name: 'cdi-spec-dir', kind: 'list', value: [], key: 'cdi-spec-dirs', help: 'CDI specification directories to use (default /etc/cdi, /var/run/cdi)' },
  { name: 'experimental', kind: 'bool', value: false, help: 'Enable experimental features: clients offer checkpoints' },
  { name: 'containerd', kind: 'text', value: '', help: 'Socket of a supervisor in a process of its own (gantry supervisor)' },
  { name: 'start-timeout', kind: 'text', value: '15s', help: 'A container start that takes longer is given up; 0: never' },
  { name: 'authorization-plugin', key: 'authorization-plugins', kind: 'list', value: [], help: 'Authorization plugins to load' },
  { name: 'log-driver', kind: 'text', value: 'json-file', help: 'Default driver for container logs' },
  { name: 'log-opt', key: 'log-opts', kind: 'list', value: [], help: 'Default log driver options for containers' },
  { name: 'log-level', short: 'l', kind: 'text', value: 'info', help: 'Set the logging level: debug, info, warn, error' },
  { name: 'debug', short: 'D', kind: 'bool', value: false, help: 'Enable debug mode' },
  { name: 'live-restore', kind: 'bool', value: true, help: 'Containers outlive the daemon; always so' },
  { name: 'shutdown-timeout', kind: 'text', value: '15', help: 'Seconds to wait for jobs when the daemon stops' },
]

type Values = Map<string, string | boolean | readonly string[]>

/** Usage, one flag a line. */
export function usage(): string {
  const lines = FLAGS.map((flag) => `  ${flag.short === undefined ? '    ' : `-${flag.short}, `}--${flag.name.padEnd(18)} ${flag.help}${flag.value === '' || Array.isArray(flag.value) ? '' : ` (default ${String(flag.value)})`}`)
  return `Usage: gantry daemon [OPTIONS]\n\nOptions:\n${lines.join('\n')}\n`
}

const TRUTHS: Readonly<Record<string, boolean>> = { true: true, '1': true, t: true, false: false, '0': false, f: false }

function setValue(values: Values, flag: Flag, text: string | undefined): void {
  if (flag.kind === 'bool') {
    const truth = text === undefined ? true : TRUTHS[text.toLowerCase()]
    if (truth === undefined) throw new EngineError('invalid', `invalid argument "${text}" for "--${flag.name}": expected true or false`)
    values.set(flag.name, truth)
  } else if (text === undefined) throw new EngineError('invalid', `flag needs an argument: --${flag.name}`)
  else if (flag.kind === 'list') values.set(flag.name, [...((values.get(flag.name) as readonly string[] | undefined) ?? []), text])
  else values.set(flag.name, text)
}

/** Reads the command line; anything that is not known, and any surplus argument, is an error with usage. */
export function parseFlags(argv: readonly string[]): Values {
  const values: Values = new Map()
  for (let at = 0; at < argv.length; at++) {
    const word = argv[at] ?? ''
    const long = /^--([^=]+)(?:=(.*))?$/s.exec(word)
    const short = long === null ? /^-(\w)(?:=?(.+))?$/s.exec(word) : null
    const flag = FLAGS.find((one) => (long === null ? short !== null && one.short === short[1] : one.name === long[1]))
    if (flag === undefined) throw new EngineError('invalid', `${word.startsWith('-') ? 'unknown flag' : 'accepts no arguments, got'}: ${word}\n\n${usage()}`)
    const inline = long?.[2] ?? short?.[2]
    setValue(values, flag, inline ?? (flag.kind === 'bool' ? undefined : argv[++at]))
  }
  return values
}

function readFile(path: string, named: boolean): JsonObject {
  try {
    return asObject(JSON.parse(readFileSync(path, 'utf8')), path)
  } catch (cause) {
    if (!named && hasCode(cause, 'ENOENT')) return {}
    throw new EngineError('invalid', `unable to configure the daemon with file ${path}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause })
  }
}

/** Adds what the file says; a key in both places is an error, as with dockerd. */
function mergeFile(values: Values, file: JsonObject, path: string): void {
  for (const [key, value] of Object.entries(file)) {
    const flag = FLAGS.find((one) => (one.key ?? one.name) === key)
    if (flag === undefined) throw new EngineError('invalid', `unable to configure the daemon with file ${path}: the following directives don't match any configuration option: ${key}`)
    if (values.has(flag.name) && flag.kind !== 'list') throw new EngineError('invalid', `unable to configure the daemon with file ${path}: the following directives are specified both as a flag and in the configuration file: ${key}`)
    const good = flag.kind === 'list' ? Array.isArray(value) && value.every((item) => typeof item === 'string') : flag.kind === 'bool' ? typeof value === 'boolean' : typeof value === 'string' || typeof value === 'number'
    if (!good) throw new EngineError('invalid', `${path}: ${key}: expected ${flag.kind === 'list' ? 'a list of strings' : flag.kind === 'bool' ? 'true or false' : 'a string'}`)
    values.set(flag.name, flag.kind === 'text' ? String(value) : (value as boolean | readonly string[]))
  }
}

const LEVELS: ReadonlySet<string> = new Set(['debug', 'info', 'warn', 'error'])
const EXEC_ROOT_LIMIT = 36

function positiveInteger(text: string, name: string): number {
  if (!/^\d{1,6}$/.test(text)) throw new EngineError('invalid', `--${name}: expected a number, got "${text}"`)
  return Number(text)
}

function compression(text: string): 'gzip' | 'zstd' {
  if (text !== 'gzip' && text !== 'zstd') throw new EngineError('invalid', `--push-compression: expected gzip or zstd, got "${text}"`)
  return text
}

/** The size that `DRIVER.size` gives to every container, in bytes. */
function defaultSize(options: readonly string[]): number | undefined {
  let bytes: number | undefined
  for (const option of options) {
    const [, key = '', value = ''] = /^([^=]*)=(.*)$/.exec(option) ?? []
    if (!/^(erofs|overlay2|btrfs)\.size$/.test(key)) throw new EngineError('invalid', `--storage-opt: unknown option "${option}": expected erofs.size, overlay2.size or btrfs.size`)
    bytes = parseBytes(value)
  }
  return bytes
}

function keyValues(words: readonly string[]): Readonly<Record<string, string>> {
  return Object.fromEntries(words.map((word) => {
    if (!/^[^=]+=/.test(word)) throw new EngineError('invalid', `--log-opt: expected key=value, got "${word}"`)
    return [word.slice(0, word.indexOf('=')), word.slice(word.indexOf('=') + 1)]
  }))
}

function hostAddress(text: string, name: string): string {
  parseAddress(text, `--${name}`)
  return text
}

/** Puts flags and file together and checks them. `root` is where this installation lies. */
export function readConfig(argv: readonly string[], root: string, env: NodeJS.ProcessEnv): DaemonConfig {
  const values = parseFlags(argv)
  const path = (values.get('config-file') as string | undefined) ?? String(FLAGS.find((flag) => flag.name === 'config-file')?.value)
  const { runtimes: namedRuntimes, 'log-opts': logOptions, builder, ...file } = readFile(path, values.has('config-file'))
  // Shares of a disk that is not known yet: what is wrong is told at once.
  readGc(builder, 0)
  readEntitlements(builder)
  mergeFile(values, file, path)
  const get = (name: string): string | boolean | readonly string[] => values.get(name) ?? FLAGS.find((flag) => flag.name === name)?.value ?? ''
  const text = (name: string): string => String(get(name))
  const bool = (name: string): boolean => get(name) === true
  const list = (name: string): readonly string[] => get(name) as readonly string[]
  const level = bool('debug') ? 'debug' : text('log-level')
  if (!LEVELS.has(level)) throw new EngineError('invalid', `--log-level: expected debug, info, warn or error, got "${level}"`)
  const execRoot = text('exec-root').replace(/\/+$/, '')
  if (!execRoot.startsWith('/') || execRoot.length > EXEC_ROOT_LIMIT) throw new EngineError('invalid', `--exec-root: expected an absolute path of at most ${EXEC_ROOT_LIMIT} characters (unix sockets lie below it)`)
  const runtimes = readRuntimes(list('add-runtime'), namedRuntimes, env['PATH'] ?? '')
  const lxcStart = findProgram('lxc-start', env['PATH'] ?? '')
  const defaultRuntime = text('default-runtime')
  if (!['gantry', ...(lxcStart === undefined ? [] : ['lxc']), ...runtimes.map((one) => one.name)].includes(defaultRuntime)) throw new EngineError('invalid', `--default-runtime: unknown runtime "${defaultRuntime}"`)
  const bridge = text('bridge')
  if (bridge !== '' && bridge !== 'none' && !/^[\w.-]{1,15}$/.test(bridge)) throw new EngineError('invalid', `--bridge: invalid interface name "${bridge}"`)
  return {
    hosts: list('host').length === 0 ? ['unix:///run/gantry.sock'] : list('host').map((host) => (host.includes('://') ? host : host.startsWith('/') ? `unix://${host}` : `tcp://${host}`)),
    group: text('group'),
    dataRoot: text('data-root').replace(/\/+$/, ''),
    execRoot,
    pidFile: text('pidfile'),
    cgroupParent: text('cgroup-parent'),
    storageDriver: text('storage-driver') !== '' ? text('storage-driver') : (env['DOCKER_DRIVER'] ?? ''),
    containerBytes: defaultSize(list('storage-opt')),
    registries: { mirrors: list('registry-mirror'), insecure: list('insecure-registry'), certificates: text('certs-dir').replace(/\/+$/, '') },
    downloads: positiveInteger(text('max-concurrent-downloads'), 'max-concurrent-downloads'),
    uploads: positiveInteger(text('max-concurrent-uploads'), 'max-concurrent-uploads'),
    imageGcKeepBytes: text('image-gc-keep') === '' ? 0 : parseBytes(text('image-gc-keep')),
    pushCompression: compression(text('push-compression')),
    imageProcess: `${root}/build/gantry-images.cjs`,
    bridge: bridge === 'none' ? undefined : {
      name: bridge === '' ? OWN_BRIDGE : bridge, bip: text('bip') || undefined, fixedCidr: text('fixed-cidr') || undefined, gateway: text('default-gateway') || undefined, ipv6: bool('ipv6'), fixedCidrV6: text('fixed-cidr-v6') || undefined,
      gatewayV6: text('default-gateway-v6') || undefined, mtu: positiveInteger(text('mtu'), 'mtu'), icc: bool('icc'), masquerade: bool('ip-masq'), hostBinding: text('ip'),
    },
    addressPools: list('default-address-pool').map(parseDefaultPool),
    hostBinding: text('ip') === '' || text('ip') === '0.0.0.0' ? '' : hostAddress(text('ip'), 'ip'),
    hostGateway: text('host-gateway-ip') === '' ? '' : hostAddress(text('host-gateway-ip'), 'host-gateway-ip'),
    ipForward: bool('ip-forward'),
    firewall: bool('iptables'),
    metricsAddress: text('metrics-addr'),
    ownFirewallTable: bool('own-firewall-table'),
    respectHostFirewall: bool('respect-host-firewall'),
    dns: { servers: list('dns'), search: list('dns-search'), options: list('dns-opt') },
    tls: bool('tls') || bool('tlsverify') ? { verify: bool('tlsverify'), ca: text('tlscacert'), cert: text('tlscert'), key: text('tlskey') } : undefined,
    users: text('userns-remap') === '' ? undefined : readSubordinateIds(text('userns-remap')),
    runtimes,
    lxcStart,
    defaultRuntime,
    experimental: bool('experimental'),
    cdiDirectories: list('cdi-spec-dir').length === 0 ? ['/etc/cdi', '/var/run/cdi'] : list('cdi-spec-dir'),
    containerd: text('containerd') === '' ? undefined : text('containerd'),
    startTimeoutMs: parseStartTimeout(text('start-timeout')),
    logLevel: level as LogLevel,
    authorizationPlugins: list('authorization-plugin'),
    defaultLog: { Type: text('log-driver'), Config: { ...asStringMap(logOptions, 'log-opts'), ...keyValues(list('log-opt')) } },
    builder,
    helper: env['GANTRY_HELPER'] ?? `${root}/build/gantry-helper`,
    shutdownTimeoutSeconds: positiveInteger(text('shutdown-timeout'), 'shutdown-timeout'),
    busybox: env['GANTRY_BUSYBOX'] ?? '/bin/busybox',
  }
}
