import { readFileSync, statSync } from 'node:fs'
import { resolve } from 'node:path'
import { asObject, asString, EngineError, type JsonObject, parseBytes, parseDuration } from '@gantry/std'
import { clientMessage } from '../command.ts'
import type { Parsed } from '../flags.ts'
import { networking } from './network-flag.ts'
import { parseMountFlag } from './mount-flag.ts'

/** `.env` lines: NAME=value, or NAME to take it from here; comments begin with #. */
export function envFile(path: string): readonly string[] {
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory() === true) throw new EngineError('invalid', `invalid env file (${path}): read ${path}: is a directory`)
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

const labelFile = (path: string): readonly string[] => readFileSync(path, 'utf8').split('\n').map((line) => line.trim()).filter((line) => line !== '' && !line.startsWith('#'))

/** `NAME=value`, or the value that NAME has here. */
export const fromHere = (entry: string): readonly string[] => (entry.includes('=') ? [entry] : process.env[entry] === undefined ? [] : [`${entry}=${process.env[entry]}`])

/** A name like `vendor.com/class=device`, of a device that is described on the host (CDI). */
function isQualified(name: string): boolean {
  return /^[A-Za-z0-9][\w.-]*\/[A-Za-z0-9][\w-]*=[A-Za-z0-9][\w.:-]*$/.test(name)
}

/** `all`, a number, `device=0,1`, or a list of such words. */
function gpuRequest(text: string): unknown {
  const request = { Driver: '', Count: 0, DeviceIDs: [] as string[], Capabilities: [['gpu']] as string[][], Options: {} }
  for (const word of text.match(/"[^"]*"|[^,]+/g) ?? []) {
    const [key = '', value] = word.replace(/^"|"$/g, '').split('=')
    if (value === undefined) request.Count = key === 'all' ? -1 : wholeCount(key)
    else if (key === 'device') request.DeviceIDs.push(...value.split(','))
    else if (key === 'count') request.Count = value === 'all' ? -1 : wholeCount(value)
    else if (key === 'driver') request.Driver = value
    else if (key === 'capabilities') request.Capabilities = [['gpu', ...value.split(',').filter((one) => one !== 'gpu')]]
    else throw new EngineError('invalid', `invalid argument "${text}" for "--gpus": unexpected key '${key}' in '${word}'`)
  }
  if (request.Count === 0 && request.DeviceIDs.length === 0) request.Count = 1
  return request
}

function wholeCount(text: string): number {
  if (!/^\d{1,4}$/.test(text)) throw new EngineError('invalid', `invalid argument "${text}" for "--gpus": count must be an integer or all`)
  return Number(text)
}

function deviceRequests(named: readonly string[], gpus: string): readonly unknown[] | null {
  const requests = [...(named.length === 0 ? [] : [{ Driver: 'cdi', Count: 0, DeviceIDs: named, Capabilities: [], Options: {} }]), ...(gpus === '' ? [] : [gpuRequest(gpus)])]
  return requests.length === 0 ? null : requests
}

/** `key=value` words as a map. */
export function keyValues(words: readonly string[]): Readonly<Record<string, string>> {
  return Object.fromEntries(words.map((word) => (word.includes('=') ? [word.slice(0, word.indexOf('=')), word.slice(word.indexOf('=') + 1)] : [word, ''])))
}

const range = (text: string, what: string): readonly number[] => {
  const [from = 0, to = from] = text.split('-').map(Number)
  if (!/^\d+(-\d+)?$/.test(text) || to < from || to > 65535) throw new EngineError('invalid', `invalid ${what}: ${text}`)
  return Array.from({ length: to - from + 1 }, (_, n) => from + n)
}

