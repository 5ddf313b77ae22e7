import { mkdirSync, writeFileSync } from 'node:fs'
import { EngineError } from '@gantry/std'
import type { Command } from '../command.ts'
import { COMPLETION_SCRIPTS } from '../completion-scripts.ts'
import { GLOBAL_FLAGS } from '../endpoint.ts'
import { mainPage, manPage } from '../man.ts'
import { COMMANDS } from './all.ts'

const MAN_SECTION = 'man1'

/** What makes the client at home in a shell. */
export const SHELL_COMMANDS: readonly Command[] = [
  {
    names: ['completion'], usage: 'completion bash|zsh|fish', help: 'Print a script that makes the shell complete commands, flags and names of live objects', offline: true, flags: [],
    run: async (_, parsed) => {
      const script = COMPLETION_SCRIPTS[parsed.rest[0] ?? '']
      if (script === undefined) throw new EngineError('invalid', `no completion for ${JSON.stringify(parsed.rest[0])}: expected ${Object.keys(COMPLETION_SCRIPTS).join(', ')}`)
      process.stdout.write(script)
      return 0
    },
  },
  {
    names: ['man'], usage: 'man [DIRECTORY]', help: 'Print the manual page of the client, or write those of all commands into a folder (/usr/local/share/man)', offline: true, flags: [],
    run: async (_, parsed) => {
      const [directory] = parsed.rest
      const date = new Date().toISOString().slice(0, 10)
      if (directory === undefined) {
        process.stdout.write(mainPage(COMMANDS, GLOBAL_FLAGS, date))
        return 0
      }
      const folder = `${directory}/${MAN_SECTION}`
      mkdirSync(folder, { recursive: true })
      const shown = COMMANDS.filter((command) => command.hidden !== true)
      for (const command of shown) writeFileSync(`${folder}/gantry-${(command.names[0] ?? '').replaceAll(' ', '-')}.1`, manPage(command, date))
      writeFileSync(`${folder}/gantry.1`, mainPage(COMMANDS, GLOBAL_FLAGS, date))
      process.stdout.write(`${shown.length + 1} pages in ${folder}\n`)
      return 0
    },
  },
]
