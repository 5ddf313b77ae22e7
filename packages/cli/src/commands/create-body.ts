import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { EngineError, parseBytes } from '@gantry/std'
import type { Flag, Parsed } from '../flags.ts'

/** Flags of `run` and `create`. */
export const CREATE_FLAGS: readonly Flag[] = [
  { name: 'name', kind: 'text', help: 'Assign a name to the container' },
  { name: 'interactive', short: 'i', kind: 'bool', help: 'Keep STDIN open even if not attached' },
  { name: 'tty', short: 't', kind: 'bool', help: 'Allocate a pseudo-TTY' },
  { name: 'rm', kind: 'bool', help: 'Remove the container when it exits' },
  { name: 'env', short: 'e', kind: 'list', help: 'Set environment variables' },
  { name: 'env-file', kind: 'list', help: 'Read in a file of environment variables' },
  { name: 'workdir', short: 'w', kind: 'text', help: 'Working directory inside the container' },
  { name: 'user', short: 'u', kind: 'text', help: 'Username or UID (format: <name|uid>[:<group|gid>])' },
  { name: 'volume', short: 'v', kind: 'list', help: 'Bind mount a volume' },
  { name: 'tmpfs', kind: 'list', help: 'Mount a tmpfs directory' },
  { name: 'entrypoint', kind: 'text', help: 'Overwrite the default ENTRYPOINT of the image' },
  { name: 'hostname', short: 'h', kind: 'text', help: 'Container host name' },
  { name: 'domainname', kind: 'text', help: 'Container NIS domain name' },
  { name: 'label', short: 'l', kind: 'list', help: 'Set meta data on a container' },
  { name: 'read-only', kind: 'bool', help: "Mount the container's root filesystem as read only" },
  { name: 'network', kind: 'text', help: 'Connect a container to a network: bridge, host, none, container:NAME' },
  { name: 'publish', short: 'p', kind: 'list', help: "Publish a container's port(s) to the host" },
  { name: 'publish-all', short: 'P', kind: 'bool', help: 'Publish all exposed ports to random ports' },
  { name: 'expose', kind: 'list', help: 'Expose a port or a range of ports' },
  { name: 'memory', short: 'm', kind: 'text', help: 'Memory limit' },
  { name: 'memory-swap', kind: 'text', help: 'Swap limit equal to memory plus swap: -1 to enable unlimited swap' },
  { name: 'memory-reservation', kind: 'text', help: 'Memory soft limit' },
  { name: 'cpus', kind: 'text', help: 'Number of CPUs' },
  { name: 'cpu-shares', short: 'c', kind: 'number', help: 'CPU shares (relative weight)' },
  { name: 'cpuset-cpus', kind: 'text', help: 'CPUs in which to allow execution (0-3, 0,1)' },
  { name: 'pids-limit', kind: 'number', help: 'Tune container pids limit (set -1 for unlimited)' },
  { name: 'shm-size', kind: 'text', help: 'Size of /dev/shm' },
  { name: 'ulimit', kind: 'list', help: 'Ulimit options' },
  { name: 'init', kind: 'bool', help: 'Run an init inside the container that forwards signals and reaps processes' },
  { name: 'stop-signal', kind: 'text', help: 'Signal to stop the container' },
  { name: 'stop-timeout', kind: 'number', help: 'Timeout (in seconds) to stop a container' },
  { name: 'restart', kind: 'text', help: 'Restart policy to apply when a container exits' },
  { name: 'cap-add', kind: 'list', help: 'Add Linux capabilities' },
  { name: 'cap-drop', kind: 'list', help: 'Drop Linux capabilities' },
  { name: 'privileged', kind: 'bool', help: 'Give extended privileges to this container' },
  { name: 'security-opt', kind: 'list', help: 'Security Options' },
  { name: 'device', kind: 'list', help: 'Add a host device to the container' },
  { name: 'group-add', kind: 'list', help: 'Add additional groups to join' },
  { name: 'add-host', kind: 'list', help: 'Add a custom host-to-IP mapping (host:ip)' },
  { name: 'dns', kind: 'list', help: 'Set custom DNS servers' },
  { name: 'dns-search', kind: 'list', help: 'Set custom DNS search domains' },
  { name: 'dns-option', kind: 'list', help: 'Set DNS options' },
  { name: 'sysctl', kind: 'list', help: 'Sysctl options' },
  { name: 'pid', kind: 'text', help: 'PID namespace to use' },
  { name: 'ipc', kind: 'text', help: 'IPC mode to use' },
  { name: 'uts', kind: 'text', help: 'UTS namespace to use' },
  { name: 'cgroupns', kind: 'text', help: 'Cgroup namespace to use (host|private)' },
  { name: 'log-driver', kind: 'text', help: 'Logging driver for the container' },
  { name: 'log-opt', kind: 'list', help: 'Log driver options' },
]

