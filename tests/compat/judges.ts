import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { exec, root } from '../harness.ts'

/** Libraries of others that judge us; they are no part of the project, so that they have a folder of their own and their install scripts do not run. */
const VERSIONS: Readonly<Record<string, string>> = { dockerode: '5.0.1', testcontainers: '12.2.0', '@testcontainers/postgresql': '12.2.0', '@testcontainers/redis': '12.1.0', pg: '8.23.1', redis: '6.3.1' }

/** Fetches libraries from npm into one folder, once; gives the folder, or undefined where that cannot be done. */
export async function judgesHome(name: string, libraries: readonly string[]): Promise<string | undefined> {
  const home = `${root}/build/judges/${name}`
  if (!libraries.every((one) => existsSync(`${home}/node_modules/${one}/package.json`))) {
    mkdirSync(home, { recursive: true })
    writeFileSync(`${home}/package.json`, '{"private":true}\n')
    const ran = await exec('npm', ['install', '--prefix', home, '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error', ...libraries.map((one) => `${one}@${VERSIONS[one]}`)])
    if (ran.code !== 0) return undefined
  }
  return home
}

/** Fetches one library and loads it; undefined where that cannot be done. */
export async function judge<T>(name: string): Promise<T | undefined> {
  const home = await judgesHome(name, [name])
  return home === undefined ? undefined : (createRequire(`${home}/`)(name) as T)
}

/** A program of a Debian package, unpacked into a folder of its own and not installed; undefined where that cannot be done. */
export async function debianProgram(name: string, path: string): Promise<string | undefined> {
  const home = `${root}/build/judges/${name}`
  const program = `${home}/root${path}`
  if (existsSync(program)) return program
  mkdirSync(`${home}/root`, { recursive: true })
  const ran = await exec('sh', ['-c', 'cd "$1" && apt-get download -qq "$2" && dpkg -x "$2"_*.deb root', 'sh', home, name])
  return ran.code === 0 && existsSync(program) ? program : undefined
}
