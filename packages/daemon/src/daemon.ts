import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, rmSync, writeFileSync } from 'node:fs'
import type { Server } from 'node:http'
import { availableParallelism, hostname } from 'node:os'
import { basename } from 'node:path'
import { openBuildCache, openContextStore } from '@gantry/builder'
import { chooseDriver, decompressed, feedTar, openGraph, treeToTar } from '@gantry/graph'
import { createController } from '@gantry/libnetwork'
import { familiarString, parseReference } from '@gantry/registry'
import { byRuntime, connectSupervisor, externalDriver, lxcDriver, NATIVE, prepareAppArmor, capabilitiesOf, createSupervisor, nativeDriver, openHost, startTimeOf } from '@gantry/runtime'
import { EngineError, hasCode, keyedLock, logger, newId, openDatabase, readText, replaceFile } from '@gantry/std'
import { openCacheMounts } from './build/cache-mounts.ts'
import { diskBytesOf, readEntitlements, readGc } from './build/gc.ts'
import { buildHandlers } from './build/handlers.ts'
import { runStep } from './build/runner.ts'
import { fillDirectory } from './build/sources.ts'
import type { DaemonConfig } from './config.ts'
import type { Container } from './containers/container.ts'
import type { CreatePorts } from './containers/create.ts'
import { containerHandlers } from './containers/handlers.ts'
import type { ExecPorts } from './containers/exec.ts'
import { watchHealth } from './containers/health.ts'
import { createLifecycle, type Lifecycle, shouldRestart } from './containers/lifecycle.ts'
import { keptAs, LOG_DRIVER_NAMES } from './containers/log/settings.ts'
import { createLogShipping } from './containers/log/ship.ts'
import { ownerOf } from './containers/bundle.ts'
import { withSharedName } from './containers/network/owner.ts'
import { type ConnectingPorts, type NetworkingPorts, refreshConsumers } from './containers/network/networking.ts'
import { portRequests } from './containers/request/ports.ts'
import { removeContainer, type RemovePorts } from './containers/remove.ts'
import { cgroupsPathOf } from './containers/spec/spec.ts'
import { etcDirectory } from './containers/spec/etc-files.ts'
import type { StartPorts } from './containers/start.ts'
import { volumesOf } from './containers/mounts/prepare.ts'
import { openContainerStore } from './containers/store.ts'
import { fillVolume } from './containers/mounts/fill.ts'
import { createEngine } from './engine/engine.ts'
import { ensureBundledImage } from './images/bundled.ts'
import { watchImages } from './images/gc.ts'
import { imageHandlers } from './images/handlers.ts'
import { listImages, resolveImage } from './images/images.ts'
import { createImageProcess, spoolArchiveWith, writeLayerWith } from './images/process/client.ts'
import { createRegistries, registryView } from './images/registries.ts'
import { createTransfers } from './images/transfers.ts'
import type { DaemonEngine, DaemonJobs } from './jobs/jobs.ts'
import { networkHandlers } from './networks/handlers.ts'
import { restore } from './restore.ts'
import { NO_FILTERS } from './server/filters.ts'
import { createAuthorization } from './server/authorization.ts'
import { openListeners } from './server/listen.ts'
import { createRouter } from './server/router.ts'
import { buildRoutes } from './server/routes/build.ts'
import { containerRoutes } from './server/routes/containers.ts'
import { debugRoutes } from './server/routes/debug.ts'
import { imageRoutes } from './server/routes/images.ts'
import { networkRoutes } from './server/routes/networks.ts'
import { missingRoutes } from './server/routes/missing.ts'
import { systemRoutes } from './server/routes/system.ts'
import { createEvents, volumeAttributes, withPruneEvents } from './system/events.ts'
import { systemHandlers } from './system/handlers.ts'
import { GANTRY_VERSION, infoView, versionView } from './system/info.ts'
import { serveMetrics } from './system/metrics.ts'
import type { MakePorts } from './volumes/make.ts'
import { createVolumeUse } from './volumes/use.ts'
import { openVolumes } from './volumes/volumes.ts'

const log = logger('daemon')
const LAUNCHER_PATIENCE_MS = 5000

