import { createTransport } from '@gantry/api'
import { COMMANDS } from './commands/all.ts'
import { complete } from './completion.ts'
import { configDirectory } from './config-file.ts'
import { openContexts } from './contexts.ts'
import { endpointOf, GLOBAL_FLAGS } from './endpoint.ts'
import type { Parsed } from './flags.ts'
import { print } from './help.ts'
import { findPlugins } from './plugins.ts'

/** What shells ask for; nothing is ever said beside it. */
export async function answerShell(globals: Parsed): Promise<number> {
  const { words, files } = await complete(globals.rest.slice(1), { commands: COMMANDS, globals: GLOBAL_FLAGS, plugins: [...findPlugins(process.env).keys()], contexts: () => ['default', ...openContexts(configDirectory(process.env)).list().map((one) => one.name)], env: process.env, api: createTransport(endpointOf(globals)) })
  return print(`${words.map(([word, about]) => `${word}\t${about}\n`).join('')}${files ? ':files' : ':'}\n`)
}
