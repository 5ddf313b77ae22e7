import { spawnSync } from 'node:child_process'
import { dirname, resolve } from 'node:path'
import { formatRecord, logger, messageOf, openLog } from '@gantry/std'
import { startDaemon } from './daemon.ts'
import { readConfig } from './flags.ts'
import { GANTRY_VERSION } from './system/info.ts'

const log = logger('daemon.main')
const STOPPED = 0
const FAILED = 1
const ALIVE_MS = 1000

/** Tells systemd that the daemon is ready (sd_notify(3)); Node has no datagram sockets of the unix family. */
function notifyReady(): void {
  if (process.env['NOTIFY_SOCKET'] !== undefined) spawnSync('systemd-notify', ['--ready', `--pid=${process.pid}`])
}

/** Runs a daemon in the foreground until a signal ends it. */
async function main(argv: readonly string[]): Promise<number> {
  const root = process.env['GANTRY_ROOT'] ?? resolve(dirname(process.argv[1] ?? ''), '..')
  const config = readConfig(argv, root, process.env)
  const toStderr = (record: Parameters<typeof formatRecord>[0]): void => void process.stderr.write(`${formatRecord(record)}\n`)
  openLog(config.logLevel, toStderr)
  if (process.getuid?.() !== 0) throw new Error('the daemon needs to run as root')
  const stopping = Promise.withResolvers<string>()
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGQUIT'] as const) process.on(signal, () => stopping.resolve(signal))
  process.on('SIGPIPE', () => undefined)
  // Until there is something to reload.
  process.on('SIGHUP', () => undefined)
  const daemon = await startDaemon(config)
  process.stderr.write(`gantry ${GANTRY_VERSION}, exec driver native, graph driver ${daemon.graphDriver}\n`)
  process.on('SIGHUP', () => {
    try {
      const next = readConfig(argv, root, process.env)
      daemon.reload(next)
      openLog(next.logLevel, toStderr)
      log.info('configuration reloaded')
    } catch (cause) {
      log.error('the configuration stays as it was', { cause })
    }
  })
  notifyReady()
  const reason = await Promise.race([stopping.promise, daemon.failed])
  log.info('stopping', { reason })
  // What is awaited now may hang on nothing that keeps the process alive: it must not end before all is put away.
  const alive = setInterval(() => undefined, ALIVE_MS)
  await daemon.stop()
  clearInterval(alive)
  return reason.startsWith('SIG') ? STOPPED : FAILED
}

main(process.argv.slice(2)).then(
  (code) => process.exit(code),
  (error: unknown) => {
    process.stderr.write(`gantry daemon: ${messageOf(error)}\n`)
    process.exit(FAILED)
  },
)
