import { spawn, spawnSync } from 'node:child_process'
import { accessSync, constants, existsSync, readdirSync } from 'node:fs'
import { constants as os } from 'node:os'
import { asObject, asString, asStrings, hasCode } from '@gantry/std'
import { configDirectory, openConfig } from './config-file.ts'

const SYSTEM_PLACES: readonly string[] = ['/usr/local/lib/docker/cli-plugins', '/usr/local/libexec/docker/cli-plugins', '/usr/lib/docker/cli-plugins', '/usr/libexec/docker/cli-plugins']
const NAME = /^(?:docker|gantry)-([a-z][a-z0-9]*)$/
const DESCRIBE_MS = 2000

/** Programs that add commands to the client, as Docker's client has them: `docker-compose` adds `compose`. By name; the first folder wins. */
export function findPlugins(env: NodeJS.ProcessEnv): ReadonlyMap<string, string> {
  const directory = configDirectory(env)
  const extra = asStrings(openConfig(directory).read()['cliPluginsExtraDirs'], 'cliPluginsExtraDirs')
  const found = new Map<string, string>()
  for (const place of [...extra, `${directory}/cli-plugins`, ...SYSTEM_PLACES]) {
    for (const file of existsSync(place) ? readdirSync(place) : []) {
      const name = NAME.exec(file)?.[1]
      if (name !== undefined && !found.has(name) && runs(`${place}/${file}`)) found.set(name, `${place}/${file}`)
    }
  }
  return found
}

function runs(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch (error) {
    if (hasCode(error, 'EACCES', 'ENOENT')) return false
    throw error
  }
}

/** Names and what each says of itself, for the help. */
export function describePlugins(plugins: ReadonlyMap<string, string>): readonly (readonly [string, string])[] {
  return [...plugins].flatMap(([name, path]) => {
    const { stdout, status } = spawnSync(path, ['docker-cli-plugin-metadata'], { encoding: 'utf8', timeout: DESCRIBE_MS })
    if (status !== 0 || !stdout.startsWith('{')) return []
    return [[name, `${asString(asObject(JSON.parse(stdout), path)['ShortDescription'], 'ShortDescription')} (plugin)`] as const]
  })
}

/** Runs a plugin with the words as they were typed. The terminal sends Ctrl-C to both; other signals are passed on. Gives its exit code. */
export function runPlugin(path: string, words: readonly string[], env: NodeJS.ProcessEnv): Promise<number> {
  const child = spawn(path, words, { stdio: 'inherit', env })
  const pass = (signal: NodeJS.Signals): void => {
    if (signal !== 'SIGINT' || !process.stdin.isTTY) child.kill(signal)
  }
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, pass)
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code, signal) => resolve(code ?? 128 + (signal === null ? 0 : os.signals[signal])))
  })
}
