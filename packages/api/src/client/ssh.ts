import { spawn } from 'node:child_process'
import { Duplex } from 'node:stream'
import { EngineError } from '@gantry/std'

/** Either client passes its standard streams on to its daemon; whichever the other host has. */
const REMOTE = 'if command -v gantry >/dev/null 2>&1; then exec gantry system dial-stdio; else exec docker system dial-stdio; fi'
const WORDS_LIMIT = 4096

/** Words of ssh(1) for `ssh://[user@]host[:port][/path of the socket]`. */
export function sshWords(host: string): readonly string[] {
  const match = /^ssh:\/\/(?:([^@/:]+)@)?(\[[^\]]+\]|[^:/@]+)(?::(\d{1,5}))?(\/.*)?$/.exec(host)
  const [, user, name = '', port, path = ''] = match ?? []
  // What begins with a dash would be an option of ssh.
  if (match === null || name.startsWith('-') || user?.startsWith('-') === true) throw new EngineError('invalid', `unable to parse docker host \`${host}\`: expected ssh://[user@]host[:port]`)
  const command = path === '' || path === '/' ? REMOTE : `export DOCKER_HOST='unix://${path.replaceAll("'", "'\\''")}'; ${REMOTE}`
  return ['-o', 'ConnectTimeout=30', '-T', ...(user === undefined ? [] : ['-l', user]), ...(port === undefined ? [] : ['-p', port]), '--', name.replace(/^\[|\]$/g, ''), command]
}

/** A connection to the daemon of another host: the standard streams of an ssh. */
export function sshStream(host: string): Duplex {
  const child = spawn('ssh', sshWords(host), { stdio: ['pipe', 'pipe', 'pipe'] })
  let words = ''
  let heard = false
  child.stderr.on('data', (chunk: Buffer) => {
    if (words.length < WORDS_LIMIT) words += chunk.toString()
  })
  const stream = new Duplex({
    read: () => void child.stdout.resume(),
    write: (chunk: Buffer, _, done) => void child.stdin.write(chunk, done),
    final: (done) => void child.stdin.end(done),
    destroy: (error, done) => {
      child.kill()
      done(error)
    },
  })
  // How it has ended says why.
  child.stdin.on('error', () => undefined)
  child.stdout.on('data', (chunk: Buffer) => {
    heard = true
    if (!stream.push(chunk)) child.stdout.pause()
  })
  child.once('error', (cause) => stream.destroy(new EngineError('unavailable', `cannot run ssh: ${cause.message}`, { cause })))
  child.once('close', (code) => {
    if (code === 0 || heard) stream.push(null)
    else stream.destroy(new EngineError('unavailable', `ssh ended with ${code}: ${words.trim() || 'it said nothing'}`))
  })
  return stream
}
