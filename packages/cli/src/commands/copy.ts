import { spawn } from 'node:child_process'
import { lstatSync, mkdirSync, statSync } from 'node:fs'
import { basename, dirname, resolve } from 'node:path'
import { Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { Transport } from '@gantry/api'
import { EngineError, humanSize } from '@gantry/std'

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
export function tar(args: readonly string[]): { readonly input: NodeJS.WritableStream; readonly output: NodeJS.ReadableStream; readonly done: Promise<void> } {
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

const TELL_MS = 100

/** Lets bytes pass; on a terminal it says how many. */
function counted(words: string, showing: boolean): Transform {
  let bytes = 0
  let last = 0
  const tell = (): void => void process.stderr.write(`\r\u001b[2K${words}${humanSize(bytes)}`)
  return new Transform({
    transform(chunk: Buffer, _, done) {
      bytes += chunk.length
      if (showing && Date.now() - last > TELL_MS) {
        last = Date.now()
        tell()
      }
      done(undefined, chunk)
    },
    flush(done) {
      if (showing) process.stderr.write(`\r\u001b[2KSuccessfully copied ${humanSize(bytes)}\n`)
      done()
    },
  })
}

/** Container to host: `-` gives the archive itself. */
export async function copyOut(api: Transport, container: string, given: string, to: string, options: { readonly follow: boolean; readonly showing: boolean }): Promise<void> {
  const source = await stat(api, container, given)
  const path = options.follow && source?.linkTarget ? source.linkTarget : given
  const response = await api.send('GET', `/containers/${container}/archive`, { query: { path } })
  if (to === '-') return pipeline(response, process.stdout, { end: false })
  const isDirectory = source !== undefined && source.mode >= DIRECTORY_BIT
  const there = statSync(to, { throwIfNoEntry: false })
  if (isDirectory && there?.isDirectory() === false) throw new EngineError('invalid', 'cannot copy directory')
  if (there === undefined && to.endsWith('/') && !isDirectory) throw new EngineError('invalid', `invalid output path: directory ${JSON.stringify(to)} does not exist`)
  const into = there?.isDirectory() === true
  const from = basename(path.replace(/\/\.?$/, '')) || '/'
  const target = resolve(to)
  const content = path.endsWith('/.')
  if (content && there === undefined) mkdirSync(target)
  const rename = into || content ? [] : [`--transform=s,^${from.replace(/[.*[\]^$\\,]/g, '\\$&')},${basename(target).replace(/[&\\,]/g, '\\$&')},`]
  const unpack = tar(['-x', '-C', into || content ? target : dirname(target), '--no-same-owner', ...rename])
  await Promise.all([pipeline(response, counted(`Copying from container - `, options.showing), unpack.input), unpack.done])
}

/** Host to container: `-` takes an archive from here. */
export async function copyIn(api: Transport, from: string, container: string, path: string, { withOwners, follow, showing }: { readonly withOwners: boolean; readonly follow: boolean; readonly showing: boolean }): Promise<void> {
  const query = (directory: string) => ({ path: directory, noOverwriteDirNonDir: 'true', ...(withOwners && { copyUIDGID: '1' }) })
  if (from === '-') {
    const response = await api.send('PUT', `/containers/${container}/archive`, { query: query(path), body: process.stdin, contentType: 'application/x-tar' })
    response.resume()
    return
  }
  lstatSync(from)
  const target = await stat(api, container, path)
  // A path that is not there is about to be made; a container that is not there is told before anything is sent.
  if (target === undefined) await api.json('GET', `/containers/${container}/json`)
  const resolved = target?.linkTarget ? target.linkTarget : path
  const real = target?.linkTarget ? await stat(api, container, resolved) : target
  const isDirectory = real !== undefined && real.mode >= DIRECTORY_BIT
  if (path.endsWith('/') && !isDirectory) throw new EngineError('invalid', 'no such directory')
  const source = resolve(from)
  const inside = from.endsWith('/.')
  const name = isDirectory ? basename(source) : basename(resolved)
  const rename = inside || name === basename(source) ? [] : [`--transform=s,^${basename(source).replace(/[.*[\]^$\\,]/g, '\\$&')},${name.replace(/[&\\,]/g, '\\$&')},`]
  const pack = tar(['-c', ...(follow ? ['-h'] : []), '-C', inside ? source : dirname(source), '--numeric-owner', ...(withOwners ? [] : ['--owner=0', '--group=0']), ...rename, inside ? '.' : basename(source)])
  const response = await api.send('PUT', `/containers/${container}/archive`, { query: query(isDirectory ? resolved : dirname(resolved)), body: pack.output.pipe(counted(`Copying to container - `, showing)), contentType: 'application/x-tar' })
  response.resume()
  await pack.done
}
