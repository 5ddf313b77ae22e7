import assert from 'node:assert/strict'
import { it } from 'node:test'
import { suggestions } from '@gantry/std'
import type { Command } from './command.ts'
import { COMMANDS } from './commands/all.ts'
import { complete, type CompletionSources } from './completion.ts'
import { GLOBAL_FLAGS } from './endpoint.ts'
import { manPage } from './man.ts'
import { checkCount, commandHelp, usageOf, wordsOf } from './usage.ts'

const command = (usage: string): Command => ({ names: [usage.split(' ')[0] ?? ''], usage, help: 'Do it', flags: [], run: async () => 0 })

it('wordsOf() reads how many words a usage line takes', () => {
  const table: readonly (readonly [string, number, number])[] = [['x', 0, 0], ['x [OPTIONS]', 0, 0], ['x A', 1, 1], ['x [OPTIONS] A [A...]', 1, Infinity], ['x A [B]', 1, 2], ['x [A...]', 0, Infinity], ['x A [ps OPTIONS]', 1, Infinity], ['x A B|-\nx B|- A', 2, 2]]
  for (const [usage, minimum, maximum] of table) assert.deepEqual([wordsOf(command(usage)).minimum, wordsOf(command(usage)).maximum], [minimum, maximum], usage)
})
it('a wrong count is told in Docker’s words', () => {
  assert.throws(() => checkCount(command('x A B'), 'x', 1), /^UsageError: gantry: 'gantry x' requires 2 arguments\n\nUsage: {2}gantry x A B\n\nRun 'gantry x --help'|requires 2 arguments/)
  assert.throws(() => checkCount(command('x A [A...]'), 'x', 0), /requires at least 1 argument\n[\s\S]*See 'gantry x --help'/)
  assert.throws(() => checkCount(command('x'), 'x', 1), /accepts no arguments/)
  assert.throws(() => checkCount(command('x A [B]'), 'x', 3), /requires at least 1 and at most 2 arguments/)
  checkCount(command('x [A...]'), 'x', 7)
})
it('every command has a usage that begins with its first name, and a help text and a manual page', () => {
  for (const one of COMMANDS) {
    assert.ok(one.usage.startsWith(one.names[0] ?? '?'), one.usage)
    assert.match(commandHelp(one, one.names[0] ?? '', 80), /^Usage: {2}gantry /)
    assert.match(manPage(one, '2026-01-01'), /^\.TH "GANTRY-/)
  }
  const names = COMMANDS.flatMap((one) => one.names)
  assert.equal(new Set(names).size, names.length, 'no name twice')
  const ps = COMMANDS.find((one) => one.names[0] === 'ps')
  assert.equal(ps === undefined ? '' : usageOf(ps, 'container ls'), 'gantry container ls [OPTIONS]')
})
it('suggestions() finds what was meant', () => {
  assert.deepEqual(suggestions('rmm', ['rm', 'rmi', 'run', 'ps']), ['rm', 'rmi'])
  assert.deepEqual(suggestions('isnpect', ['inspect', 'info']), ['inspect'])
  assert.deepEqual(suggestions('swarm', ['start', 'stats', 'search']), [])
})

const answers: Readonly<Record<string, unknown>> = {
  '/containers/json': [{ Names: ['/web'], Image: 'nginx', State: 'running', Status: 'Up' }, { Names: ['/old'], Image: 'busybox', State: 'exited', Status: 'Exited' }],
  '/images/json': [{ RepoTags: ['busybox:latest', 'nginx:1'] }], '/networks': [{ Name: 'front', Driver: 'bridge' }], '/volumes': { Volumes: null }, '/info': { Runtimes: { gantry: {}, runc: {} }, Plugins: { Log: ['json-file', 'none'] } },
}
const sources = { commands: COMMANDS, globals: GLOBAL_FLAGS, plugins: ['compose'], contexts: () => ['default', 'far'], env: { HOME: '/x' }, api: { json: async (_: string, path: string) => answers[path] } } as unknown as CompletionSources
const words = async (...typed: readonly string[]): Promise<readonly string[]> => (await complete(typed, sources)).words.map(([word]) => word)

it('complete() offers commands, flags and names of live objects', async () => {
  assert.deepEqual(await words('rena'), ['rename'])
  assert.deepEqual(await words('comp'), ['completion', 'compose'])
  assert.deepEqual(await words('network', 'conn'), ['connect'])
  assert.deepEqual(await words('stop', ''), ['web'], 'what runs')
  assert.deepEqual(await words('start', ''), ['old'], 'what does not')
  assert.deepEqual(await words('rm', 'web', ''), ['old'], 'what is not there yet')
  assert.deepEqual(await words('run', '--rm', ''), ['busybox', 'nginx:1'])
  assert.deepEqual(await words('run', '--network', ''), ['front'])
  assert.deepEqual(await words('run', '--runtime=r'), ['--runtime=runc'])
  assert.deepEqual(await words('--context', 'f'), ['far'])
  assert.deepEqual(await words('run', '--privi'), ['--privileged'])
  assert.deepEqual(await words('run', 'busybox', '--pri'), [], 'what follows the image is the container’s')
  assert.deepEqual(await words('cp', 'we'), ['web:'])
  assert.deepEqual(await words('volume', 'rm', ''), [])
  assert.equal((await complete(['load', '--input', ''], sources)).files, true)
})