/** `.env` lines: NAME=value, or NAME to take it from here; comments begin with #. */
function envFile(path: string): readonly string[] {
  return readFileSync(path, 'utf8')
    .split('\n')
    .map((line) => line.replace(/\r$/, '').trimStart())
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => {
      if (/^[^=]*\s/.test(line)) throw new EngineError('invalid', `poorly formatted environment: variable '${line.split('=', 1)[0]}' contains whitespaces`)
      return line
    })
    .flatMap(fromHere)
}

const fromHere = (entry: string): readonly string[] => (entry.includes('=') ? [entry] : process.env[entry] === undefined ? [] : [`${entry}=${process.env[entry]}`])

/** `key=value` words as a map. */
export function keyValues(words: readonly string[]): Readonly<Record<string, string>> {
  return Object.fromEntries(words.map((word) => (word.includes('=') ? [word.slice(0, word.indexOf('=')), word.slice(word.indexOf('=') + 1)] : [word, ''])))
}

const range = (text: string): readonly number[] => {
  const [from = 0, to = from] = text.split('-').map(Number)
  if (!Number.isInteger(from) || !Number.isInteger(to) || to < from || to - from > 65535) throw new EngineError('invalid', `invalid containerPort: ${text}`)
  return Array.from({ length: to - from + 1 }, (_, n) => from + n)
}

/** `[[ip:][host]:]container[/protocol]`, with ranges. */
export function parsePublish(specs: readonly string[]): Readonly<Record<string, readonly { readonly HostIp: string; readonly HostPort: string }[]>> {
  const bindings: Record<string, { HostIp: string; HostPort: string }[]> = {}
  for (const spec of specs) {
    const match = /^(?:(?:(\[[^\]]+\]|[\d.]+):)?([\d-]*):)?([\d-]+)(?:\/(tcp|udp|sctp))?$/.exec(spec)
    if (match === null) throw new EngineError('invalid', `invalid publish opts format (should be name=value but got '${spec}')`)
    const [, ip = '', host = '', container = '', protocol = 'tcp'] = match
    const inside = range(container)
    const outside = host === '' ? [] : range(host)
    if (outside.length > 1 && inside.length > 1 && outside.length !== inside.length) throw new EngineError('invalid', `invalid ranges specified for container and host Ports: ${container} and ${host}`)
    inside.forEach((port, index) => {
      const key = `${port}/${protocol}`
      const HostPort = host === '' ? '' : inside.length === 1 ? host : String(outside[index])
      bindings[key] = [...(bindings[key] ?? []), { HostIp: ip.replace(/^\[|\]$/g, ''), HostPort }]
    })
  }
  return bindings
}

const bytes = (text: string): number => (text === '' ? 0 : text === '-1' ? -1 : parseBytes(text))

function ulimits(specs: readonly string[]): readonly unknown[] {
  return specs.map((spec) => {
    const match = /^(\w+)=(-?\d+)(?::(-?\d+))?$/.exec(spec)
    if (match === null) throw new EngineError('invalid', `invalid ulimit argument: ${spec}`)
    return { Name: match[1], Soft: Number(match[2]), Hard: Number(match[3] ?? match[2]) }
  })
}

function devices(specs: readonly string[]): readonly unknown[] {
  return specs.map((spec) => {
    const [host = '', second = '', third] = spec.split(':')
    const isMode = /^[rwm]{1,3}$/.test(second)
    return { PathOnHost: host, PathInContainer: second === '' || isMode ? host : second, CgroupPermissions: third ?? (isMode ? second : 'rwm') }
  })
}

function restartPolicy(text: string): unknown {
  const [Name = '', count] = text.split(':')
  return { Name: Name === '' ? 'no' : Name, MaximumRetryCount: count === undefined ? 0 : Number(count) }
}

/** Relative sources count from here. */
const bind = (spec: string): string => (/^\.{1,2}(\/|:)/.test(spec) ? resolve(spec.split(':')[0] ?? '') + spec.slice(spec.indexOf(':')) : spec)

