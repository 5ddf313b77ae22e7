import { hostname as hostName } from 'node:os'
import type { ContainerConfig, HostConfig } from '@gantry/api'
import type { Graph, Image } from '@gantry/graph'
import { EngineError, type ImageRunConfig, newId, readableName, shortId, undoStack } from '@gantry/std'
import { type Container, liveContainer } from './container.ts'
import type { EndpointRequest } from '@gantry/libnetwork'
import { type FindNetwork, settleEndpoints } from './request/endpoints.ts'
import { logAttributes } from '../logging/attributes.ts'
import { logWarnings, withDefaultLog } from './log/settings.ts'
import { checkHealth } from './health.ts'
import { requestedLinks } from './network/links.ts'
import { isExtraHost } from './spec/etc-files.ts'
import { type CgroupLimits, withoutUnsupported } from './request/limits.ts'
import { collectMounts } from './mounts/parse.ts'
import { portRequests } from './request/ports.ts'
import { type ContainerDocument, freshState, type SettledMount } from './record.ts'
import { settleMounts, type SettleMountPorts } from './mounts/settle.ts'
import { settleDevices } from './spec/resources.ts'
import { settleSecurity, settleSysctls } from './spec/security.ts'
import type { ContainerStore } from './store.ts'
import { checkHostConfig, checkUsers, parseSignal, writableBytes } from './request/validate.ts'

/** What create needs of the rest of the house. */
export interface CreatePorts extends SettleMountPorts {
  readonly store: ContainerStore
  readonly graph: Graph
  readonly knownCapabilities: readonly string[]
  readonly limits: CgroupLimits
  readonly apparmor: boolean
  /** Names of the runtimes that there are. */
  readonly runtimes: ReadonlySet<string>
  readonly defaultRuntime: string
  /** The log of a container that does not say. */
  readonly defaultLog: HostConfig['LogConfig']
  /** What a container may write that does not say so itself. */
  readonly containerBytes: number | undefined
  /** Containers get users of their own unless they ask for the host's. */
  readonly remapped: boolean
  findNetwork: FindNetwork
  emit(container: Container, action: string): void
}

/** A create request, decoded. */
export interface CreateRequest {
  readonly name: string
  readonly config: ContainerConfig
  readonly hostConfig: HostConfig
  /** Networks of the request's EndpointsConfig. */
  readonly endpoints: readonly EndpointRequest[]
  /** `MacAddress` of versions before 1.44. */
  readonly mac: string
  /** `os/architecture[/variant]`; empty: whatever the image is for. */
  readonly platform: string
  /** For a step of a build. */
  readonly build?: true
}

const NAME = /^\/?[a-zA-Z0-9][a-zA-Z0-9_.-]+$/
const NAME_TRIES = 7

/** What the user leaves open of a health check is the image's. */
function mergeHealth(user: ContainerConfig['Healthcheck'], image: ContainerConfig['Healthcheck']): ContainerConfig['Healthcheck'] {
  if (user === undefined || image === undefined) return user ?? image
  const given = Object.entries(user).filter(([, value]) => (Array.isArray(value) ? value.length > 0 : value !== 0 && value !== undefined && value !== null))
  return { ...image, ...Object.fromEntries(given) }
}

/** The user's Config over the image's (Docker's merge rules). */
export function mergeConfig(user: ContainerConfig, image: ImageRunConfig): ContainerConfig {
  const entrypointReset = user.Entrypoint !== null && user.Entrypoint.length === 1 && user.Entrypoint[0] === ''
  const inherits = user.Entrypoint === null || user.Entrypoint.length === 0
  const cmd = user.Cmd !== null && user.Cmd.length > 0 ? user.Cmd : inherits && !entrypointReset ? (image.Cmd ?? null) : user.Cmd
  const exposed = { ...Object.fromEntries(Object.keys(image.ExposedPorts ?? {}).map((port) => [port, {}])), ...user.ExposedPorts }
  const names = new Set(user.Env.map((entry) => entry.split('=', 1)[0]))
  const env = [...user.Env, ...(image.Env ?? []).filter((entry) => !names.has(entry.split('=', 1)[0]))]
  const stopSignal = user.StopSignal ?? image.StopSignal
  const shell = user.Shell ?? image.Shell ?? undefined
  const health = mergeHealth(user.Healthcheck, (image.Healthcheck ?? undefined) as ContainerConfig['Healthcheck'])
  const volumes = { ...Object.fromEntries(Object.keys(image.Volumes ?? {}).map((path) => [path, {}])), ...user.Volumes }
  return {
    ...user,
    User: user.User === '' ? (image.User ?? '') : user.User,
    ...(Object.keys(exposed).length > 0 && { ExposedPorts: exposed }),
    Env: env,
    Cmd: cmd,
    Entrypoint: entrypointReset ? null : inherits ? (image.Entrypoint ?? null) : user.Entrypoint,
    WorkingDir: user.WorkingDir === '' ? (image.WorkingDir ?? '') : user.WorkingDir,
    Labels: { ...(image.Labels ?? {}), ...user.Labels },
    Volumes: Object.keys(volumes).length === 0 ? null : volumes,
    OnBuild: user.OnBuild ?? image.OnBuild ?? null,
    ...(stopSignal !== undefined && stopSignal !== '' && { StopSignal: stopSignal }),
    ...(shell !== undefined && { Shell: shell }),
    ...(health !== undefined && health !== null && { Healthcheck: health }),
  }
}

