import type { Command } from '../command.ts'
import { listing } from '../output.ts'

/** What the words of a swarm ask for first; the daemon, outside a swarm, says that it is in none. */
const FIRST_REQUESTS: Readonly<Record<string, readonly [method: string, path: string]>> = {
  node: ['GET', '/nodes'], service: ['GET', '/services'], stack: ['GET', '/services'], secret: ['GET', '/secrets'], config: ['GET', '/configs'], swarm: ['GET', '/swarm'], 'swarm leave': ['POST', '/swarm/leave'], 'swarm join': ['POST', '/swarm/join'], 'swarm init': ['POST', '/swarm/init'],
}

const asked = (name: string, [method, path]: readonly [string, string]): Command => ({
  names: [name], usage: `${name} [COMMAND...]`, help: 'Belongs to a swarm, which this engine is never part of', hidden: true, stop: true, flags: [],
  run: async (context) => ((await context.api.send(method, path)).resume(), 0),
})

/** Engines have plugins that they install; this one has none. */
export const SWARM_COMMANDS: readonly Command[] = [
  ...Object.entries(FIRST_REQUESTS).map(([name, request]) => asked(name, request)),
  {
    names: ['plugin ls', 'plugin list'], usage: 'plugin ls [OPTIONS]', help: 'List plugins that the engine has installed', flags: [{ name: 'quiet', short: 'q', kind: 'bool', help: 'Only display plugin IDs' }, { name: 'no-trunc', kind: 'bool', help: "Don't truncate output" }, { name: 'filter', short: 'f', kind: 'list', help: 'Provide filter values' }, { name: 'format', kind: 'text', help: 'Format output using a custom template' }],
    run: async (context, parsed) => {
      const found = await context.api.json<readonly { readonly Id: string; readonly Name: string; readonly Enabled: boolean }[]>('GET', '/plugins')
      process.stdout.write(parsed.bool('quiet') ? found.map((one) => `${one.Id}\n`).join('') : listing(found, parsed.text('format'), [['ID', (one) => one.Id], ['NAME', (one) => one.Name], ['DESCRIPTION', () => ''], ['ENABLED', (one) => String(one.Enabled)]], { ID: 'ID', Name: 'NAME', Description: 'DESCRIPTION', Enabled: 'ENABLED' }))
      return 0
    },
  },
  ...['inspect', 'enable', 'disable', 'rm', 'push', 'set', 'upgrade'].map((verb): Command => ({
    names: [`plugin ${verb}`], usage: `plugin ${verb} PLUGIN [ARG...]`, help: `${verb} a plugin: none can be installed here`, flags: [],
    run: async (context, parsed) => ((await context.api.send('GET', `/plugins/${parsed.rest[0]}/json`)).resume(), 0),
  })),
  { names: ['plugin install'], usage: 'plugin install [OPTIONS] PLUGIN [KEY=VALUE...]', help: 'install a plugin: not in this engine', stop: true, flags: [], run: async (context, parsed) => ((await context.api.send('POST', '/plugins/pull', { query: { remote: parsed.rest[0] ?? '' } })).resume(), 0) },
]
