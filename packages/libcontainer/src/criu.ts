import { mkdirSync, readFileSync, readlinkSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { EngineError, exists, messageOf, readText } from '@gantry/std'
import type { Launcher, SyscallProgram } from '@gantry/linux'
import type { CgroupPlan } from './cgroups/manager.ts'
import { checkCheckpoint, dumpProgram, externalMounts } from './init/dump.ts'
import type { StartPlan } from './init/plan.ts'
import { restoreProgram } from './init/restore.ts'
import type { OciSpec } from './spec/oci.ts'

/** What a checkpoint is made of and where it goes. */
export interface CheckpointOptions {
  readonly pid: number
  readonly spec: OciSpec
  /** Must not be there yet. */
  readonly directory: string
  readonly leaveRunning: boolean
}

const DESCRIPTORS = 'descriptors.json'

/** Path of CRIU; an error that says how to have it. */
export function checkpointTool(): string {
  const path = (process.env['PATH'] ?? '').split(':').map((directory) => `${directory}/criu`).find(exists)
  if (path === undefined) throw new EngineError('unsupported', 'checkpoint: CRIU is not installed; try: apt-get install criu')
  return path
}

/** The last words of CRIU's log that say what went wrong. */
function criuError(path: string): string {
  const errors = (readText(path) ?? '').split('\n').filter((line) => line.includes('Error'))
  return errors.at(-1)?.replace(/^\([\d.]+\)\s+/, '').trim() ?? `see ${path}`
}

/** Writes a container's processes into a directory; they end with it unless they are to run on. */
export async function checkpoint(launcher: Launcher, cgroup: CgroupPlan, options: CheckpointOptions): Promise<void> {
  const { spec, pid, directory } = options
  const criu = checkpointTool()
  checkCheckpoint(spec)
  mkdirSync(directory, { mode: 0o700 })
  const descriptors = [0, 1, 2].map((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`))
  const network = spec.linux.namespaces.some((one) => one.type === 'network') ? statSync(`/proc/${pid}/ns/net`).ino : undefined
  try {
    await launcher.fork(dumpProgram({ criu, pid, directory, external: externalMounts(spec, cgroup), network, leaveRunning: options.leaveRunning }))
    writeFileSync(`${directory}/${DESCRIPTORS}`, JSON.stringify(descriptors), { mode: 0o600 })
  } catch (cause) {
    const words = criuError(`${directory}/dump.log`)
    rmSync(directory, { recursive: true, force: true })
    throw new EngineError('internal', `checkpoint: criu dump: ${words}`, { cause })
  }
}

/** The program of a start from such a directory. */
export function fromCheckpoint(plan: StartPlan, directory: string): SyscallProgram {
  const criu = checkpointTool()
  checkCheckpoint(plan.spec)
  if (!exists(`${directory}/${DESCRIPTORS}`)) throw new EngineError('not-found', `no checkpoint in ${directory}`)
  const descriptors = JSON.parse(readFileSync(`${directory}/${DESCRIPTORS}`, 'utf8')) as readonly string[]
  rmSync(`${directory}/pid`, { force: true })
  return restoreProgram({ ...plan, criu, directory, descriptors, external: externalMounts(plan.spec, plan.cgroup) })
}

/** Why a restore failed, in CRIU's words. */
export function restoreFailure(directory: string, cause: unknown): EngineError {
  return new EngineError('internal', `restore: ${messageOf(cause)}: ${criuError(`${directory}/restore.log`)}`, { cause })
}