/** Fills in what Docker fills in: shm size, modes, the log driver. */
function normalizeHostConfig(h: HostConfig, privateCgroup: boolean, defaults: Pick<CreatePorts, 'defaultRuntime' | 'defaultLog'>): HostConfig {
  return {
    ...h,
    NetworkMode: h.NetworkMode === '' || h.NetworkMode === 'default' ? 'bridge' : h.NetworkMode,
    IpcMode: h.IpcMode === '' ? 'private' : h.IpcMode,
    CgroupnsMode: h.CgroupnsMode === '' ? (privateCgroup ? 'private' : 'host') : h.CgroupnsMode,
    ShmSize: h.ShmSize === 0 ? 67_108_864 : h.ShmSize,
    LogConfig: withDefaultLog(h.LogConfig, defaults.defaultLog),
    RestartPolicy: { Name: h.RestartPolicy.Name === '' ? 'no' : h.RestartPolicy.Name, MaximumRetryCount: h.RestartPolicy.MaximumRetryCount },
    Runtime: h.Runtime === '' ? defaults.defaultRuntime : h.Runtime,
    MemorySwap: h.Memory > 0 && h.MemorySwap === 0 ? h.Memory * 2 : h.MemorySwap,
    MemorySwappiness: h.MemorySwappiness === -1 ? null : h.MemorySwappiness,
    PidsLimit: h.PidsLimit !== null && h.PidsLimit <= 0 ? null : h.PidsLimit,
  }
}

/** Another container that the request names. That it is not there is no 404, which clients take for the image's. */
function findOther(ports: CreatePorts, key: string, what = ''): Container {
  try {
    return ports.store.find(key)
  } catch (cause) {
    if (!(cause instanceof EngineError)) throw cause
    throw new EngineError('invalid', `${what}${cause.message}`, { cause })
  }
}

function checkRequest(ports: CreatePorts, config: ContainerConfig, hostConfig: HostConfig): void {
  checkHostConfig(hostConfig)
  if (!ports.runtimes.has(hostConfig.Runtime)) throw new EngineError('invalid', `unknown or invalid runtime name: ${hostConfig.Runtime}`)
  checkUsers(hostConfig, ports.remapped)
  const mode = hostConfig.NetworkMode
  if (mode.startsWith('container:')) findOther(ports, mode.slice('container:'.length), 'joining network namespace of container: ')
  for (const join of [hostConfig.IpcMode, hostConfig.PidMode]) if (join.startsWith('container:')) findOther(ports, join.slice('container:'.length))
  if (config.Hostname !== '' && !/^[a-zA-Z0-9]([a-zA-Z0-9.-]{0,62}[a-zA-Z0-9])?$/.test(config.Hostname)) throw new EngineError('invalid', `invalid hostname format: ${config.Hostname}`)
  if (config.WorkingDir !== '' && !config.WorkingDir.startsWith('/')) throw new EngineError('invalid', `the working directory '${config.WorkingDir}' is invalid, it needs to be an absolute path`)
  if (config.StopSignal !== undefined) parseSignal(config.StopSignal)
  for (const entry of hostConfig.ExtraHosts ?? []) if (!isExtraHost(entry)) throw new EngineError('invalid', `invalid IP address in add-host: "${entry}"`)
  settleSecurity(hostConfig, ports.knownCapabilities, ports.apparmor)
  settleDevices(hostConfig)
  settleSysctls(hostConfig, mode !== 'host', hostConfig.IpcMode !== 'host', ports.remapped && hostConfig.UsernsMode !== 'host')
  portRequests(config, hostConfig)
  checkHealth(config.Healthcheck)
}

