import { mkdirSync, writeFileSync } from 'node:fs'
import { EngineError, exists, messageOf, readText } from '@gantry/std'
import type { Launcher, SyscallProgram } from '@gantry/linux'
import type { CgroupManager } from './cgroups/manager.ts'
import type { ExecOptions } from './factory.ts'
import { externalExecProgram, externalProgram, type ExternalRuntime, verbProgram } from './init/external.ts'
import type { StartPlan } from './init/plan.ts'
import { placedSpec } from './init/trees.ts'
import { encodeConfig, encodeProcess } from './spec/encode.ts'
import type { OciResources, OciSpec } from './spec/oci.ts'

/** What a factory does otherwise when another runtime builds the inside. */
export interface ExternalSide {
  program(id: string, plan: StartPlan): SyscallProgram
  writeConfig(id: string, spec: OciSpec): void
  /** Left out: as with every other container. */
  readonly exec?: (id: string, execId: number, options: ExecOptions) => SyscallProgram
  readonly pause?: (id: string, paused: boolean) => Promise<void>
  readonly update?: (id: string, resources: OciResources) => Promise<void>
  /** Makes the runtime forget a container whose shim is gone. */
  forget(id: string): Promise<void>
  /** The runtime's own words for a failure, where it left some. */
  explain(id: string, error: unknown): RuntimeFailure | undefined
}

/** Another runtime could not do it; the message is its own. */
export class RuntimeFailure extends EngineError {
  readonly exitCode: number
  constructor(message: string, exitCode: number, cause: unknown) {
    super('invalid', message, { cause })
    this.name = 'RuntimeFailure'
    this.exitCode = exitCode
  }
}

/** The last error in a runtime's log: JSON objects one behind the other, each on one line or on several. */
export function lastError(log: string): string | undefined {
  return log.match(/\{[^{}]*\}/g)?.map(entryOf).findLast((entry) => entry?.level === 'error')?.msg
}

function entryOf(text: string): { readonly level: string; readonly msg: string } | undefined {
  try {
    const { level, msg } = JSON.parse(text) as { level?: unknown; msg?: unknown }
    return typeof level === 'string' && typeof msg === 'string' ? { level, msg } : undefined
  } catch (error) {
    // A line that was cut off says nothing.
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}

/** Clients look for runc's words, whichever runtime it was. */
export function commonWords(message: string): string {
  return message.replace(/^.*?unable to start container process: (error during container init: )?/, '').replace(/executable file `([^`]*)` not found in \$PATH.*$/, 'exec: "$1": executable file not found in $$PATH').replace(/^(open executable): Operation not permitted$/, '$1: permission denied').replace(/: (No such file or directory|Permission denied)$/, (text) => text.toLowerCase())
}

/** What a shell would answer: 127 for what is not there, 126 for what cannot be executed. */
export function exitCodeOf(message: string): number {
  if (/executable file .*not found|no such file or directory/i.test(message)) return 127
  return /permission denied|is a directory|exec format error/i.test(message) ? 126 : 128
}

/** Opens that side. */
export function externalSide(runtime: ExternalRuntime, ports: { readonly launcher: Launcher; readonly mountPoint: string; readonly cgroups: CgroupManager; directory(id: string): string }): ExternalSide {
  mkdirSync(runtime.stateRoot, { recursive: true, mode: 0o700 })
  const { launcher, directory } = ports
  const explain = (id: string, error: unknown): RuntimeFailure | undefined => {
    const words = lastError(readText(`${directory(id)}/runtime.log`) ?? '')
    if (words === undefined) return undefined
    const message = commonWords(words)
    return new RuntimeFailure(message, exitCodeOf(message), error)
  }
  const ask = async (id: string, words: readonly string[]): Promise<void> => {
    try {
      await launcher.fork(verbProgram({ runtime, bundle: directory(id), id }, words))
    } catch (error) {
      throw explain(id, error) ?? new EngineError('internal', `${runtime.name} ${words.join(' ')}: ${messageOf(error)}`, { cause: error })
    }
  }
  return {
    explain,
    program: (id, plan) => externalProgram({ ...plan, id, bundle: directory(id), runtime }),
    writeConfig: (id, spec) => writeFileSync(`${directory(id)}/config.json`, JSON.stringify(encodeConfig(placedSpec(spec, directory(id)), ports.mountPoint, ports.cgroups.placeOf(id))), { mode: 0o600 }),
    exec(id, execId, options) {
      const processFile = `${directory(id)}/p${execId}`
      writeFileSync(processFile, JSON.stringify(encodeProcess(options.process)), { mode: 0o600 })
      writeFileSync(`${directory(id)}/runtime.log`, '')
      return externalExecProgram({ process: options.process, stdio: options.stdio, execId, id, bundle: directory(id), runtime, processFile })
    },
    pause: (id, paused) => ask(id, [paused ? 'pause' : 'resume', id]),
    async update(id, resources) {
      const file = `${directory(id)}/resources`
      writeFileSync(file, JSON.stringify({ ...resources, devices: [] }), { mode: 0o600 })
      await ask(id, ['update', '--resources', file, id])
    },
    async forget(id) {
      if (exists(`${runtime.stateRoot}/${id}`)) await ask(id, ['delete', '--force', id])
    },
  }
}
