import type { Engine } from '../engine/engine.ts'
import type { BuildJobs } from './build.ts'
import type { ContainerJobs } from './containers.ts'
import type { ImageJobs } from './images.ts'
import type { NetworkJobs } from './networks.ts'
import type { SystemJobs } from './system.ts'

/** Everything that a client can ask for. */
export interface DaemonJobs extends BuildJobs, ContainerJobs, ImageJobs, NetworkJobs, SystemJobs {}

/** The engine of this daemon. */
export type DaemonEngine = Engine<DaemonJobs>
