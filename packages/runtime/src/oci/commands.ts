import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { parseArgs, type ParseArgsConfig } from 'node:util'
import { decodeConfig, decodeProcess, type OciProcess } from '@gantry/libcontainer'
import { SIGNALS } from '@gantry/linux'
import { EngineError, parseDuration } from '@gantry/std'
import { defaultConfig, features } from './documents.ts'
import { statsEvent, watchEvents } from './events.ts'
import type { Created, CreateOptions, OciRuntime } from './runtime.ts'
import { updatedResources, UPDATES } from './update.ts'

type Values = Readonly<Record<string, string | boolean | readonly (string | boolean)[] | undefined>>
type Options = NonNullable<ParseArgsConfig['options']>

/** One verb of the command line: runc's names and flags. */
interface Verb {
  readonly options: Options
  readonly minimum: number
  readonly usage: string
  run(runtime: OciRuntime, values: Values, words: readonly string[]): Promise<number>
}

const text = (values: Values, name: string): string | undefined => (typeof values[name] === 'string' && values[name] !== '' ? values[name] : undefined)
const on = (values: Values, name: string): boolean => values[name] === true
const list = (values: Values, name: string): readonly string[] => (Array.isArray(values[name]) ? (values[name] as readonly string[]) : [])
const say = (line: string): void => void process.stdout.write(`${line}\n`)

const CREATE: Options = { bundle: { type: 'string', short: 'b', default: '.' }, 'console-socket': { type: 'string' }, 'pid-file': { type: 'string' }, 'no-pivot': { type: 'boolean' }, 'no-new-keyring': { type: 'boolean' }, 'preserve-fds': { type: 'string' } }

const FDS_MAX = 256

/** `--preserve-fds` and what socket activation hands down (sd_listen_fds(3)). */
function preservedFds(values: Values): number {
  const asked = text(values, 'preserve-fds') ?? '0'
  if (!/^\d{1,3}$/.test(asked) || Number(asked) > FDS_MAX) throw new EngineError('invalid', `--preserve-fds: expected a number up to ${FDS_MAX}, got "${asked}"`)
  const count = Number(asked) + Number(process.env['LISTEN_FDS'] ?? 0)
  for (let fd = 3; fd < 3 + count; fd++) if (!existsSync(`/proc/self/fd/${fd}`)) throw new EngineError('invalid', `--preserve-fds: descriptor ${fd} is not open`)
  return count
}

function createOptions(values: Values): CreateOptions {
  return { bundle: text(values, 'bundle') ?? '.', consoleSocket: text(values, 'console-socket'), preserveFds: preservedFds(values), noPivot: on(values, 'no-pivot'), keepKeyring: on(values, 'no-new-keyring') }
}

function pidFile(values: Values, pid: number): void {
  const path = text(values, 'pid-file')
  if (path !== undefined) writeFileSync(path, String(pid))
}

/** Stays until the process has ended; signals that come here go to it. */
async function foreground(created: Created): Promise<number> {
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2'] as const) process.on(name, () => process.kill(created.pid, name))
  return (await created.exited) ?? 0
}

/** `SIGTERM`, `TERM` or `15` */
export function signalNumber(word: string): number {
  const number = /^\d+$/.test(word) ? Number(word) : SIGNALS[word.toUpperCase().replace(/^SIG/, '')]
  if (number === undefined || number < 1 || number > 64) throw new EngineError('invalid', `unknown signal "${word}"`)
  return number
}

