import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, openSync, readFileSync } from 'node:fs'
import { EngineError, hasCode } from '@gantry/std'
import type { Transport } from '@gantry/api'

const READY_MS = 30_000
const STOP_MS = 30_000
const LOG = '/var/log/gantry.log'
const TURN_MS = 20

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

/** True when a daemon answers. */
export async function answers(api: Transport): Promise<boolean> {
  try {
    ;(await api.send('GET', '/_ping')).resume()
    return true
  } catch (error) {
    if (error instanceof EngineError && error.kind === 'unavailable') return false
    throw error
  }
}

/** Starts a daemon in the background and waits until it is ready. Says so, and where its words go. */
export async function startDaemon(api: Transport, root: string): Promise<void> {
  if (process.getuid?.() !== 0) throw new EngineError('forbidden', 'no daemon answers, and only root can start one: use sudo')
  process.stderr.write(`gantry: starting the daemon in the background (log: ${LOG})\n`)
  mkdirSync('/var/log', { recursive: true })
  const log = openSync(LOG, 'a', 0o640)
  const child = spawn('sh', [`${root}/tools/gantryd.sh`], { detached: true, stdio: ['ignore', log, log], cwd: '/' })
  let failed = false
  child.once('exit', () => {
    failed = true
  })
  child.unref()
  for (const until = Date.now() + READY_MS; Date.now() < until; await sleep(TURN_MS)) {
    if (await answers(api)) return
    if (failed) throw new EngineError('unavailable', `the daemon ended at once; its last words are in ${LOG}:\n${readFileSync(LOG, 'utf8').trim().split('\n').slice(-3).join('\n')}`)
  }
  throw new EngineError('unavailable', `the daemon is not ready after ${READY_MS / 1000} s; see ${LOG}`)
}

/** Ends the daemon that the pid file names, and waits until it is gone. */
export async function stopDaemon(pidFile: string): Promise<number> {
  if (!existsSync(pidFile)) throw new EngineError('not-found', `no daemon runs: there is no ${pidFile}`)
  const pid = Number(readFileSync(pidFile, 'utf8').split('\n')[0])
  try {
    process.kill(pid, 'SIGTERM')
  } catch (error) {
    if (!hasCode(error, 'ESRCH')) throw error
    throw new EngineError('not-found', `no daemon runs: pid ${pid} of ${pidFile} is gone`, { cause: error })
  }
  for (const until = Date.now() + STOP_MS; Date.now() < until; await sleep(TURN_MS)) if (!existsSync(pidFile)) return 0
  throw new EngineError('unavailable', `the daemon (pid ${pid}) does not end`)
}