/** A platform that was asked for has to be the image's. */
function checkPlatform({ platform, config }: CreateRequest, image: Image): void {
  if (platform === '') return
  const [os = '', architecture = ''] = platform.toLowerCase().split('/')
  if (os !== '' && architecture === '' ? os === image.config.os || os === image.config.architecture : os === image.config.os && architecture === image.config.architecture) return
  throw new EngineError('not-found', `image with reference ${config.Image} was found but its platform (${image.config.os}/${image.config.architecture}) does not match the specified platform (${platform})`)
}

/** Mounts of other containers (`--volumes-from NAME[:ro|rw]`); what is anonymous there is shared here. */
function volumesFrom(ports: CreatePorts, specs: readonly string[]): readonly SettledMount[] {
  return specs.flatMap((spec) => {
    const [name = '', mode = ''] = spec.split(':')
    if (!['', 'ro', 'rw', 'z', 'Z'].includes(mode)) throw new EngineError('invalid', `invalid volumes-from mode: ${mode}`)
    return findOther(ports, name).document.mounts.filter((mount) => mount.type !== 'tmpfs').map((mount) => ({ ...mount, readOnly: mode === 'ro' ? true : mount.readOnly, noCopy: true }))
  })
}

function pickName(ports: CreatePorts, wanted: string): string {
  if (wanted !== '') {
    if (!NAME.test(wanted)) throw new EngineError('invalid', `Invalid container name (${wanted}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed`)
    return wanted.replace(/^\//, '')
  }
  for (let attempt = 0; attempt < NAME_TRIES; attempt++) {
    const name = readableName(attempt)
    if (ports.store.byName(name) === undefined) return name
  }
  return newId().slice(0, 12)
}

function warningsFor(config: ContainerConfig, hostConfig: HostConfig): readonly string[] {
  const warnings: string[] = [...logWarnings(hostConfig.LogConfig)]
  if (config.Domainname === '' && hostConfig.NetworkMode === 'host' && Object.keys(hostConfig.PortBindings).length > 0) warnings.push('Published ports are discarded when using host network mode')
  return warnings
}

/** Makes a container from a local image; starts nothing. Read it as the list of what `create` does. */
export async function createContainer(ports: CreatePorts, request: CreateRequest): Promise<{ readonly container: Container; readonly warnings: readonly string[] }> {
  await using undo = undoStack()
  const image = ports.resolveImage(request.config.Image)
  checkPlatform(request, image)
  const id = newId()
  const merged = mergeConfig(request.config, image.config.config ?? {})
  const config = { ...merged, Hostname: merged.Hostname === '' ? (request.hostConfig.NetworkMode === 'host' ? hostName() : shortId(id)) : merged.Hostname }
  const { hostConfig, warnings } = withoutUnsupported(normalizeHostConfig(request.hostConfig, ports.limits.version === 2, ports), ports.limits)
  checkRequest(ports, config, hostConfig)
  const links = requestedLinks(hostConfig.NetworkMode, hostConfig.Links ?? [], (key) => findOther(ports, key, `could not get container for ${key}: `))
  const endpoints = settleEndpoints(hostConfig.NetworkMode, request.endpoints, { mac: request.mac, links: hostConfig.Links ?? [] }, ports.findNetwork)
  const command = [...(config.Entrypoint ?? []), ...(config.Cmd ?? [])]
  const [path, ...args] = command
  if (path === undefined) throw new EngineError('invalid', 'no command specified')
  const name = pickName(ports, request.name)
  const wanted = collectMounts(hostConfig, Object.keys(image.config.config?.Volumes ?? {}), Object.keys(request.config.Volumes ?? {}), volumesFrom(ports, hostConfig.VolumesFrom ?? []))
  const mounts = await settleMounts(ports, wanted, undo)
  const document: ContainerDocument = { id, createdAt: Date.now(), imageId: image.id, config, hostConfig, mounts, path, args, networkMode: endpoints.length === 1 && endpoints[0]?.network === 'none' ? 'none' : hostConfig.NetworkMode, endpoints, ...(request.build && { build: true as const }) }
  const container = liveContainer(document, name, freshState())
  logAttributes(hostConfig.LogConfig.Config, { ...document, name })
  // The record comes first: a crash after this leaves something that names what it left behind.
  ports.store.add(container, { durable: !hostConfig.AutoRemove && request.build !== true, links })
  undo.add('forget the container', () => ports.store.remove(container))
  ports.graph.images.touch(image.id)
  await ports.graph.createContainer(id, image, writableBytes(hostConfig, ports.containerBytes))
  undo.commit()
  ports.emit(container, 'create')
  return { container, warnings: [...warnings, ...warningsFor(config, hostConfig)] }
}