function execProcess(runtime: OciRuntime, values: Values, id: string, words: readonly string[]): OciProcess {
  const file = text(values, 'process')
  if (file !== undefined) return decodeProcess(JSON.parse(readFileSync(file, 'utf8')))
  if (words.length === 0) throw new EngineError('invalid', 'process args cannot be empty')
  const { spec } = decodeConfig(JSON.parse(readFileSync(`${runtime.store.load(id).bundle}/config.json`, 'utf8')))
  const base = spec.process
  const [uid, gid] = (text(values, 'user') ?? '').split(':')
  const extra = list(values, 'cap')
  const caps = (own: readonly string[]): readonly string[] => [...new Set([...own, ...extra])]
  return {
    ...base,
    terminal: on(values, 'tty'),
    args: words,
    env: [...base.env, ...list(values, 'env')],
    cwd: text(values, 'cwd') ?? base.cwd,
    user: { uid: uid === undefined || uid === '' ? base.user.uid : Number(uid), gid: gid === undefined ? base.user.gid : Number(gid), additionalGids: [...base.user.additionalGids, ...list(values, 'additional-gids').map(Number)] },
    noNewPrivileges: on(values, 'no-new-privs') || base.noNewPrivileges,
    capabilities: extra.length === 0 ? base.capabilities : { ...base.capabilities, bounding: caps(base.capabilities.bounding), effective: caps(base.capabilities.effective), permitted: caps(base.capabilities.permitted) },
  }
}

