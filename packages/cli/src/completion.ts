import { constants } from 'node:os'
import type { Transport } from '@gantry/api'
import { EngineError } from '@gantry/std'
import type { Command } from './command.ts'
import type { Flag } from './flags.ts'
import { findCommand, groupCommands, GROUPS, type Words, wordsOf } from './usage.ts'

const PATIENCE_MS = 1000

/** A word that may come next, and what it is. */
export type Candidate = readonly [word: string, help: string]

/** What may come next; `files`: names of files, too. */
export interface Candidates {
  readonly words: readonly Candidate[]
  readonly files: boolean
}

/** What completion works with. */
export interface CompletionSources {
  readonly commands: readonly Command[]
  readonly globals: readonly Flag[]
  readonly plugins: readonly string[]
  readonly contexts: () => readonly string[]
  readonly env: NodeJS.ProcessEnv
  readonly api: Transport
}

type Source = (sources: CompletionSources, command: string) => Promise<readonly Candidate[]> | readonly Candidate[]

const plain = (...words: readonly string[]): Source => () => words.map((word) => [word, ''] as const)

/** Asks the daemon; one that does not answer in time has nothing to offer. */
async function ask<T>(sources: CompletionSources, path: string, fallback: T, query: Readonly<Record<string, string>> = {}): Promise<T> {
  try {
    return await sources.api.json<T>('GET', path, { query, signal: AbortSignal.timeout(PATIENCE_MS) })
  } catch (error) {
    if (error instanceof EngineError || (error instanceof Error && error.name === 'AbortError')) return fallback
    throw error
  }
}

/** States of containers that a command can do something with; any, where it is not listed. */
const STATES: Readonly<Record<string, readonly string[]>> = {
  attach: ['running'], exec: ['running', 'paused'], kill: ['running', 'paused'], pause: ['running'], unpause: ['paused'], stop: ['running', 'paused', 'restarting'], top: ['running', 'paused'], start: ['created', 'exited'], stats: ['running', 'paused'], debug: ['running'],
}

const containers: Source = async (sources, command) => {
  const rows = await ask<readonly { readonly Names: readonly string[]; readonly Image: string; readonly State: string; readonly Status: string }[]>(sources, '/containers/json', [], { all: '1' })
  const states = STATES[command]
  return rows.filter((row) => states === undefined || states.includes(row.State)).map((row) => [(row.Names[0] ?? '').slice(1), `${row.Image}, ${row.Status}`] as const)
}
const images: Source = async (sources) => (await ask<readonly { readonly RepoTags: readonly string[] }[]>(sources, '/images/json', [])).flatMap((row) => row.RepoTags.map((tag) => [tag.replace(/:latest$/, ''), ''] as const))
const networks: Source = async (sources) => (await ask<readonly { readonly Name: string; readonly Driver: string }[]>(sources, '/networks', [])).map((one) => [one.Name, one.Driver] as const)
const volumes: Source = async (sources) => ((await ask<{ readonly Volumes: readonly { readonly Name: string; readonly Driver: string }[] | null }>(sources, '/volumes', { Volumes: [] })).Volumes ?? []).map((one) => [one.Name, one.Driver] as const)
const info = (read: (info: { readonly Runtimes?: Readonly<Record<string, unknown>>; readonly Plugins?: { readonly Log?: readonly string[]; readonly Network?: readonly string[]; readonly Volume?: readonly string[] } }) => readonly string[]): Source => async (sources) => read(await ask(sources, '/info', {})).map((word) => [word, ''] as const)
const contexts: Source = (sources) => sources.contexts().map((name) => [name, ''] as const)
const signals: Source = () => Object.entries(constants.signals).map(([name, number]) => [name.slice(3), String(number)] as const)
const variables: Source = (sources) => Object.keys(sources.env).map((name) => [`${name}=`, ''] as const)

/** What follows a flag, by its name. */
const FLAG_VALUES: Readonly<Record<string, Source>> = {
  network: networks, 'volumes-from': containers, link: containers, env: variables, context: contexts, from: contexts, signal: signals, 'stop-signal': signals,
  pull: plain('always', 'missing', 'never'), restart: plain('no', 'always', 'on-failure', 'unless-stopped'), ipc: plain('private', 'shareable', 'host', 'none', 'container:'), pid: plain('host', 'container:'), uts: plain('host'), userns: plain('host'), cgroupns: plain('host', 'private'),
  platform: plain('linux/amd64', 'linux/arm64'), format: plain('json', 'table'), type: plain('container', 'image', 'network', 'volume'), attach: plain('stdin', 'stdout', 'stderr'), 'security-opt': plain('apparmor=', 'label=', 'no-new-privileges', 'seccomp=', 'systempaths=unconfined'),
  runtime: info((one) => Object.keys(one.Runtimes ?? {})), 'log-driver': info((one) => one.Plugins?.Log ?? []), 'volume-driver': info((one) => one.Plugins?.Volume ?? []),
}
const FILE_FLAGS: ReadonlySet<string> = new Set(['env-file', 'label-file', 'cidfile', 'input', 'output', 'file', 'tlscacert', 'tlscert', 'tlskey', 'volume', 'workdir', 'checkpoint-dir', 'pidfile'])

