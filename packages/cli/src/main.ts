import { createTransport } from '@gantry/api'
import { asString, hasCode } from '@gantry/std'
import { told } from './command.ts'
import { answerShell } from './completion-answer.ts'
import { configDirectory, openConfig } from './config-file.ts'
import { answers, startDaemon } from './daemon.ts'
import { DEFAULT_HOST, endpointOf, GLOBAL_FLAGS } from './endpoint.ts'
import { type Parsed, parseFlags } from './flags.ts'
import { COMMANDS } from './commands/all.ts'
import { help, helpFlag, unknown } from './help.ts'
import { findPlugins, runPlugin } from './plugins.ts'
import { checkCount, findCommand, GROUPS, usageOf } from './usage.ts'

/** A plugin finds the daemon as we do: where nothing says otherwise it is told of ours. */
function plugin(path: string, globals: Parsed, argv: readonly string[]): Promise<number> {
  const { host } = endpointOf(globals)
  const env = { ...process.env, DOCKER_CLI_PLUGIN_ORIGINAL_CLI_COMMAND: `${process.env['GANTRY_ROOT'] ?? ''}/gantry` }
  return runPlugin(path, argv, host === DEFAULT_HOST ? { ...env, DOCKER_HOST: DEFAULT_HOST } : env)
}

async function main(argv: readonly string[]): Promise<number> {
  // Ours alone: no plugin and no daemon keeps anything there.
  delete process.env['NODE_COMPILE_CACHE']
  const globals = parseFlags(argv, GLOBAL_FLAGS, "Usage:  gantry [OPTIONS] COMMAND [ARG...]\n\nRun 'gantry --help' for more information", true)
  if (globals.text('config') !== '') process.env['DOCKER_CONFIG'] = globals.text('config')
  const [first = ''] = globals.rest
  if (first === '__complete') return answerShell(globals)
  if (first === 'help') return help(globals.rest.slice(1))
  if (globals.bool('help')) return help([])
  if (globals.bool('version')) return run({ ...globals, rest: ['version', '--format', 'Gantry version {{.Client.Version}}'] }, argv)
  return first === '' ? help([]) : run(globals, argv)
}

async function run(globals: Parsed, argv: readonly string[]): Promise<number> {
  const found = findCommand(COMMANDS, globals.rest)
  if (found === undefined) {
    const [first = '', second = ''] = globals.rest
    if (GROUPS[first] !== undefined && (second === '' || second === '--help' || second === '-h')) return help([first])
    const path = findPlugins(process.env).get(first)
    if (path !== undefined) return plugin(path, globals, argv)
    throw unknown(globals.rest)
  }
  const { command, called, rest } = found
  const usage = `Usage:  ${usageOf(command, called)}\n\nRun 'gantry ${called} --help' for more information`
  const parsed = parseFlags(rest, [...command.flags, helpFlag(command)], usage, command.stop === true)
  if (parsed.bool('help')) return help(called.split(' '))
  checkCount(command, called, parsed.rest.length)
  const endpoint = endpointOf(globals)
  const api = createTransport(endpoint)
  const root = process.env['GANTRY_ROOT']
  if (command.offline !== true && endpoint.host === DEFAULT_HOST && root !== undefined && !(await answers(api))) await startDaemon(api, root)
  const config = openConfig(configDirectory(process.env)).read
  return command.run({ api, host: endpoint.host, config, setting: (name) => asString(config()[name], name) }, parsed)
}

// Whoever read what is printed has had enough.
process.on('uncaughtException', (error) => {
  if (hasCode(error, 'EPIPE')) process.exit(0)
  process.stderr.write(`${error.stack ?? error.message}\n`)
  process.exit(1)
})

main(process.argv.slice(2)).then(
  (code) => {
    process.exitCode = code
    // Standard input may still be open.
    process.stdin.unref?.()
    if (process.stdout.writableLength === 0 && process.stderr.writableLength === 0) process.exit(code)
  },
  (error: unknown) => {
    const debug = /^(-D|--debug)$/.test(process.argv[2] ?? '') && error instanceof Error ? `${error.stack}\n` : ''
    process.stderr.write(`${told(error)}\n${debug}`)
    const { exitCode } = error as { readonly exitCode?: unknown }
    process.exit(typeof exitCode === 'number' && exitCode > 0 ? exitCode : 1)
  },
)