function hostConfig(parsed: Parsed): unknown {
  return {
    Binds: parsed.list('volume').filter((spec) => spec.includes(':')).map(bind),
    NetworkMode: parsed.text('network') || 'default',
    PortBindings: parsePublish(parsed.list('publish')),
    PublishAllPorts: parsed.bool('publish-all'),
    AutoRemove: parsed.bool('rm'),
    RestartPolicy: restartPolicy(parsed.text('restart')),
    ReadonlyRootfs: parsed.bool('read-only'),
    Memory: bytes(parsed.text('memory')), MemorySwap: bytes(parsed.text('memory-swap')), MemoryReservation: bytes(parsed.text('memory-reservation')),
    NanoCpus: parsed.has('cpus') ? Math.round(Number(parsed.text('cpus')) * 1e9) : 0,
    CpuShares: parsed.number('cpu-shares') ?? 0, CpusetCpus: parsed.text('cpuset-cpus'),
    PidsLimit: parsed.number('pids-limit') ?? null, ShmSize: bytes(parsed.text('shm-size')), Ulimits: ulimits(parsed.list('ulimit')),
    ...(parsed.has('init') && { Init: parsed.bool('init') }),
    CapAdd: parsed.list('cap-add'), CapDrop: parsed.list('cap-drop'), Privileged: parsed.bool('privileged'), SecurityOpt: parsed.list('security-opt').map(securityOption),
    Devices: devices(parsed.list('device')), GroupAdd: parsed.list('group-add'), ExtraHosts: parsed.list('add-host'), Dns: parsed.list('dns'), DnsSearch: parsed.list('dns-search'), DnsOptions: parsed.list('dns-option'),
    Sysctls: keyValues(parsed.list('sysctl')), Tmpfs: Object.fromEntries(parsed.list('tmpfs').map((spec) => [spec.split(':')[0], spec.split(':').slice(1).join(':')])),
    PidMode: parsed.text('pid'), IpcMode: parsed.text('ipc'), UTSMode: parsed.text('uts'), CgroupnsMode: parsed.text('cgroupns'),
    LogConfig: { Type: parsed.text('log-driver'), Config: keyValues(parsed.list('log-opt')) },
    ConsoleSize: [process.stdout.rows ?? 0, process.stdout.columns ?? 0],
  }
}

/** A profile's file is read here: the daemon may be elsewhere. */
function securityOption(option: string): string {
  const match = /^seccomp[=:](.+)$/.exec(option)
  if (match?.[1] === undefined || match[1] === 'unconfined' || match[1] === 'builtin') return option
  return `seccomp=${readFileSync(match[1], 'utf8')}`
}

/** The body of a create request. */
export function createBody(parsed: Parsed, attach: boolean): Readonly<Record<string, unknown>> {
  const [image = '', ...command] = parsed.rest
  const exposed = Object.fromEntries([...Object.keys(parsePublish(parsed.list('publish'))), ...parsed.list('expose').map((port) => (port.includes('/') ? port : `${port}/tcp`))].map((port) => [port, {}]))
  const volumes = parsed.list('volume').filter((spec) => !spec.includes(':'))
  const stdin = parsed.bool('interactive')
  return {
    Image: image,
    Cmd: command.length === 0 ? null : command,
    Hostname: parsed.text('hostname'), Domainname: parsed.text('domainname'), User: parsed.text('user'), WorkingDir: parsed.text('workdir'),
    Env: [...parsed.list('env-file').flatMap(envFile), ...parsed.list('env').flatMap(fromHere)],
    Labels: keyValues(parsed.list('label')),
    Tty: parsed.bool('tty'), OpenStdin: stdin, StdinOnce: stdin && attach, AttachStdin: stdin && attach, AttachStdout: attach, AttachStderr: attach,
    ...(Object.keys(exposed).length > 0 && { ExposedPorts: exposed }),
    ...(volumes.length > 0 && { Volumes: Object.fromEntries(volumes.map((path) => [path, {}])) }),
    ...(parsed.has('entrypoint') && { Entrypoint: [parsed.text('entrypoint')] }),
    ...(parsed.has('stop-signal') && { StopSignal: parsed.text('stop-signal') }),
    ...(parsed.has('stop-timeout') && { StopTimeout: parsed.number('stop-timeout') }),
    HostConfig: hostConfig(parsed),
  }
}