/** What a word of a usage line names. */
const SUBJECTS: readonly (readonly [RegExp, Source])[] = [
  [/^CONTAINER:/, async (sources, command) => (await containers(sources, command)).map(([name, help]) => [`${name}:`, help] as const)],
  [/^CONTAINER$|^FROM$/, containers],
  [/IMAGE|^MANIFEST|^REPOSITORY|^NAME\[:TAG/, images],
  [/^NETWORK$/, networks],
  [/^VOLUME$/, volumes],
  [/^CONTEXT$/, contexts],
  [/^NAME\|ID$/, async (sources, command) => (await Promise.all([containers, images, networks, volumes].map((source) => source(sources, command)))).flat()],
]
const FILE_WORDS = /PATH|FILE|file|DIRECTORY/

const starting = (words: readonly Candidate[], current: string): readonly Candidate[] => words.filter(([word]) => word.startsWith(current))
const flagWords = (flags: readonly Flag[]): readonly Candidate[] => flags.map((flag) => [`--${flag.name}`, flag.help] as const)

/** Walks over flags; gives the words that are none, and the flag whose value comes next. */
function walk(words: readonly string[], flags: readonly Flag[], stop: boolean): { readonly rest: readonly string[]; readonly open: Flag | undefined; readonly ended: boolean } {
  const rest: string[] = []
  let open: Flag | undefined
  for (const [at, word] of words.entries()) {
    if (open !== undefined) {
      open = undefined
      continue
    }
    if (word.startsWith('-') && word !== '-') {
      const flag = word.startsWith('--') ? flags.find((one) => `--${one.name}` === word) : flags.find((one) => one.short === word.at(-1))
      open = flag?.kind === 'bool' ? undefined : flag
      continue
    }
    rest.push(word)
    if (stop) return { rest: [...rest, ...words.slice(at + 1)], open: undefined, ended: true }
  }
  return { rest, open, ended: false }
}

async function values(sources: CompletionSources, flag: Flag, command: string, current: string): Promise<Candidates> {
  const source = FLAG_VALUES[flag.name]
  return { words: source === undefined ? [] : starting(await source(sources, command), current), files: FILE_FLAGS.has(flag.name) }
}

/** What may stand in place of the last word. */
export async function complete(typed: readonly string[], sources: CompletionSources): Promise<Candidates> {
  const { commands, globals, plugins } = sources
  const current = typed.at(-1) ?? ''
  const outer = walk(typed.slice(0, -1), globals, true)
  if (outer.open !== undefined) return values(sources, outer.open, '', current)
  const [group = ''] = outer.rest
  const found = findCommand(commands, outer.rest)
  if (found === undefined) {
    const single = commands.filter((command) => command.hidden !== true && !(command.names[0] ?? '').includes(' ')).map((command) => [command.names[0] ?? '', command.help] as const)
    const words = outer.rest.length === 0 ? [...single, ...Object.entries(GROUPS), ...plugins.map((name) => [name, 'plugin'] as const), ...(current.startsWith('-') ? flagWords(globals) : [])] : outer.rest.length === 1 ? groupCommands(commands, group).map(([name, command]) => [name, command.help] as const) : []
    return { words: starting(words, current), files: false }
  }
  const { command, rest } = found
  const name = (command.names[0] ?? '').split(' ').at(-1) ?? ''
  const inner = walk(rest, command.flags, command.stop === true)
  if (inner.open !== undefined) return values(sources, inner.open, name, current)
  if (current.startsWith('-') && !inner.ended) {
    const equals = current.indexOf('=')
    const flag = command.flags.find((one) => `--${one.name}` === current.slice(0, equals))
    if (flag === undefined) return { words: starting([...flagWords(command.flags), ['--help', 'Print usage']], current), files: false }
    const offered = await values(sources, flag, name, current.slice(equals + 1))
    return { ...offered, words: offered.words.map(([word, help]) => [`--${flag.name}=${word}`, help] as const) }
  }
  const subjects = command.usage.split('\n').map((usage) => subjectAt(wordsOf({ ...command, usage }), inner.rest.length))
  const answers = subjects.flatMap((subject) => SUBJECTS.find(([pattern]) => pattern.test(subject))?.[1] ?? [])
  const offered = (await Promise.all(answers.map((source) => source(sources, name)))).flat()
  return { words: starting(offered.filter(([word]) => !inner.rest.includes(word)), current), files: subjects.some((subject) => FILE_WORDS.test(subject)) }
}

/** What the word at a place names, without brackets and dots. */
function subjectAt({ names, maximum }: Words, at: number): string {
  const subject = at < names.length ? (names[at] ?? '') : maximum === Number.POSITIVE_INFINITY ? (names.at(-1) ?? '') : ''
  return subject.replace(/^\[|\]$|\.\.\.|\|-$/g, '').replace(/^.* \[/, '')
}
