import { mkdirSync } from 'node:fs'
import { createDiscarder, type Discarder, EngineError, logger } from '@gantry/std'
import { type CgroupManager, cgroupManager, createFactory, createLiveMounts, type ExternalRuntime, type Factory, type LiveMounts, type LxcRuntime } from '@gantry/libcontainer'
import { createHostMounts, createTrees, type HostMounts, livesInChroot, type Launcher, listenForStreams, sendDatagrams, startLauncher, type StreamServer, type Trees } from '@gantry/linux'

const log = logger('runtime.host')

/** What containers stand on. */
export interface Containers extends AsyncDisposable {
  readonly launcher: Launcher
  readonly cgroups: CgroupManager
  readonly factory: Factory
  /** Containers whose inside another runtime builds. */
  factoryFor(runtime: ExternalRuntime | LxcRuntime): Factory
  readonly helper: string
  /** Takes directories of the exec root that are not needed any more. */
  readonly discarder: Discarder
}

/** What the house stands on: containers, the streams, the trees. */
export interface Host extends Containers {
  readonly streams: StreamServer
  readonly trees: Trees
  readonly mounts: HostMounts
  readonly liveMounts: LiveMounts
  /** Sends messages to a datagram socket in the host's file system. */
  sendDatagrams(path: string, messages: readonly Uint8Array[]): Promise<void>
}

/** Where things are. */
export interface HostOptions {
  readonly helper: string
  readonly execRoot: string
  readonly cgroupParent: string
}

/** Starts the launcher, while this process is still small, and what starts containers through it. */
export async function openContainers(options: HostOptions): Promise<Containers> {
  mkdirSync(options.execRoot, { recursive: true, mode: 0o700 })
  const launcher = await startLauncher(options.helper, { handles: true })
  if (await livesInChroot(launcher)) {
    await launcher[Symbol.asyncDispose]()
    throw new EngineError('unsupported', 'the daemon runs in a chroot: containers could be left through it; enter the root with pivot_root(8) in a mount namespace of its own instead')
  }
  // What a shim that was killed leaves behind is reaped here; the host's first process may not care.
  await launcher.adoptOrphans()
  const cgroups = cgroupManager(options.cgroupParent)
  cgroups.prepare()
  const discarder = createDiscarder({ directory: `${options.execRoot}/trash`, onError: (name, cause) => log.warn('cannot remove', { name, cause }) })
  return {
    launcher,
    cgroups,
    discarder,
    factory: createFactory({ root: options.execRoot, launcher, cgroups, discarder }),
    factoryFor: (external) => createFactory({ root: options.execRoot, launcher, cgroups, discarder, external }),
    helper: options.helper,
    async [Symbol.asyncDispose]() {
      discarder.flush()
      await launcher[Symbol.asyncDispose]()
    },
  }
}

/** Opens what the libraries need of the host. */
export async function openHost(options: HostOptions): Promise<Host> {
  const containers = await openContainers(options)
  const streams = await listenForStreams(`${options.execRoot}/streams.sock`)
  return {
    ...containers,
    streams,
    trees: createTrees(containers.launcher, streams),
    mounts: createHostMounts(containers.launcher),
    liveMounts: createLiveMounts(containers.launcher),
    sendDatagrams: (path, messages) => sendDatagrams(containers.launcher, path, messages),
    async [Symbol.asyncDispose]() {
      await streams[Symbol.asyncDispose]()
      await containers[Symbol.asyncDispose]()
    },
  }
}
