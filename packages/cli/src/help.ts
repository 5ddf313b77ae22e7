import { suggestions } from '@gantry/std'
import type { Command } from './command.ts'
import { COMMANDS } from './commands/all.ts'
import { GLOBAL_FLAGS } from './endpoint.ts'
import { type Flag, UsageError } from './flags.ts'
import { describePlugins, findPlugins } from './plugins.ts'
import { commandHelp, findCommand, groupCommands, groupHelp, GROUPS, mainHelp } from './usage.ts'

const HELP_COLUMNS = 100

/** No such command; what may have been meant. */
export function unknown(words: readonly string[]): UsageError {
  const [word = '', second = ''] = words
  const group = GROUPS[word] !== undefined
  const near = group ? suggestions(second, groupCommands(COMMANDS, word).map(([name]) => name)).map((name) => `${word} ${name}`) : suggestions(word, [...COMMANDS.filter((command) => command.hidden !== true).flatMap((command) => command.names.filter((name) => !name.includes(' '))), ...Object.keys(GROUPS)])
  const meant = near.length === 0 ? '' : `\nDid you mean ${near.map((name) => `'gantry ${name}'`).join(' or ')}?\n`
  return new UsageError(`gantry: unknown command: gantry ${group ? `${word} ${second}` : word}\n${group ? `\nUsage:  gantry ${word}\n` : ''}${meant}\nRun 'gantry${group ? ` ${word}` : ''} --help' for more information`, 1)
}

const columns = (): number => Math.min(HELP_COLUMNS, process.stdout.columns || HELP_COLUMNS)
/** Prints, and succeeds. */
export const print = (text: string): number => (process.stdout.write(text), 0)

/** Help, for what comes after `help` or has `--help` as its only word. */
export function help(words: readonly string[]): number {
  if (words.length === 0) return print(mainHelp(COMMANDS, GLOBAL_FLAGS, describePlugins(findPlugins(process.env)), columns()))
  const found = findCommand(COMMANDS, words)
  if (found !== undefined) return print(commandHelp(found.command, found.called, columns()))
  const [group = ''] = words
  if (words.length === 1 && GROUPS[group] !== undefined) return print(groupHelp(COMMANDS, group))
  throw words[1] === undefined ? new UsageError(`unknown help topic: ${words.join(' ')}`, 1) : unknown(words)
}

/** `--help`, and `-h` where the command has no such flag of its own. */
export function helpFlag(command: Command): Flag {
  const long = { name: 'help', kind: 'bool', help: 'Print usage' } as const
  return command.flags.some((flag) => flag.short === 'h') ? long : { ...long, short: 'h' }
}
