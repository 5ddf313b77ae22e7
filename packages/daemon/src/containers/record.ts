import type { ContainerConfig, HostConfig, MountPoint } from '@gantry/api'
import type { EndpointRequest } from '@gantry/libnetwork'
import type { Health } from './health.ts'

/** A mount as it was settled at create. */
export interface SettledMount {
  readonly type: 'bind' | 'volume' | 'tmpfs' | 'image'
  /** Volume name, for volumes; the image as it was asked for, for images. */
  readonly name: string
  /** Of images: which one that was at create. */
  readonly imageId?: string
  /** Driver of the volume; local where none is named. */
  readonly driver?: string
  readonly source: string
  readonly destination: string
  readonly readOnly: boolean
  readonly recursive: boolean
  readonly propagation: string
  readonly mode: string
  /** The image's content is not copied into an empty volume. */
  readonly noCopy: boolean
  readonly anonymous: boolean
  /** Of images: a container's writable layer that lies above. */
  readonly above?: string
  /** What of a volume or an image is mounted; empty: all. */
  readonly subpath: string
  /** Read-only without the mounts below it. */
  readonly topReadOnly?: boolean
  /** tmpfs options. */
  readonly options: readonly string[]
}

/** What is fixed once a container is made. */
export interface ContainerDocument {
  readonly id: string
  readonly createdAt: number
  readonly imageId: string
  readonly config: ContainerConfig
  readonly hostConfig: HostConfig
  readonly mounts: readonly SettledMount[]
  readonly path: string
  readonly args: readonly string[]
  readonly networkMode: string
  /** A step of a build runs in it: nobody lists it, and a restart removes it. */
  readonly build?: true
  /** The networks that it is in, that of the mode first; records of earlier versions have only the mode. */
  readonly endpoints?: readonly EndpointRequest[]
}

/** What changes while it lives. */
export interface ContainerState {
  status: 'created' | 'running' | 'exited'
  /** A start is on its way: durable before anything is made, so that a crash can be tidied. */
  starting: boolean
  paused: boolean
  restarting: boolean
  oomKilled: boolean
  pid: number
  exitCode: number
  error: string
  /** Nanoseconds since 1970 as text; empty: never. */
  startedAt: string
  finishedAt: string
  restartCount: number
  /** The user stopped it: no restart policy applies. */
  manuallyStopped: boolean
  /** What health checks have found of the process that runs. */
  health?: Health | undefined
}

/** One step of a start as it is kept for `trace`. */
export interface KeptStep {
  readonly phase: string
  readonly what: string
  readonly side: 'daemon' | 'shim' | 'init'
  /** Microseconds since the request. */
  readonly from: number
  readonly to: number
}

/** The state of a container that has just been made. */
export function freshState(): ContainerState {
  return { status: 'created', starting: false, paused: false, restarting: false, oomKilled: false, pid: 0, exitCode: 0, error: '', startedAt: '', finishedAt: '', restartCount: 0, manuallyStopped: false }
}

/** The mount as inspect and list show it. */
export function mountPoint(mount: SettledMount): MountPoint {
  return {
    Type: mount.type,
    ...((mount.type === 'volume' || mount.type === 'image') && { Name: mount.name }),
    Source: mount.source,
    Destination: mount.destination,
    ...(mount.type === 'volume' && { Driver: mount.driver ?? 'local' }),
    Mode: mount.mode,
    RW: !mount.readOnly,
    Propagation: mount.type === 'bind' || mount.type === 'image' ? mount.propagation : '',
  }
}
