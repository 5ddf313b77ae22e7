import { createTransport, type Endpoint } from '@gantry/api'
import { EngineError, messageOf } from '@gantry/std'
import { type Command } from './command.ts'
import { COMMANDS } from './commands/all.ts'
import { configDirectory } from './config-file.ts'
import { DEFAULT, openContexts } from './contexts.ts'
import { answers, startDaemon } from './daemon.ts'
import { type Flag, parseFlags } from './flags.ts'

const DEFAULT_HOST = 'unix:///run/gantry.sock'
const USAGE_CODE = 125

const GLOBAL_FLAGS: readonly Flag[] = [
  { name: 'host', short: 'H', kind: 'text', help: 'Daemon socket to connect to' },
  { name: 'context', short: 'c', kind: 'text', help: 'Name of the context to use to connect to the daemon' },
  { name: 'tls', kind: 'bool', help: 'Use TLS; implied by --tlsverify' },
  { name: 'tlsverify', kind: 'bool', help: 'Use TLS and verify the remote' },
  { name: 'tlscacert', kind: 'text', help: 'Trust certs signed only by this CA' },
  { name: 'tlscert', kind: 'text', help: 'Path to TLS certificate file' },
  { name: 'tlskey', kind: 'text', help: 'Path to TLS key file' },
  { name: 'help', kind: 'bool', help: 'Print usage' },
]

function usage(): string {
  const lines = COMMANDS.map((command) => `  ${(command.names[0] ?? '').padEnd(18)} ${command.help}`)
  return `Usage:  gantry [OPTIONS] COMMAND\n\nA container engine\n\nCommands:\n${lines.join('\n')}\n  ${'daemon'.padEnd(18)} Run the daemon in the foreground\n  ${'supervisor'.padEnd(18)} Run the part that starts containers as a process of its own\n  ${'registry'.padEnd(18)} Serve a private registry, or tidy it up\n\nRun 'gantry COMMAND --help' for more information on a command.\n`
}

function commandUsage(command: Command): string {
  const flags = command.flags.map((flag) => `  ${flag.short === undefined ? '    ' : `-${flag.short}, `}--${`${flag.name}${flag.kind === 'bool' ? '' : ` ${flag.kind === 'number' ? 'int' : flag.kind === 'list' ? 'list' : 'string'}`}`.padEnd(26)} ${flag.help}`)
  return `Usage:  gantry ${command.usage}\n\n${command.help}\n${flags.length === 0 ? '' : `\nOptions:\n${flags.join('\n')}\n`}`
}

function endpointOf(globals: ReturnType<typeof parseFlags>): Endpoint {
  const { env } = process
  const directory = env['DOCKER_CERT_PATH'] ?? `${env['HOME'] ?? '/root'}/.docker`
  const verify = globals.bool('tlsverify') || (env['DOCKER_TLS_VERIFY'] ?? '') !== ''
  const given = globals.text('host') || (globals.text('context') === '' ? env['DOCKER_HOST'] : '')
  if (globals.text('host') !== '' && globals.text('context') !== '') throw new EngineError('invalid', 'conflicting options: cannot specify both --host and --context')
  const contexts = openContexts(configDirectory(env))
  const context = given ? DEFAULT : globals.text('context') || env['DOCKER_CONTEXT'] || contexts.current()
  const host = given || DEFAULT_HOST
  const asked = env['DOCKER_API_VERSION'] ?? ''
  const version = asked === '' ? {} : { version: asked.replace(/^v/, '') }
  if (context !== DEFAULT) return { ...contexts.endpoint(context), ...version }
  if (!verify && !globals.bool('tls')) return { host, ...version }
  const file = (name: string, fallback: string): string => globals.text(name) || `${directory}/${fallback}`
  return { host, ...version, tls: { verify, ...(verify && { ca: file('tlscacert', 'ca.pem'), cert: file('tlscert', 'cert.pem'), key: file('tlskey', 'key.pem') }) } }
}

function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, n) => n)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) next.push(Math.min((next[j - 1] ?? 0) + 1, (row[j] ?? 0) + 1, (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1)))
    row = next
  }
  return row[b.length] ?? 0
}

function find(words: readonly string[]): { readonly command: Command; readonly rest: readonly string[] } {
  for (const length of [2, 1]) {
    const command = COMMANDS.find((one) => one.names.includes(words.slice(0, length).join(' ')))
    if (command !== undefined) return { command, rest: words.slice(length) }
  }
  const [word = ''] = words
  const near = COMMANDS.flatMap((command) => command.names).filter((name) => distance(name, word) <= 2)
  const group = COMMANDS.some((command) => command.names.some((name) => name.startsWith(`${word} `)))
  throw new EngineError('invalid', `unknown command: gantry ${group ? words.slice(0, 2).join(' ') : word}\n${near.length === 0 ? '' : `\nDid you mean: ${near.join(', ')}?\n`}\nRun 'gantry --help' for more information`)
}

async function main(argv: readonly string[]): Promise<number> {
  const globals = parseFlags(argv, GLOBAL_FLAGS, '', true)
  if (globals.bool('help') || globals.rest.length === 0 || globals.rest[0] === 'help') {
    process.stdout.write(usage())
    return 0
  }
  const { command, rest } = find(globals.rest)
  const parsed = parseFlags(rest, [...command.flags, { name: 'help', kind: 'bool', help: 'Print usage' }], command.names[0] ?? '', command.stop === true)
  if (parsed.bool('help')) {
    process.stdout.write(commandUsage(command))
    return 0
  }
  if (parsed.rest.length < (command.minimum ?? 0)) throw new EngineError('invalid', `"gantry ${command.names[0]}" requires at least ${command.minimum} argument${command.minimum === 1 ? '' : 's'}.\n\n${commandUsage(command)}`)
  const endpoint = endpointOf(globals)
  const api = createTransport(endpoint)
  const work = (): Promise<number> => command.run({ api, host: endpoint.host }, parsed)
  const root = process.env['GANTRY_ROOT']
  if (command.offline !== true && endpoint.host === DEFAULT_HOST && root !== undefined && !(await answers(api))) await startDaemon(api, root)
  return work()
}

main(process.argv.slice(2)).then(
  (code) => {
    process.exitCode = code
    // Standard input may still be open.
    process.stdin.unref?.()
    if (process.stdout.writableLength === 0 && process.stderr.writableLength === 0) process.exit(code)
  },
  (error: unknown) => {
    const fromDaemon = error instanceof EngineError && !['invalid'].includes(error.kind)
    process.stderr.write(`${fromDaemon && error.kind !== 'unavailable' ? 'Error response from daemon: ' : ''}${messageOf(error)}\n`)
    process.exit(error instanceof EngineError && error.kind === 'invalid' && process.argv[2] === 'run' ? USAGE_CODE : 1)
  },
)
