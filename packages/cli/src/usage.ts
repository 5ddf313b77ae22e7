import type { Command } from './command.ts'
import { type Flag, UsageError } from './flags.ts'
import { heading } from './output.ts'

/** Groups of commands, and what each is about. */
export const GROUPS: Readonly<Record<string, string>> = {
  builder: 'Manage builds', checkpoint: 'Manage checkpoints', container: 'Manage containers', context: 'Manage contexts', daemon: 'Run the daemon, or end it', image: 'Manage images', manifest: 'Manage image manifests and manifest lists',
  network: 'Manage networks', plugin: 'Manage plugins', system: 'Manage the engine', volume: 'Manage volumes',
}
/** Programs of ours that the launcher script starts without the client. */
const PROGRAMS: Readonly<Record<string, string>> = { daemon: 'Run the daemon in the foreground', supervisor: 'Run the part that starts containers as a process of its own', registry: 'Serve a private registry, or tidy it up' }
const COMMON: readonly string[] = ['run', 'exec', 'ps', 'build', 'pull', 'push', 'images', 'login', 'logout', 'search', 'version', 'info']

/** What the words of a command are, as its usage line says: `[OPTIONS] IMAGE [COMMAND] [ARG...]`. */
export interface Words {
  readonly minimum: number
  readonly maximum: number
  /** What each word names; the last is also what all that follow name, where any number may come. */
  readonly names: readonly string[]
}

const topOf = (command: Command): string => command.names[0] ?? ''
/** The usage line without the command's own name. */
const afterName = (command: Command): string => command.usage.slice(topOf(command).length).trimStart()

/** A command that was called. */
export interface Found {
  readonly command: Command
  /** The name that it was called by. */
  readonly called: string
  readonly rest: readonly string[]
}

/** The command that words begin with; the longest name wins. */
export function findCommand(commands: readonly Command[], words: readonly string[]): Found | undefined {
  for (const length of [2, 1]) {
    const called = words.slice(0, length).join(' ')
    const command = commands.find((one) => one.names.includes(called))
    if (command !== undefined && words.length >= length) return { command, called, rest: words.slice(length) }
  }
  return undefined
}

/** Reads the first line of a usage. */
export function wordsOf(command: Command): Words {
  const words = (afterName(command).split('\n')[0] ?? '').split(/\s+(?![^[]*\])/).filter((word) => word !== '' && word !== '[OPTIONS]')
  const repeats = words.some((word) => word.includes('...') || word.includes(' OPTIONS]'))
  const isOptional = (word: string): boolean => word.startsWith('[')
  return { minimum: words.filter((word) => !isOptional(word)).length, maximum: repeats ? Number.POSITIVE_INFINITY : words.length, names: words.map((word) => word.replace(/^\[|\]$/g, '')) }
}

const plural = (count: number): string => `${count} argument${count === 1 ? '' : 's'}`

/** A count of words that the command does not take is an error in Docker's words. */
export function checkCount(command: Command, called: string, count: number): void {
  const { minimum, maximum } = wordsOf(command)
  if (count >= minimum && count <= maximum) return
  const wanted = maximum === 0 ? 'accepts no arguments'
    : maximum === Number.POSITIVE_INFINITY ? `requires at least ${plural(minimum)}`
    : minimum === maximum ? `requires ${plural(minimum)}`
    : minimum === 0 ? `requires at most ${plural(maximum)}` : `requires at least ${minimum} and at most ${plural(maximum)}`
  throw new UsageError(`gantry: 'gantry ${called}' ${wanted}\n\nUsage:  ${usageOf(command, called)}\n\n${maximum === Number.POSITIVE_INFINITY ? 'See' : 'Run'} 'gantry ${called} --help' for more information`, 1)
}

/** The usage line under the name that was called. */
export function usageOf(command: Command, called: string): string {
  return command.usage.split('\n').map((line) => `gantry ${called} ${line.slice(topOf(command).length).trimStart()}`.trimEnd()).join('\n\t')
}

