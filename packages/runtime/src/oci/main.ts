import { appendFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { EngineError, messageOf } from '@gantry/std'
import { parseVerb, VERBS } from './commands.ts'
import { OCI_VERSION, openOciRuntime } from './runtime.ts'

const VERSION = '0.1.0'
const GLOBALS = { root: { type: 'string', default: '/run/gantry-runtime' }, log: { type: 'string', default: '' }, 'log-format': { type: 'string', default: 'text' }, debug: { type: 'boolean' }, 'systemd-cgroup': { type: 'boolean' }, rootless: { type: 'string', default: 'auto' }, version: { type: 'boolean', short: 'v' }, help: { type: 'boolean', short: 'h' } } as const

/** Global flags come before the verb. */
function split(words: readonly string[]): { readonly globals: readonly string[]; readonly verb: string | undefined; readonly rest: readonly string[] } {
  let at = 0
  while (at < words.length && (words[at] ?? '').startsWith('-')) at += ['--root', '--log', '--log-format', '--rootless'].includes(words[at] ?? '') ? 2 : 1
  return { globals: words.slice(0, at), verb: words[at], rest: words.slice(at + 1) }
}

const usage = (): string => `Usage: gantry-runtime [--root DIR] [--log FILE] [--log-format text|json] COMMAND\n\n${Object.values(VERBS).map((verb) => `  ${verb.usage}`).join('\n')}\n`

async function main(words: readonly string[]): Promise<number> {
  const { globals, verb: name, rest } = split(words)
  const { values } = parseArgs({ args: [...globals], options: GLOBALS, strict: true })
  const note = (level: 'error' | 'warning', message: string): void => {
    const time = new Date().toISOString()
    if (values.log !== '') appendFileSync(values.log, values['log-format'] === 'json' ? `${JSON.stringify({ level, msg: message, time })}\n` : `time="${time}" level=${level} msg=${JSON.stringify(message)}\n`)
  }
  const fail = (error: unknown): number => {
    const message = messageOf(error)
    note('error', message)
    process.stderr.write(`gantry-runtime: ${name === undefined ? '' : `${name}: `}${message}\n`)
    return 1
  }
  if (values.version === true) {
    process.stdout.write(`gantry-runtime version ${VERSION}\nspec: ${OCI_VERSION}\n`)
    return 0
  }
  if (values.help === true || name === undefined || name === 'help') {
    process.stdout.write(usage())
    return name === undefined && values.help !== true ? 1 : 0
  }
  const verb = VERBS[name]
  if (verb === undefined) return fail(new EngineError('invalid', `unknown command: ${name}\n\n${usage()}`))
  try {
    if (values.rootless !== 'auto' && values.rootless !== 'false') throw new EngineError('unsupported', `--rootless ${values.rootless}: this runtime needs root`)
    if (values['systemd-cgroup'] === true) throw new EngineError('unsupported', '--systemd-cgroup is not supported by this runtime')
    const helper = process.env['GANTRY_HELPER'] ?? `${process.env['GANTRY_ROOT'] ?? '.'}/build/gantry-helper`
    const parsed = parseVerb(verb, rest)
    return await verb.run(openOciRuntime({ root: values.root, helper, warn: (message) => note('warning', message) }), parsed.values, parsed.rest)
  } catch (error) {
    return fail(error)
  }
}

main(process.argv.slice(2)).then(
  (code) => process.exit(code),
  (error: unknown) => {
    process.stderr.write(`gantry-runtime: ${messageOf(error)}\n`)
    process.exit(1)
  },
)
