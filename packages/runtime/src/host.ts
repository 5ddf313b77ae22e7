import { mkdirSync } from 'node:fs'
import { createDiscarder, type Discarder, EngineError, logger } from '@gantry/std'
import { type CgroupManager, cgroupManager, createFactory, type ExternalRuntime, type Factory, type LxcRuntime } from '@gantry/libcontainer'
import { createTrees, livesInChroot, type Launcher, listenForStreams, startLauncher, type StreamServer, type Trees } from '@gantry/linux'

const log = logger('runtime.host')

/** What the house stands on: the launcher, the streams, the trees, the containers. */
export interface Host extends AsyncDisposable {
  readonly launcher: Launcher
  readonly streams: StreamServer
  readonly trees: Trees
  readonly cgroups: CgroupManager
  readonly factory: Factory
  /** Containers whose inside another runtime builds. */
  factoryFor(runtime: ExternalRuntime | LxcRuntime): Factory
  readonly helper: string
  /** Takes directories of the exec root that are not needed any more. */
  readonly discarder: Discarder
}

/** Where things are. */
export interface HostOptions {
  readonly helper: string
  readonly execRoot: string
  readonly cgroupParent: string
}

/** Starts the launcher while the daemon is still small, and opens what the libraries need of the host. */
export async function openHost(options: HostOptions): Promise<Host> {
  mkdirSync(options.execRoot, { recursive: true, mode: 0o700 })
  const launcher = await startLauncher(options.helper)
  if (await livesInChroot(launcher)) {
    await launcher[Symbol.asyncDispose]()
    throw new EngineError('unsupported', 'the daemon runs in a chroot: containers could be left through it; enter the root with pivot_root(8) in a mount namespace of its own instead')
  }
  const streams = await listenForStreams(`${options.execRoot}/streams.sock`)
  const cgroups = cgroupManager(options.cgroupParent)
  cgroups.prepare()
  const discarder = createDiscarder({ directory: `${options.execRoot}/trash`, onError: (name, cause) => log.warn('cannot remove', { name, cause }) })
  return {
    launcher,
    streams,
    trees: createTrees(launcher, streams),
    cgroups,
    discarder,
    factory: createFactory({ root: options.execRoot, launcher, cgroups, discarder }),
    factoryFor: (external) => createFactory({ root: options.execRoot, launcher, cgroups, discarder, external }),
    helper: options.helper,
    async [Symbol.asyncDispose]() {
      discarder.flush()
      await streams[Symbol.asyncDispose]()
      await launcher[Symbol.asyncDispose]()
    },
  }
}