const PLACEHOLDERS = { bool: '', text: ' string', number: ' int', list: ' list' } as const

/** Wraps words at a width; further lines are indented. */
function wrap(text: string, indent: number, columns: number): string {
  const lines: string[] = ['']
  for (const word of text.split(' ')) {
    const last = lines.at(-1) ?? ''
    if (last !== '' && indent + last.length + 1 + word.length > columns) lines.push(word)
    else lines[lines.length - 1] = last === '' ? word : `${last} ${word}`
  }
  return lines.join(`\n${' '.repeat(indent)}`)
}

/** Flags in two columns. */
export function flagLines(flags: readonly Flag[], columns: number): string {
  const left = (flag: Flag): string => `  ${flag.short === undefined ? '    ' : `-${flag.short}, `}--${flag.name}${PLACEHOLDERS[flag.kind]}   `
  const width = Math.max(0, ...flags.map((flag) => left(flag).length))
  return flags.toSorted((a, b) => (a.name < b.name ? -1 : 1)).map((flag) => `${left(flag).padEnd(width)}${wrap(flag.help, width, columns)}\n`).join('')
}

/** Help of one command. */
export function commandHelp(command: Command, called: string, columns: number): string {
  const aliases = command.names.length > 1 ? `\n${heading('Aliases:')}\n  ${command.names.toSorted().map((name) => `gantry ${name}`).join(', ')}\n` : ''
  return `${heading('Usage:')}  ${usageOf(command, called)}\n\n${command.help}\n${aliases}${command.flags.length === 0 ? '' : `\n${heading('Options:')}\n${flagLines(command.flags, columns)}`}`
}

const rows = (pairs: readonly (readonly [string, string])[]): string => {
  const width = Math.max(...pairs.map(([name]) => name.length)) + 2
  return pairs.map(([name, help]) => `  ${name.padEnd(width)}${help}\n`).join('')
}

/** Commands of a group, by the word that follows it. */
export function groupCommands(commands: readonly Command[], group: string): readonly (readonly [string, Command])[] {
  return commands.flatMap((command) => command.names.filter((name) => name.startsWith(`${group} `)).slice(0, 1).map((name) => [name.slice(group.length + 1), command] as const)).sort(([a], [b]) => (a < b ? -1 : 1))
}

/** Help of a group. */
export function groupHelp(commands: readonly Command[], group: string): string {
  return `${heading('Usage:')}  gantry ${group} COMMAND\n\n${GROUPS[group]}\n\n${heading('Commands:')}\n${rows(groupCommands(commands, group).map(([name, command]) => [name, command.help]))}\nRun 'gantry ${group} COMMAND --help' for more information on a command.\n`
}

/** What `gantry --help` prints. */
export function mainHelp(commands: readonly Command[], globals: readonly Flag[], plugins: readonly (readonly [string, string])[], columns: number): string {
  const single = commands.filter((command) => !topOf(command).includes(' ') && command.hidden !== true).map((command) => [topOf(command), command.help] as const)
  const common = COMMON.flatMap((name) => single.filter(([one]) => one === name))
  const rest = [...single.filter(([name]) => !COMMON.includes(name)), ...Object.entries(PROGRAMS).filter(([name]) => GROUPS[name] === undefined)].toSorted(([a], [b]) => (a < b ? -1 : 1))
  return `${heading('Usage:')}  gantry [OPTIONS] COMMAND

A container engine

${heading('Common Commands:')}
${rows(common)}
${heading('Management Commands:')}
${rows([...Object.entries(GROUPS), ...plugins].toSorted(([a], [b]) => (a < b ? -1 : 1)))}
${heading('Commands:')}
${rows(rest)}
${heading('Global Options:')}
${flagLines(globals, columns)}
Run 'gantry COMMAND --help' for more information on a command.
`
}
