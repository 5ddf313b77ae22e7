import { type SyscallProgram, syscallProgram } from '@gantry/linux'
import { EngineError } from '@gantry/std'
import type { OciSpec } from '../spec/oci.ts'
import { HOST_ENVIRONMENT, runProgram } from './child.ts'
import type { StartPlan } from './plan.ts'

/** Flags of both ways: cgroups are ours, established connections, outside sockets and locks are kept. */
export const CRIU_FLAGS = ['--manage-cgroups=ignore', '--tcp-established', '--ext-unix-sk', '--file-locks', '-v2'] as const

/** Places whose mounts come from outside of the container, and what they show. */
export type ExternalMounts = readonly (readonly [destination: string, source: string])[]

/** Binds of the specification, and the views of the hierarchies of version 1. */
export function externalMounts(spec: OciSpec, plan: StartPlan['cgroup']): ExternalMounts {
  const binds = spec.mounts.filter((mount) => mount.type === 'bind').map((mount) => [mount.destination, mount.source] as const)
  const cgroup = spec.mounts.find((mount) => mount.type === 'cgroup')
  if (cgroup === undefined || plan.version === 2) return binds
  return [...binds, ...plan.directories.filter((one) => one.path !== plan.unified).map((one) => {
    const named = one.controllers.find((name) => name.startsWith('name='))
    return [`${cgroup.destination}/${named === undefined ? one.controllers.join(',') : named.slice('name='.length)}`, one.path] as const
  })]
}

/** Under which name a mount from outside is known to CRIU. */
export const keyOf = (destination: string): string => destination.replaceAll('/', '_')

/** What cannot be frozen and thawed again here. */
export function checkCheckpoint(spec: OciSpec): void {
  if (spec.process.terminal) throw new EngineError('unsupported', 'checkpoint: a container with a terminal is not supported')
  for (const { type, path } of spec.linux.namespaces) if (path !== undefined || type === 'user' || type === 'time') throw new EngineError('unsupported', `checkpoint: a container with ${path === undefined ? `a ${type} namespace of its own` : `the ${type} namespace of another`} is not supported`)
  if (!spec.linux.namespaces.some((one) => one.type === 'pid')) throw new EngineError('unsupported', 'checkpoint: a container in the host’s pid namespace is not supported')
}

/** What a dump needs beside the container. */
export interface DumpPlan {
  /** Path of CRIU. */
  readonly criu: string
  readonly pid: number
  readonly directory: string
  readonly external: ExternalMounts
  /** Inode of its network namespace, where it has one of its own. */
  readonly network: number | undefined
  readonly leaveRunning: boolean
}

/** Writes the state of all processes of a container into a directory. */
export function dumpProgram(plan: DumpPlan): SyscallProgram {
  const { criu, pid, directory } = plan
  const args = [
    criu, 'dump', '--tree', String(pid), '--images-dir', directory, '--work-dir', directory, '--log-file', 'dump.log', ...CRIU_FLAGS,
    ...(plan.network === undefined ? [] : ['--external', `net[${plan.network}]:network`]),
    ...plan.external.flatMap(([destination]) => ['--external', `mnt[${destination}]:${keyOf(destination)}`]),
    ...(plan.leaveRunning ? ['--leave-running'] : []),
  ]
  return syscallProgram((p) => runProgram(p, 'criu dump', { path: criu, args, env: HOST_ENVIRONMENT }))
}
