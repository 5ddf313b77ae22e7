import { existsSync } from 'node:fs'
import { asObject, asString, asStrings, EngineError } from '@gantry/std'

/** An OCI runtime that containers can ask for. */
export interface RuntimeSetting {
  readonly name: string
  readonly path: string
  readonly args: readonly string[]
}

/** Runtimes that need not be named where they are installed. */
const WELL_KNOWN = ['runc', 'crun'] as const
const OWN = new Set(['gantry', 'lxc'])
const NAME = /^[a-zA-Z0-9][\w.-]{0,63}$/

/** Finds a program as a shell does. */
export function findProgram(name: string, path: string): string | undefined {
  if (name.includes('/')) return name
  return path.split(':').map((directory) => `${directory}/${name}`).find((candidate) => existsSync(candidate))
}

function setting(name: string, program: string, args: readonly string[], path: string): RuntimeSetting {
  if (!NAME.test(name) || OWN.has(name)) throw new EngineError('invalid', `invalid runtime name "${name}"`)
  return { name, path: findProgram(program, path) ?? program, args }
}

/** Reads `--add-runtime name=path` and the file's `runtimes`; what is installed under a well-known name is there without being asked for. */
export function readRuntimes(flags: readonly string[], file: unknown, path: string): readonly RuntimeSetting[] {
  const found = new Map<string, RuntimeSetting>()
  for (const name of WELL_KNOWN) {
    const program = findProgram(name, path)
    if (program !== undefined) found.set(name, { name, path: program, args: [] })
  }
  for (const [name, value] of Object.entries(asObject(file, 'runtimes'))) {
    const object = asObject(value, `runtimes.${name}`)
    if (asString(object['runtimeType'], `runtimes.${name}.runtimeType`) !== '') throw new EngineError('unsupported', `runtimes.${name}.runtimeType: shims of containerd are not supported, only OCI runtimes by their path`)
    const program = asString(object['path'], `runtimes.${name}.path`)
    if (program === '') throw new EngineError('invalid', `runtimes.${name}.path: expected the path of a program`)
    found.set(name, setting(name, program, asStrings(object['runtimeArgs'], `runtimes.${name}.runtimeArgs`), path))
  }
  for (const flag of flags) {
    const at = flag.indexOf('=')
    if (at <= 0 || at === flag.length - 1) throw new EngineError('invalid', `--add-runtime: expected name=path, got "${flag}"`)
    found.set(flag.slice(0, at), setting(flag.slice(0, at), flag.slice(at + 1), [], path))
  }
  return [...found.values()]
}