/** `[[ip:][host]:]container[/protocol]`, with ranges. */
export function parsePublish(specs: readonly string[]): Readonly<Record<string, readonly { readonly HostIp: string; readonly HostPort: string }[]>> {
  const bindings: Record<string, { HostIp: string; HostPort: string }[]> = {}
  for (const spec of specs) {
    const match = /^(?:(?:(\[[^\]]+\]|[\d.]+):)?([^:/]*):)?([^:/]+)(?:\/(\w+))?$/.exec(spec)
    if (match === null) throw new EngineError('invalid', `invalid publish opts format (should be name=value but got '${spec}')`)
    const [, ip = '', host = '', container = '', given = 'tcp'] = match
    const protocol = given.toLowerCase()
    const inside = range(container, 'containerPort')
    const outside = host === '' ? [] : range(host, 'hostPort')
    if (!['tcp', 'udp', 'sctp'].includes(protocol)) throw new EngineError('invalid', `invalid proto: ${given}`)
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

/** `--ulimit` as the API has it. */
export function ulimits(specs: readonly string[]): readonly unknown[] {
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

/** `on-failure:3` */
export function restartPolicy(text: string): unknown {
  const [Name = '', count] = text.split(':')
  if (count !== undefined && !/^\d+$/.test(count)) throw new EngineError('invalid', 'invalid restart policy format: maximum retry count must be an integer')
  return { Name: Name === '' ? 'no' : Name, MaximumRetryCount: count === undefined ? 0 : Number(count) }
}

/** `PATH:VALUE` of the flags that limit one block device. */
function perDevice<T>(specs: readonly string[], value: (text: string) => number, make: (path: string, value: number) => T): readonly T[] {
  return specs.map((spec) => {
    const [path = '', text = ''] = spec.split(':')
    const number = value(text)
    if (!path.startsWith('/dev/') || !Number.isInteger(number)) throw new EngineError('invalid', `bad format: ${spec}: expected /dev/PATH:VALUE`)
    return make(path, number)
  })
}

const throttles = (specs: readonly string[], value: (text: string) => number): readonly unknown[] => perDevice(specs, value, (Path, Rate) => ({ Path, Rate }))

const orNull = <T>(list: readonly T[]): readonly T[] | null => (list.length === 0 ? null : list)

/** Relative sources count from here. */
const bind = (spec: string): string => (/^\.{1,2}(\/|:)/.test(spec) ? resolve(spec.split(':')[0] ?? '') + spec.slice(spec.indexOf(':')) : spec)

/** Limits that may also be changed later. */
export function resourcesBody(parsed: Parsed): Readonly<Record<string, unknown>> {
  return {
    Memory: bytes(parsed.text('memory')), MemorySwap: bytes(parsed.text('memory-swap')), MemoryReservation: bytes(parsed.text('memory-reservation')),
    NanoCpus: parsed.has('cpus') ? Math.round(Number(parsed.text('cpus')) * 1e9) : 0,
    CpuShares: parsed.number('cpu-shares') ?? 0, CpusetCpus: parsed.text('cpuset-cpus'),
    PidsLimit: parsed.number('pids-limit') ?? null,
    CpuPeriod: parsed.number('cpu-period') ?? 0, CpuQuota: parsed.number('cpu-quota') ?? 0, CpuRealtimePeriod: parsed.number('cpu-rt-period') ?? 0, CpuRealtimeRuntime: parsed.number('cpu-rt-runtime') ?? 0, CpusetMems: parsed.text('cpuset-mems'),
    BlkioWeight: parsed.number('blkio-weight') ?? 0,
  }
}

/** Namespaces that a flag can name; the rest is the daemon's to judge. */
const MODES: readonly (readonly [flag: string, kind: string, valid: RegExp])[] = [['pid', 'PID', /^(host|container:.+)?$/], ['uts', 'UTS', /^(host)?$/], ['userns', 'USER', /^(host)?$/], ['cgroupns', 'CGROUP', /^(host|private)?$/]]

/** What cannot go together, or cannot be, whatever the daemon is. */
function checkConflicts(parsed: Parsed): void {
  for (const [flag, kind, valid] of MODES) if (!valid.test(parsed.text(flag))) throw new EngineError('invalid', `--${flag}: invalid ${kind} mode`)
  if (parsed.bool('rm') && !['', 'no'].includes(parsed.text('restart'))) throw new EngineError('invalid', 'conflicting options: cannot specify both --restart and --rm')
  if (parsed.bool('detach') && parsed.has('attach')) throw new EngineError('invalid', 'conflicting options: cannot specify both --attach and --detach')
  const swappiness = parsed.number('memory-swappiness') ?? -1
  if (swappiness !== -1 && (swappiness < 0 || swappiness > 100)) throw new EngineError('invalid', `invalid value: ${swappiness}. Valid memory swappiness range is 0-100`)
}

/** The socket of this daemon, for `--use-api-socket`. */
function apiSocket(parsed: Parsed, host: string): readonly unknown[] {
  if (!parsed.bool('use-api-socket')) return []
  if (!host.startsWith('unix://')) throw new EngineError('invalid', `--use-api-socket can only be used with unix sockets: the host ${host} is none`)
  return [{ Type: 'bind', Source: host.slice('unix://'.length), Target: '/var/run/docker.sock', BindOptions: {} }]
}

function hostConfig(parsed: Parsed, networkMode: string, host: string): unknown {
  const binds = parsed.list('volume').filter((spec) => spec.includes(':')).map(bind)
  return {
    ...resourcesBody(parsed),
    Binds: orNull(binds),
    NetworkMode: networkMode,
    PortBindings: parsePublish(parsed.list('publish')),
    PublishAllPorts: parsed.bool('publish-all'),
    AutoRemove: parsed.bool('rm'),
    RestartPolicy: restartPolicy(parsed.text('restart')),
    ReadonlyRootfs: parsed.bool('read-only'),
    ShmSize: bytes(parsed.text('shm-size')), Ulimits: ulimits(parsed.list('ulimit')),
    ...(parsed.has('init') && { Init: parsed.bool('init') }),
    CapAdd: orNull(parsed.list('cap-add')), CapDrop: orNull(parsed.list('cap-drop')), Privileged: parsed.bool('privileged'), SecurityOpt: orNull(parsed.list('security-opt').map(securityOption)),
    Devices: devices(parsed.list('device').filter((one) => !isQualified(one))), DeviceRequests: deviceRequests(parsed.list('device').filter(isQualified), parsed.text('gpus')), GroupAdd: orNull(parsed.list('group-add')), ExtraHosts: orNull(parsed.list('add-host')), Dns: parsed.list('dns'), DnsSearch: parsed.list('dns-search'), DnsOptions: parsed.list('dns-option'),
    Sysctls: keyValues(parsed.list('sysctl')), Tmpfs: Object.fromEntries(parsed.list('tmpfs').map((spec) => [spec.split(':')[0], spec.split(':').slice(1).join(':')])),
    PidMode: parsed.text('pid'), IpcMode: parsed.text('ipc'), UTSMode: parsed.text('uts'), CgroupnsMode: parsed.text('cgroupns'),
    ...(parsed.has('isolation') && { Isolation: parsed.text('isolation') }),
    UsernsMode: parsed.text('userns'), Runtime: parsed.text('runtime'), VolumeDriver: parsed.text('volume-driver'), VolumesFrom: orNull(parsed.list('volumes-from')), Links: orNull(parsed.list('link')), CgroupParent: parsed.text('cgroup-parent'),
    MemorySwappiness: parsed.number('memory-swappiness') ?? null, OomKillDisable: parsed.bool('oom-kill-disable'), OomScoreAdj: parsed.number('oom-score-adj') ?? 0,
    BlkioWeightDevice: perDevice(parsed.list('blkio-weight-device'), Number, (Path, Weight) => ({ Path, Weight })), DeviceCgroupRules: orNull(parsed.list('device-cgroup-rule')),
    BlkioDeviceReadBps: throttles(parsed.list('device-read-bps'), bytes), BlkioDeviceWriteBps: throttles(parsed.list('device-write-bps'), bytes), BlkioDeviceReadIOps: throttles(parsed.list('device-read-iops'), Number), BlkioDeviceWriteIOps: throttles(parsed.list('device-write-iops'), Number),
    Annotations: keyValues(parsed.list('annotation')), Mounts: [...parsed.list('mount').map(parseMountFlag), ...apiSocket(parsed, host)], ...(parsed.has('storage-opt') && { StorageOpt: keyValues(parsed.list('storage-opt')) }),
    LogConfig: { Type: parsed.text('log-driver'), Config: keyValues(parsed.list('log-opt')) },
    ConsoleSize: [process.stdout.rows ?? 0, process.stdout.columns ?? 0],
  }
}

/** A profile's file is read here: the daemon may be elsewhere. */
function securityOption(option: string): string {
  if (!/[=:]/.test(option) && option !== 'no-new-privileges') throw new EngineError('invalid', `Invalid --security-opt: ${JSON.stringify(option)}`)
  const match = /^seccomp[=:](.+)$/.exec(option)
  if (match?.[1] === undefined || match[1] === 'unconfined' || match[1] === 'builtin') return option
  try {
    return `seccomp=${JSON.stringify(JSON.parse(readFileSync(match[1], 'utf8')))}`
  } catch (cause) {
    throw new EngineError('invalid', `opening seccomp profile (${match[1]}) failed: ${clientMessage(cause)}`, { cause })
  }
}

/** `Healthcheck`, where one is asked for or switched off. */
function healthcheck(parsed: Parsed): object {
  const names = ['health-cmd', 'health-interval', 'health-timeout', 'health-retries', 'health-start-period', 'health-start-interval', 'health-on-failure']
  const given = names.some((name) => parsed.has(name))
  if (parsed.bool('no-healthcheck')) {
    if (given) throw new EngineError('invalid', '--no-healthcheck conflicts with --health-* options')
    return { Healthcheck: { Test: ['NONE'] } }
  }
  if (!given) return {}
  if ((parsed.number('health-retries') ?? 0) < 0) throw new EngineError('invalid', '--health-retries cannot be negative')
  const nanos = (name: string): number => {
    const ms = parsed.text(name) === '' ? 0 : parseDuration(parsed.text(name))
    if (parsed.text(name).startsWith('-')) throw new EngineError('invalid', `--${name} cannot be negative`)
    if (ms === undefined) throw new EngineError('invalid', `--${name}: expected a duration (30s), got "${parsed.text(name)}"`)
    return ms * 1_000_000
  }
  return {
    Healthcheck: {
      ...(parsed.text('health-cmd') !== '' && { Test: ['CMD-SHELL', parsed.text('health-cmd')] }),
      Interval: nanos('health-interval'), Timeout: nanos('health-timeout'), StartPeriod: nanos('health-start-period'), StartInterval: nanos('health-start-interval'), Retries: parsed.number('health-retries') ?? 0, ...(parsed.text('health-on-failure') !== '' && { OnFailure: parsed.text('health-on-failure') }),
    },
  }
}

/** Variables for proxies, as the user's configuration has them for this daemon (`proxies` in config.json), but for those that are given. */
export function proxyVariables(config: JsonObject, host: string, given: readonly string[]): readonly string[] {
  const all = asObject(config['proxies'] ?? {}, 'proxies')
  const one = asObject(all[host] ?? all['default'] ?? {}, 'proxies.default')
  const has = (name: string): boolean => given.some((entry) => entry.split('=')[0] === name)
  return Object.entries({ httpProxy: 'HTTP_PROXY', httpsProxy: 'HTTPS_PROXY', noProxy: 'NO_PROXY', ftpProxy: 'FTP_PROXY', allProxy: 'ALL_PROXY' }).flatMap(([key, name]) => {
    const value = asString(one[key], `proxies.default.${key}`)
    return value === '' ? [] : [name, name.toLowerCase()].filter((variable) => !has(variable)).map((variable) => `${variable}=${value}`)
  })
}

/** What a create request is made from, beside its flags. */
export interface CreateSurroundings {
  /** The daemon. */
  readonly host: string
  /** The user's `config.json`. */
  readonly config: JsonObject
}

/** The body of a create request. `attach`: somebody is going to look at the output. */
export function createBody(parsed: Parsed, attach: boolean, around: CreateSurroundings): Readonly<Record<string, unknown>> {
  checkConflicts(parsed)
  const [image = '', ...command] = parsed.rest
  const exposed = Object.fromEntries([...Object.keys(parsePublish(parsed.list('publish'))), ...parsed.list('expose').map((port) => (port.includes('/') ? port : `${port}/tcp`))].map((port) => [port, {}]))
  const volumes = parsed.list('volume').filter((spec) => !spec.includes(':'))
  const stdin = parsed.bool('interactive')
  const streams = parsed.list('attach').map((one) => one.toLowerCase())
  const attaches = (name: string): boolean => (streams.length > 0 ? streams.includes(name) : attach && (name !== 'stdin' || stdin))
  const given = [...parsed.list('env-file').flatMap(envFile), ...parsed.list('env').flatMap(fromHere)]
  const network = networking(parsed)
  return {
    Image: image,
    Cmd: command.length === 0 ? null : command,
    Hostname: parsed.text('hostname'), Domainname: parsed.text('domainname'), User: parsed.text('user'), WorkingDir: parsed.text('workdir'),
    Env: [...proxyVariables(around.config, around.host, given), ...given],
    Labels: { ...keyValues(parsed.list('label-file').flatMap(labelFile)), ...keyValues(parsed.list('label')) },
    Tty: parsed.bool('tty'), OpenStdin: stdin, StdinOnce: stdin && attaches('stdin'), AttachStdin: attaches('stdin'), AttachStdout: attaches('stdout'), AttachStderr: attaches('stderr'),
    ...(Object.keys(exposed).length > 0 && { ExposedPorts: exposed }),
    ...(volumes.length > 0 && { Volumes: Object.fromEntries(volumes.map((path) => [path, {}])) }),
    ...(parsed.has('entrypoint') && { Entrypoint: [parsed.text('entrypoint')] }),
    ...(parsed.has('stop-signal') && { StopSignal: parsed.text('stop-signal') }),
    ...(parsed.has('stop-timeout') && { StopTimeout: parsed.number('stop-timeout') }),
    ...healthcheck(parsed),
    HostConfig: hostConfig(parsed, network.mode, around.host),
    ...(network.config !== undefined && { NetworkingConfig: network.config }),
    ...(network.mac !== '' && { MacAddress: network.mac }),
  }
}
