import { spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, realpathSync, rmSync, statSync } from 'node:fs'
import { EngineError, hasCode } from '@gantry/std'

/** A place in a repository: `URL[#REF[:DIRECTORY]]`. */
export interface GitSource {
  readonly url: string
  /** Branch, tag or commit; empty: whatever the repository calls its head. */
  readonly ref: string
  /** Below the top; empty: all of it. */
  readonly directory: string
}

/** True for what git fetches: `git@…`, `git://…`, `ssh://…`, `github.com/…`, `https://….git`. */
export function isGitSource(text: string): boolean {
  return /^git@|^(?:git|ssh):\/\/|^github\.com\/|^https?:\/\/[^#?]+\.git(?:[#?]|$)/i.test(text)
}

/** Reads one; what git could take for a flag is refused. */
export function parseGitSource(text: string): GitSource {
  const [place = '', fragment = ''] = text.split('#', 2)
  const [ref = '', directory = ''] = fragment.split(':', 2)
  const url = place.startsWith('github.com/') ? `https://${place}` : place
  if (/^-|\s/.test(url) || /^-|[\s~^]|\.\./.test(ref)) throw new EngineError('invalid', `${JSON.stringify(text)}: expected URL#REF:DIRECTORY of a git repository`)
  if (directory.split('/').includes('..')) throw new EngineError('invalid', `${JSON.stringify(text)}: the directory leads out of the repository`)
  return { url, ref, directory: directory.replace(/^\/+|\/+$/g, '') }
}

const LIMIT_MS = 10 * 60_000
const WORDS = 4000
/** Nothing of the host's or of the repository's configuration is run, nobody is asked, and no other way to fetch is taken. */
const SAFE: readonly string[] = ['-c', 'core.hooksPath=/dev/null', '-c', 'core.fsmonitor=false', '-c', 'protocol.file.allow=never', '-c', 'protocol.ext.allow=never', '-c', 'advice.detachedHead=false', '-c', 'init.defaultBranch=main', '-c', 'gc.auto=0']

function run(folder: string, words: readonly string[], signal: AbortSignal): Promise<{ readonly code: number; readonly words: string }> {
  const env = { PATH: process.env['PATH'] ?? '', HOME: folder, GIT_CONFIG_NOSYSTEM: '1', GIT_TERMINAL_PROMPT: '0', GIT_ASKPASS: '/bin/false', SSH_ASKPASS: '/bin/false', GIT_SSH_COMMAND: 'ssh -o BatchMode=yes', GIT_ALLOW_PROTOCOL: 'http:https:git:ssh' }
  return new Promise((resolve, reject) => {
    const child = spawn('git', [...SAFE, '-C', `${folder}/tree`, ...words], { stdio: ['ignore', 'pipe', 'pipe'], env, signal: AbortSignal.any([signal, AbortSignal.timeout(LIMIT_MS)]) })
    let said = ''
    const hear = (chunk: Buffer): void => {
      said = `${said}${chunk.toString()}`.slice(-WORDS)
    }
    child.stdout.on('data', hear)
    child.stderr.on('data', hear)
    child.once('error', (cause) => reject(hasCode(cause, 'ENOENT') ? new EngineError('unavailable', 'git is not installed on the host of the daemon', { cause }) : cause))
    child.once('close', (code) => resolve({ code: code ?? 1, words: said.trim() }))
  })
}

/** Fetches a source; `use` gets the folder with its files, which goes afterwards. */
export async function withGitSource<T>(source: GitSource, work: string, signal: AbortSignal, use: (folder: string) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(`${work}/git-`)
  const { url, ref, directory } = source
  const must = async (...words: readonly string[]): Promise<void> => {
    const ran = await run(folder, words, signal)
    if (ran.code !== 0) throw new EngineError('unavailable', `cannot fetch ${url}${ref === '' ? '' : `#${ref}`}: ${ran.words}`)
  }
  try {
    mkdirSync(`${folder}/tree`)
    await must('init', '--quiet')
    const wanted = ref === '' ? 'HEAD' : ref
    const shallow = await run(folder, ['fetch', '--quiet', '--depth=1', '--no-tags', '--', url, wanted], signal)
    if (shallow.code === 0) await must('checkout', '--quiet', 'FETCH_HEAD')
    else {
      // Servers give commits that have no name only with all that has one.
      await must('fetch', '--quiet', '--', url, '+refs/heads/*:refs/remotes/origin/*', '+refs/tags/*:refs/tags/*')
      await must('checkout', '--quiet', ref)
    }
    await must('submodule', '--quiet', 'update', '--init', '--recursive', '--depth=1')
    const tree = realpathSync(`${folder}/tree`)
    const named = `${tree}/${directory}`
    // A link of the repository leads nowhere but into it.
    const top = statSync(named, { throwIfNoEntry: false })?.isDirectory() === true ? realpathSync(named) : ''
    if (top !== tree && !top.startsWith(`${tree}/`)) throw new EngineError('invalid', `${url}#${ref}: there is no directory ${directory}`)
    return await use(top)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