/** The verbs of runc that this runtime has. */
export const VERBS: Readonly<Record<string, Verb>> = {
  create: {
    options: CREATE, minimum: 1, usage: 'create [--bundle DIR] [--console-socket PATH] [--pid-file FILE] ID',
    async run(runtime, values, [id = '']) {
      pidFile(values, (await runtime.create(id, createOptions(values))).pid)
      return 0
    },
  },
  start: { options: {}, minimum: 1, usage: 'start ID', run: async (runtime, _, [id = '']) => (await runtime.start(id), 0) },
  run: {
    options: { ...CREATE, detach: { type: 'boolean', short: 'd' }, keep: { type: 'boolean' } }, minimum: 1, usage: 'run [--bundle DIR] [--detach] [--console-socket PATH] [--pid-file FILE] ID',
    async run(runtime, values, [id = '']) {
      const created = await runtime.create(id, { ...createOptions(values), stay: !on(values, 'detach') })
      pidFile(values, created.pid)
      await runtime.start(id)
      if (on(values, 'detach')) return 0
      const code = await foreground(created)
      if (!on(values, 'keep')) await runtime.delete(id, true)
      return code
    },
  },
  state: { options: {}, minimum: 1, usage: 'state ID', run: async (runtime, _, [id = '']) => (say(JSON.stringify(runtime.state(id), null, 2)), 0) },
  kill: {
    options: { all: { type: 'boolean', short: 'a' } }, minimum: 1, usage: 'kill [--all] ID [SIGNAL]',
    async run(runtime, values, [id = '', signal = 'SIGTERM']) {
      runtime.kill(id, signalNumber(signal), on(values, 'all'))
      return 0
    },
  },
  delete: {
    options: { force: { type: 'boolean', short: 'f' } }, minimum: 1, usage: 'delete [--force] ID',
    async run(runtime, values, [id = '']) {
      try {
        await runtime.delete(id, on(values, 'force'))
      } catch (error) {
        if (!on(values, 'force') || !(error instanceof EngineError) || error.kind !== 'not-found') throw error
      }
      return 0
    },
  },
  exec: {
    options: {
      process: { type: 'string', short: 'p' }, detach: { type: 'boolean', short: 'd' }, 'pid-file': { type: 'string' }, 'console-socket': { type: 'string' }, tty: { type: 'boolean', short: 't' }, cwd: { type: 'string' }, env: { type: 'string', short: 'e', multiple: true }, user: { type: 'string', short: 'u' },
      'additional-gids': { type: 'string', short: 'g', multiple: true }, cap: { type: 'string', short: 'c', multiple: true }, 'no-new-privs': { type: 'boolean' }, 'preserve-fds': { type: 'string' },
    },
    minimum: 1, usage: 'exec [--process FILE] [--detach] [--pid-file FILE] [--console-socket PATH] ID [COMMAND...]',
    async run(runtime, values, [id = '', ...words]) {
      const created = await runtime.exec(id, execProcess(runtime, values, id, words), { consoleSocket: text(values, 'console-socket'), preserveFds: preservedFds(values), stay: !on(values, 'detach') })
      pidFile(values, created.pid)
      return on(values, 'detach') ? 0 : foreground(created)
    },
  },
  ps: {
    options: { format: { type: 'string', short: 'f', default: 'table' } }, minimum: 1, usage: 'ps [--format json|table] ID',
    async run(runtime, values, [id = '']) {
      const pids = runtime.processes(id)
      say(values['format'] === 'json' ? JSON.stringify(pids) : ['PID', ...pids.map(String)].join('\n'))
      return 0
    },
  },
  list: {
    options: { format: { type: 'string', short: 'f', default: 'table' }, quiet: { type: 'boolean', short: 'q' } }, minimum: 0, usage: 'list [--format json|table] [--quiet]',
    async run(runtime, values) {
      const states = runtime.store.list().map((container) => runtime.state(container.id))
      if (on(values, 'quiet')) for (const state of states) say(state.id)
      else if (values['format'] === 'json') say(JSON.stringify(states.map((state) => ({ ...state, owner: 'root' }))))
      else for (const row of [['ID', 'PID', 'STATUS', 'BUNDLE', 'CREATED', 'OWNER'], ...states.map((state) => [state.id, String(state.pid), state.status, state.bundle, state.created, 'root'])]) say(row.map((cell) => cell.padEnd(12)).join(' ').trimEnd())
      return 0
    },
  },
  pause: { options: {}, minimum: 1, usage: 'pause ID', run: async (runtime, _, [id = '']) => (await runtime.pause(id, true), 0) },
  resume: { options: {}, minimum: 1, usage: 'resume ID', run: async (runtime, _, [id = '']) => (await runtime.pause(id, false), 0) },
  update: {
    options: { resources: { type: 'string', short: 'r' }, ...Object.fromEntries(Object.keys(UPDATES).map((name) => [name, { type: 'string' as const }])) }, minimum: 1, usage: 'update [--resources FILE|-] [--memory BYTES] [--cpu-quota USEC] … ID',
    async run(runtime, values, [id = '']) {
      runtime.update(id, updatedResources(values))
      return 0
    },
  },
  events: {
    options: { stats: { type: 'boolean' }, interval: { type: 'string', default: '5s' } }, minimum: 1, usage: 'events [--stats] [--interval DURATION] ID',
    async run(runtime, values, [id = '']) {
      const ms = parseDuration(text(values, 'interval') ?? '5s')
      if (ms === undefined || ms <= 0) throw new EngineError('invalid', 'duration interval must be greater than 0')
      if (on(values, 'stats')) return (say(JSON.stringify(statsEvent(runtime, id))), 0)
      await watchEvents(runtime, id, ms, (event) => say(JSON.stringify(event)))
      return 0
    },
  },
  features: { options: {}, minimum: 0, usage: 'features', run: async () => (say(JSON.stringify(features(), null, 2)), 0) },
  spec: {
    options: { bundle: { type: 'string', short: 'b', default: '.' } }, minimum: 0, usage: 'spec [--bundle DIR]',
    async run(_, values) {
      writeFileSync(`${text(values, 'bundle') ?? '.'}/config.json`, `${JSON.stringify(defaultConfig(), null, 2)}\n`, { flag: 'wx' })
      return 0
    },
  },
}

/** Reads a verb's words: flags stop at the id, for what follows belongs to the container. */
export function parseVerb(verb: Verb, words: readonly string[]): { readonly values: Values; readonly rest: readonly string[] } {
  let end = 0
  while (end < words.length && (words[end] ?? '').startsWith('-')) {
    const word = words[end] ?? ''
    const name = word.replace(/^--?/, '').split('=')[0] ?? ''
    const option = verb.options[name] ?? Object.values(verb.options).find((one) => one.short === name)
    end += option?.type === 'string' && !word.includes('=') ? 2 : 1
  }
  // Verbs without a command of their own take flags behind the id, too.
  const whole = verb.options['process'] === undefined
  const parsed = parseArgs({ args: [...(whole ? words : words.slice(0, end))], options: verb.options, strict: true, allowPositionals: true })
  const rest = whole ? parsed.positionals : words.slice(end)
  if (rest.length < verb.minimum) throw new EngineError('invalid', `expected an id; usage: gantry-runtime ${verb.usage}`)
  return { values: parsed.values as Values, rest }
}