/** A daemon that runs. */
export interface Daemon {
  readonly engine: DaemonEngine
  readonly graphDriver: string
  stop(): Promise<void>
  /** Takes over what may change while it runs: registries, transfers at a time, default runtime, patience of a stop. A bad setting is an error, and nothing has changed. */
  reload(config: DaemonConfig): void
  /** Resolves with the reason when the daemon cannot go on. */
  readonly failed: Promise<string>
}

/** pid and start time of a process: a number alone may have been given to another. */
function processMark(pid: number): string {
  const startTime = startTimeOf(pid)
  return startTime === '' ? '' : `${pid} ${startTime}`
}

/** The launcher of a daemon that was killed may still carry out what it had been sent. */
async function awaitFormerLauncher(execRoot: string): Promise<void> {
  const mark = readText(`${execRoot}/launcher`)
  const until = Date.now() + LAUNCHER_PATIENCE_MS
  while (mark !== undefined && mark !== '' && processMark(Number(mark.split(' ')[0])) === mark) {
    if (Date.now() > until) throw new EngineError('conflict', `another daemon uses ${execRoot}: its launcher runs as pid ${mark.split(' ')[0]}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

/** One daemon for one state: the lock is the pid file with the start time beside it. */
function takePidFile(path: string): void {
  const held = readText(path)?.trim()
  const other = held === undefined ? '' : processMark(Number(held.split('\n')[0]))
  if (held !== undefined && other !== '' && held.split('\n')[1] === other && Number(held.split('\n')[0]) !== process.pid) throw new EngineError('conflict', `another daemon runs as pid ${held.split('\n')[0]} (pid file ${path})`)
  replaceFile(path, `${process.pid}\n${processMark(process.pid)}\n`, 0o644)
}

function daemonId(dataRoot: string): string {
  const path = `${dataRoot}/daemon-id`
  const known = readText(path)?.trim()
  if (known !== undefined) return known
  const id = newId().slice(0, 36)
  writeFileSync(path, `${id}\n`, { mode: 0o600 })
  return id
}

/** Boots a daemon: the only place that sees all rooms. Listeners open at once; requests wait until everything is there. */
export async function startDaemon(config: DaemonConfig): Promise<Daemon> {
  mkdirSync(config.dataRoot, { recursive: true, mode: 0o710 })
  mkdirSync(config.execRoot, { recursive: true, mode: 0o711 })
  takePidFile(config.pidFile)
  await awaitFormerLauncher(config.execRoot)
  const host = await openHost(config)
  writeFileSync(`${config.execRoot}/launcher`, processMark(host.launcher.pid))
  const db = openDatabase(`${config.dataRoot}/gantry.db`)
  const ownId = daemonId(config.dataRoot)
  const events = createEvents()
  // What may be told anew while it runs is read from here.
  let current = config
  const work = createImageProcess({ file: config.imageProcess, directory: config.execRoot })
  const driver = await chooseDriver({ root: config.dataRoot, trees: host.trees, asked: config.storageDriver, scratch: `${config.execRoot}/rootfs` })
  const graph = openGraph({ root: config.dataRoot, db, trees: host.trees, driver, write: writeLayerWith(work), spool: spoolArchiveWith(work) })
  const store = openContainerStore(db, graph.names)
  /** Those that people know of: steps of builds are none of them. */
  const listed = (): readonly Container[] => store.list().filter((container) => container.document.build !== true)
  const volumes = openVolumes(db, `${config.dataRoot}/volumes`, (path) => {
    graph.releaseLimit(`volume ${basename(path)}`)
    graph.discard(path)
  }, host.mounts)
  const networks = await createController({ launcher: host.launcher, db, bridge: config.bridge, ipForward: config.ipForward, firewall: config.firewall, ownTable: config.ownFirewallTable, respectHost: config.respectHostFirewall, ipv6ByDefault: existsSync('/proc/net/if_inet6'), pools: config.addressPools, hostBinding: config.hostBinding, resolversAtStart: config.containerd === undefined })
  const external = [...config.runtimes.map((one) => externalDriver(host, one, `${config.execRoot}/runtimes`)), ...(config.lxcStart === undefined ? [] : [lxcDriver(host, config.lxcStart)])]
  const runtimes: ReadonlySet<string> = new Set([NATIVE, ...external.map((one) => one.name)])
  const runtimeOf = (id: string): string | undefined => store.get(id)?.document.hostConfig.Runtime
  const cgroupsPath = (id: string): string | undefined => {
    const container = store.get(id)
    return container && cgroupsPathOf(container.document)
  }
  const supervisor = config.containerd === undefined
    ? createSupervisor(byRuntime([nativeDriver(host.factory), ...external], runtimeOf), { startTimeoutMs: config.startTimeoutMs, stateDirectory: `${config.execRoot}/c` })
    : await connectSupervisor({ address: config.containerd, runtimeOf, cgroupsPathOf: cgroupsPath })
  const knownCapabilities = capabilitiesOf(/^CapEff:\s*(\w+)/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0')
  const apparmor = await prepareAppArmor()
  if (apparmor.problem !== undefined) log.warn('containers run without an AppArmor profile', { problem: apparmor.problem })
  const cgroupVersion = host.cgroups.layout.version
  const limits = { version: cgroupVersion, supports: (file: string) => host.cgroups.supports(file) }
  const containerDirectory = (id: string): string => `${config.dataRoot}/containers/${id}`

  const emit = (container: Container, action: string, attributes: Readonly<Record<string, string>> = {}): void =>
    container.document.build === true ? undefined : events.emit('container', action, container.id, { ...container.document.config.Labels, image: container.document.config.Image, name: container.name, ...attributes })
  const emitImage = (action: string, id: string, attributes: Readonly<Record<string, string>>): void => events.emit('image', action, id, { ...graph.images.get(id)?.config.config?.Labels, ...attributes })
  const registries = createRegistries(config.registries)
  const images = {
    graph, containers: () => store.list(), emit: emitImage,
    pull: { graph, work, registries, emit: emitImage, transfers: createTransfers(() => (current.downloads === 0 ? Math.max(3, availableParallelism()) : current.downloads)) },
    push: { graph, work, registries, emit: emitImage, uploads: createTransfers(() => Math.max(1, current.uploads)), compression: config.pushCompression },
  }
  const logPath = (container: Container): string => `${containerDirectory(container.id)}/${container.id}-${keptAs(container.document.hostConfig.LogConfig.Type) ?? 'json'}.log`
  const shipping = createLogShipping({ host: { sendDatagrams: (path, messages) => host.sendDatagrams(path, messages) }, logPath })
  const making: MakePorts = {
    volumes,
    limitVolume: (volume, bytes) => graph.limitDirectory(`volume ${volume.name}`, volume.mountPoint, bytes),
    emitVolume: (action, volume) => events.emit('volume', action, volume.name, { driver: volume.driver }),
  }
  const volumeUse = createVolumeUse(volumes, () => new Set(store.list().flatMap((one) => (one.task === undefined && !one.state.starting ? [] : volumesOf(one)))))
  const removePorts: RemovePorts = { ...making, store, graph, supervisor, containerDirectory, emit, kill: (container) => lifecycle.kill(container, 'SIGKILL').catch(ignoreNotRunning) }
  const remove = (container: Container): Promise<void> => removeContainer(removePorts, container, { volumes: container.document.hostConfig.AutoRemove })
  const networking: NetworkingPorts = { networks, dns: config.dns, hostGateway: config.hostGateway, store }
  const connecting: ConnectingPorts = { ...networking, replace: (container, document) => store.replace(container, document), etcDirectory: (id) => etcDirectory(config.execRoot, id), owner: (container) => ownerOf(start, container) }
  const start: Omit<StartPorts, 'watch'> = {
    ...networking, logs: shipping, refreshConsumers: (container) => refreshConsumers(connecting, container),
    graph, supervisor, volumeUse, knownCapabilities, apparmor: apparmor.enabled, cgroupVersion, users: config.users, execRoot: config.execRoot, cdiDirectories: config.cdiDirectories, emit, discard: (path) => host.discarder.discard(path),
    logPath: (container) => {
      mkdirSync(containerDirectory(container.id), { recursive: true, mode: 0o710 })
      return logPath(container)
    },
    emitNetworks: (container, action, sandbox) => {
      for (const endpoint of sandbox.endpoints) events.emit('network', action, endpoint.networkId, { name: endpoint.networkName, type: networks.network(endpoint.networkId)?.driver ?? 'bridge', container: container.id })
    },
    emitVolumes: (container, action) => {
      for (const mount of container.document.mounts) if (mount.type === 'volume') events.emit('volume', action, mount.name, volumeAttributes(container.id, mount, action))
    },
    fillVolume: (container, mount, image) => fillVolume({ graph, trees: host.trees, volumes, execRoot: config.execRoot }, container, mount, image),
  }
  const exec: ExecPorts = {
    store, graph, supervisor, streams: host.streams, trees: host.trees, emit,
    specInput: (container, identity) => ({
      ...withSharedName(start, container), identity, mounts: container.document.mounts, knownCapabilities, apparmor: apparmor.enabled, cgroupVersion, users: config.users,
      pidOf: (key) => store.find(key).task?.pid ?? 0,
    }),
  }
  const lifecycle: Lifecycle = createLifecycle({ start, onRunning: (container, task) => {
    watchHealth(exec, container, task, (action) => (action === 'restart' ? lifecycle.restart(container, {}) : action === 'stop' ? lifecycle.stop(container, {}) : lifecycle.kill(container, 'SIGKILL')))
    shipping.follow(container)
  }, store, supervisor, lock: keyedLock(), execRoot: config.execRoot, emit, remove, discard: (path) => host.discarder.discard(path) })
  const create: CreatePorts = { ...making, store, graph, knownCapabilities, apparmor: apparmor.enabled, limits, runtimes, get defaultRuntime() {
    return current.defaultRuntime
  }, get defaultLog() {
    return current.defaultLog
  }, containerBytes: config.containerBytes, remapped: config.users !== undefined, emit, resolveImage: (name) => resolveImage(graph, name), findNetwork: (name) => networks.network(name) }
  const views = { graph, store, apparmor: apparmor.enabled, execRoot: config.execRoot, network: (name: string) => networks.network(name), logPath }
  const engine: DaemonEngine = createEngine<DaemonJobs>(withPruneEvents(events, {
    ...containerHandlers({
      store, streams: host.streams, lifecycle, start, remove: removePorts, images, emit,
      update: {
        store, driver: supervisor.driver, limits, emit,
        mounts: { ...making, graph, volumeUse, liveMounts: host.liveMounts, users: config.users, resolveImage: (name) => resolveImage(graph, name), replace: (container, document) => store.replace(container, document) },
        republish: async (container, hostConfig) => {
          const wanted = portRequests(container.document.config, hostConfig)
          if (container.task !== undefined) await networks.republish(container.id, wanted)
        },
      },
      create,
      checkpoints: { start, containerDirectory },
      exec,
      list: { ...views, list: listed, find: (key) => store.find(key), imageName: (container) => shownImage(graph.tags, container) },
      archive: { graph, trees: host.trees, execRoot: config.execRoot, users: config.users },
    }),
    ...imageHandlers(images),
    ...buildHandlers({
      graph, trees: host.trees, execRoot: config.execRoot, images, version: GANTRY_VERSION, gc: readGc(config.builder, diskBytesOf(config.dataRoot)), entitlements: readEntitlements(config.builder), hostGateway: () => (config.hostGateway !== '' ? config.hostGateway : (networks.network('bridge')?.ipam.pools.find((pool) => pool.gateway !== '')?.gateway ?? '')), mounts: openCacheMounts(`${config.dataRoot}/build/mounts`, { db, discard: (path) => graph.discard(path), fill: (seed, path) => fillDirectory({ graph, execRoot: config.execRoot, trees: host.trees }, seed, path) }),
      contexts: openContextStore(`${config.dataRoot}/build/contexts`, db), cache: openBuildCache(db, graph.layers),
      run: (step) => runStep({ graph, create, streams: host.streams, lifecycle, execRoot: config.execRoot, remove, discard: (path) => host.discarder.discard(path) }, step),
    }),
    ...networkHandlers({
      networks, containers: () => store.list(),
      connecting,
      emit: (action, network, attributes = {}) => events.emit('network', action, network.id, { name: network.name, type: network.driver, ...attributes }),
    }),
    ...systemHandlers({
      usage: {
        graph, volumes, dataRoot: config.dataRoot, containers: () => store.list(), containerDirectory, count: (request) => work.run('usage', request),
        buildCache: () => engine.run('build.cache', {}),
        imageRows: () => listImages(images, { all: true, filters: NO_FILTERS }),
        containerRows: () => engine.run('container.list', { apiVersion: 0, all: true, limit: 0, size: false, filters: NO_FILTERS }),
      },
      readVolume: (volume, write) =>
        volumeUse.during(volume.name, async () => {
          await host.trees.read({ kind: 'directory', path: volume.mountPoint }, '/', { data: true, oneFilesystem: true }, async (reader) => {
            for await (const chunk of treeToTar(reader, { whiteouts: false, rename: (path) => (path === '.' ? undefined : path) })) await write(chunk)
          })
        }),
      writeVolume: (volume, archive) =>
        volumeUse.during(volume.name, async () => {
          const tar = await decompressed(archive)
          await host.trees.write({ kind: 'directory', path: volume.mountPoint }, '/', { strict: false }, async (socket) => void (await feedTar(tar, socket, 'apply')))
        }),
      renameVolume: (from, to) => {
        volumes.rename(from, to)
        graph.moveLimit(`volume ${from}`, `volume ${to}`)
        for (const container of store.list()) {
          if (!container.document.mounts.some((mount) => mount.type === 'volume' && mount.name === from)) continue
          store.replace(container, { ...container.document, mounts: container.document.mounts.map((mount) => (mount.type === 'volume' && mount.name === from ? { ...mount, name: to, source: volumes.get(to)?.mountPoint ?? mount.source } : mount)) })
        }
      },
      ...making, events, bytesIn: (path) => graph.bytesIn(path), containers: () => store.list(), version: versionView, jobs: () => engine.jobs(),
      info: () => infoView({ graph, logDrivers: LOG_DRIVER_NAMES, registryConfig: registryView(registries), apparmor: apparmor.enabled, config: current, events, limits, daemonId: ownId, quarantined: store.quarantined, containers: listed, jobs: () => engine.jobs().length }),
    }),
  }))

  const accepted = Promise.withResolvers<void>()
  accepted.promise.catch(() => undefined)
  const router = createRouter([...containerRoutes(engine), ...imageRoutes(engine), ...buildRoutes(engine), ...networkRoutes(engine), ...systemRoutes(engine), ...debugRoutes(engine, () => current.logLevel === 'debug'), ...missingRoutes()], (socket) => void engine.run('build.connect', { socket, header: undefined }).catch((cause: unknown) => log.debug('a connection was not served', { cause })))
  const listeners = openListeners(config, router, accepted.promise, createAuthorization(() => current.authorizationPlugins))
  listeners.catch(() => undefined) // awaited below, once the state is there
  try {
    await restore({ store, supervisor, networks, graph, host, lifecycle, execRoot: config.execRoot, remove })
    await volumeUse.sweep()
    await ensureBundledImage(graph, config.busybox)
    const servers = await listeners
    const metrics = config.metricsAddress === '' ? [] : [await serveMetrics({ driver: supervisor.driver, events, version: GANTRY_VERSION, graphDriver: graph.driver.name, daemonId: ownId, containers: listed }, config.metricsAddress)]
    // What was left over when the last daemon ended.
    for (const container of store.list()) if (container.task === undefined && container.state.startedAt !== '') shipping.follow(container)
    startPolicies(store.list(), lifecycle)
    const endWatch = watchImages(images, config.imageGcKeepBytes)
    engine.onShutdown('end the watch over images', async () => endWatch())
    accepted.resolve()
    engine.onShutdown('close the state', async () => db[Symbol.dispose]())
    engine.onShutdown('leave the supervisor', () => supervisor.close())
    engine.onShutdown('keep what is left of the logs for later', () => shipping.close())
    engine.onShutdown('stop the launcher', () => host[Symbol.asyncDispose]())
    engine.onShutdown('stop the image process', async () => work.close())
    engine.onShutdown('empty the trash', () => graph[Symbol.asyncDispose]())
    engine.onShutdown('take the network down', async () => (store.list().some((container) => container.task !== undefined) ? undefined : networks.destroy()))
    engine.onShutdown('close the listeners', () => closeListeners([...servers, ...metrics], config))
  } catch (error) {
    accepted.reject(error)
    throw error
  }
  log.info('ready', { hosts: config.hosts, storage: graph.driver.name, exec: supervisor.driver.name, cgroup: cgroupVersion })
  return {
    engine,
    graphDriver: graph.driver.name,
    failed: host.launcher.lost.then(() => 'the launcher has ended'),
    reload(next) {
      if (!runtimes.has(next.defaultRuntime)) throw new EngineError('invalid', `default-runtime: "${next.defaultRuntime}" is not known to the daemon that runs; restart it`)
      registries.reload(next.registries)
      current = next
      events.emit('daemon', 'reload', ownId, { name: hostname(), 'default-runtime': next.defaultRuntime, 'registry-mirrors': JSON.stringify(next.registries.mirrors), 'insecure-registries': JSON.stringify(next.registries.insecure), 'max-concurrent-downloads': String(next.downloads), 'max-concurrent-uploads': String(next.uploads), 'shutdown-timeout': String(next.shutdownTimeoutSeconds) })
    },
    async stop() {
      await engine.shutdown(current.shutdownTimeoutSeconds * 1000)
      if (store.list().every((container) => container.task === undefined)) host.cgroups.release()
      rmSync(config.pidFile, { force: true })
      rmSync(`${config.execRoot}/launcher`, { force: true })
      rmSync(`${config.execRoot}/streams.sock`, { force: true })
      const runtimes = `${config.execRoot}/runtimes`
      for (const name of existsSync(runtimes) ? readdirSync(runtimes) : []) removeIfEmpty(`${runtimes}/${name}`)
      for (const directory of ['c', 'etc', 'rootfs', 'runtimes', '']) removeIfEmpty(`${config.execRoot}/${directory}`)
    },
  }
}

/** A clean stop leaves no empty directory behind. */
function removeIfEmpty(path: string): void {
  try {
    rmdirSync(path)
  } catch (error) {
    if (!hasCode(error, 'ENOENT', 'ENOTEMPTY', 'EBUSY')) throw error
  }
}

/** What the restart policies say after a boot. */
function startPolicies(containers: readonly Container[], lifecycle: Lifecycle): void {
  for (const container of containers) {
    const { Name } = container.document.hostConfig.RestartPolicy
    // A boot starts what was stopped by hand, too, where the policy is `always`.
    const wanted = Name === 'always' || shouldRestart(container, container.state.exitCode)
    if (!wanted || container.task !== undefined || container.state.startedAt === '' || container.restartTimer !== undefined) continue
    lifecycle.start(container).catch((cause: unknown) => log.warn('cannot start by its restart policy', { id: container.id, cause }))
  }
}

/** What `ps` calls the image: the name it was made from while that still leads to it. */
function shownImage(tags: { get(reference: string): string | undefined }, container: Container): string {
  const { Image } = container.document.config
  try {
    return tags.get(familiarString(parseReference(Image))) === container.document.imageId || container.document.imageId.includes(Image.replace('sha256:', '')) ? Image : container.document.imageId
  } catch (error) {
    if (error instanceof EngineError) return Image
    throw error
  }
}

function ignoreNotRunning(error: unknown): void {
  if (!(error instanceof EngineError) || error.kind !== 'conflict') throw error
}

async function closeListeners(servers: readonly Server[], config: DaemonConfig): Promise<void> {
  await Promise.all(
    servers.map(
      (server) =>
        new Promise<void>((resolve) => {
          server.close(() => resolve())
          server.closeAllConnections()
        }),
    ),
  )
  for (const host of config.hosts) {
    const path = host.startsWith('unix://') ? host.slice('unix://'.length) : ''
    if (path !== '' && existsSync(path)) {
      try {
        rmSync(path)
      } catch (error) {
        if (!hasCode(error, 'ENOENT')) throw error
      }
    }
  }
}

