import { spawn } from 'node:child_process'
import { lstatSync, mkdirSync, statSync } from 'node:fs'
import { basename, dirname, resolve } from 'node:path'
import { pipeline } from 'node:stream/promises'
import type { Transport } from '@gantry/api'
import { EngineError } from '@gantry/std'

interface PathStat {
  readonly name: string
  readonly mode: number
  readonly linkTarget: string
}

const DIRECTORY_BIT = 2 ** 31

async function stat(api: Transport, container: string, path: string): Promise<PathStat | undefined> {
  try {
    const response = await api.send('HEAD', `/containers/${container}/archive`, { query: { path } })
    response.resume()
    return JSON.parse(Buffer.from(String(response.headers['x-docker-container-path-stat']), 'base64').toString('utf8')) as PathStat
  } catch (error) {
    if (error instanceof EngineError && error.kind === 'not-found') return undefined
    throw error
  }
}

/** Runs the host's tar and fails with its own words. */
function tar(args: readonly string[]): { readonly input: NodeJS.WritableStream; readonly output: NodeJS.ReadableStream; readonly done: Promise<void> } {
  const child = spawn('tar', args, { stdio: ['pipe', 'pipe', 'pipe'] })
  let words = ''
  child.stderr.on('data', (chunk: Buffer) => {
    words += chunk.toString()
  })
  const done = new Promise<void>((resolveDone, reject) => {
    child.once('error', reject)
    child.once('close', (code) => (code === 0 ? resolveDone() : reject(new EngineError('invalid', `tar: ${words.trim()}`))))
  })
  return { input: child.stdin, output: child.stdout, done }
}

/** Container to host: `-` gives the archive itself. */
export async function copyOut(api: Transport, container: string, path: string, to: string): Promise<void> {
  const response = await api.send('GET', `/containers/${container}/archive`, { query: { path } })
  if (to === '-') return pipeline(response, process.stdout, { end: false })
  const there = statSync(to, { throwIfNoEntry: false })
  const into = there?.isDirectory() === true
  const from = basename(path.replace(/\/\.?$/, '')) || '/'
  const target = resolve(to)
  const content = path.endsWith('/.')
  if (content && there === undefined) mkdirSync(target)
  const rename = into || content ? [] : [`--transform=s,^${from.replace(/[.*[\]^$\\,]/g, '\\$&')},${basename(target).replace(/[&\\,]/g, '\\$&')},`]
  const unpack = tar(['-x', '-C', into || content ? target : dirname(target), '--no-same-owner', ...rename])
  await Promise.all([pipeline(response, unpack.input), unpack.done])
}

/** Host to container: `-` takes an archive from here. */
export async function copyIn(api: Transport, from: string, container: string, path: string, withOwners: boolean): Promise<void> {
  const query = (directory: string) => ({ path: directory, noOverwriteDirNonDir: 'true', ...(withOwners && { copyUIDGID: '1' }) })
  if (from === '-') {
    const response = await api.send('PUT', `/containers/${container}/archive`, { query: query(path), body: process.stdin, contentType: 'application/x-tar' })
    response.resume()
    return
  }
  lstatSync(from)
  const target = await stat(api, container, path)
  const resolved = target?.linkTarget ? target.linkTarget : path
  const real = target?.linkTarget ? await stat(api, container, resolved) : target
  const isDirectory = real !== undefined && real.mode >= DIRECTORY_BIT
  if (path.endsWith('/') && !isDirectory) throw new EngineError('invalid', 'no such directory')
  const source = resolve(from)
  const inside = from.endsWith('/.')
  const name = isDirectory ? basename(source) : basename(resolved)
  const rename = inside || name === basename(source) ? [] : [`--transform=s,^${basename(source).replace(/[.*[\]^$\\,]/g, '\\$&')},${name.replace(/[&\\,]/g, '\\$&')},`]
  const pack = tar(['-c', '-C', inside ? source : dirname(source), '--numeric-owner', ...(withOwners ? [] : ['--owner=0', '--group=0']), ...rename, inside ? '.' : basename(source)])
  const response = await api.send('PUT', `/containers/${container}/archive`, { query: query(isDirectory ? resolved : dirname(resolved)), body: pack.output as NodeJS.ReadableStream & AsyncIterable<Uint8Array>, contentType: 'application/x-tar' })
  response.resume()
  await pack.done
}
