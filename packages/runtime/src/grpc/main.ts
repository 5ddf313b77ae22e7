/** `gantry supervisor`: the supervisor as a process of its own. */
import { mkdirSync, rmSync } from 'node:fs'
import { dirname } from 'node:path'
import { parseArgs } from 'node:util'
import { EngineError, formatRecord, logger, messageOf, openLog } from '@gantry/std'
import { externalDriver } from '../drivers/oci-cli.ts'
import { lxcDriver } from '../drivers/lxc.ts'
import { nativeDriver } from '../drivers/native.ts'
import { findProgram, readRuntimes } from '../drivers/settings.ts'
import { byRuntime } from '../drivers/table.ts'
import { DEFAULT_RETAIN, openEventLog } from '../event-log.ts'
import { openContainers } from '../host.ts'
import { createSupervisor, DEFAULT_START_TIMEOUT_MS, DEFAULT_WORKERS, parseStartTimeout } from '../supervisor.ts'
import { keptStates } from '../task-state.ts'
import { protoText } from './protocol.ts'
import { serveSupervisor } from './server.ts'

const log = logger('runtime.supervisor')

const OPTIONS = {
  listen: { type: 'string', short: 'l', default: '/run/gantry/supervisor.sock' },
  'exec-root': { type: 'string', default: '/run/gantry' },
  'cgroup-parent': { type: 'string', default: '/gantry' },
  workers: { type: 'string', default: String(DEFAULT_WORKERS) },
  'start-timeout': { type: 'string', default: `${DEFAULT_START_TIMEOUT_MS / 1000}s` },
  'retain-count': { type: 'string', default: String(DEFAULT_RETAIN) },
  'add-runtime': { type: 'string', multiple: true },
  proto: { type: 'boolean' },
  debug: { type: 'boolean', short: 'D' },
  help: { type: 'boolean', short: 'h' },
} as const

const USAGE = `Usage: gantry supervisor [OPTIONS]

Runs containers for a daemon that is started with --containerd ADDRESS.

  -l, --listen ADDRESS        Unix socket to serve gRPC on (default ${OPTIONS.listen.default})
      --exec-root DIR         The daemon's --exec-root (default ${OPTIONS['exec-root'].default})
      --cgroup-parent PATH    The daemon's --cgroup-parent (default ${OPTIONS['cgroup-parent'].default})
      --workers N             Starts at once (default ${OPTIONS.workers.default})
      --start-timeout TIME    A start that takes longer is given up; 0: never (default ${OPTIONS['start-timeout'].default})
      --retain-count N        Events that are kept for replay (default ${OPTIONS['retain-count'].default})
      --add-runtime NAME=PATH Register an OCI runtime
      --proto                 Print the interface as a .proto file
  -D, --debug                 Say more
`

function whole(text: string, name: string): number {
  if (!/^\d{1,6}$/.test(text) || Number(text) === 0) throw new EngineError('invalid', `--${name}: expected a number above 0, got "${text}"`)
  return Number(text)
}

async function main(words: readonly string[]): Promise<void> {
  const { values } = parseArgs({ args: [...words], options: OPTIONS, strict: true })
  if (values.help === true) return void process.stdout.write(USAGE)
  if (values.proto === true) return void process.stdout.write(protoText())
  openLog(values.debug === true ? 'debug' : 'info', (record) => void process.stderr.write(`${formatRecord(record)}\n`))
  const path = values.listen.replace(/^unix:\/\//, '')
  const helper = process.env['GANTRY_HELPER'] ?? `${process.env['GANTRY_ROOT'] ?? '.'}/build/gantry-helper`
  const search = process.env['PATH'] ?? ''
  const runtimes = readRuntimes(values['add-runtime'] ?? [], undefined, search)
  mkdirSync(dirname(path), { recursive: true, mode: 0o711 })
  const containers = await openContainers({ helper, execRoot: values['exec-root'], cgroupParent: values['cgroup-parent'] })
  const named = new Map<string, string>()
  const directory = `${values['exec-root']}/c`
  const lxcStart = findProgram('lxc-start', search)
  const drivers = [...runtimes.map((one) => externalDriver(containers, one, `${values['exec-root']}/runtimes`)), ...(lxcStart === undefined ? [] : [lxcDriver(containers, lxcStart)])]
  const supervisor = createSupervisor(byRuntime([nativeDriver(containers.factory), ...drivers], (id) => named.get(id)), {
    workers: whole(values.workers, 'workers'), startTimeoutMs: parseStartTimeout(values['start-timeout']), stateDirectory: directory, eventLog: openEventLog({ path: `${values['exec-root']}/events.log`, retain: whole(values['retain-count'], 'retain-count') }),
  })
  // What an earlier supervisor has left running is watched again, whether or not somebody asks for it.
  for (const state of keptStates(directory)) {
    named.set(state.id, state.runtime)
    await supervisor.adopt(state.id, state.cgroupsPath === '' ? undefined : state.cgroupsPath)
  }
  const server = await serveSupervisor({ supervisor, runtimes: named }, path)
  log.info('ready', { address: path, drivers: ['gantry', ...drivers.map((one) => one.name)] })
  const ended = await Promise.race([
    containers.launcher.lost.then(() => 'the launcher has ended'),
    ...(['SIGINT', 'SIGTERM'] as const).map((signal) => new Promise<string>((resolve) => process.once(signal, () => resolve(signal)))),
  ])
  log.info('stopping', { because: ended })
  server.close()
  await supervisor.close()
  await containers[Symbol.asyncDispose]()
  rmSync(path, { force: true })
}

main(process.argv.slice(2)).then(
  () => process.exit(0),
  (error: unknown) => {
    process.stderr.write(`gantry supervisor: ${messageOf(error)}\n`)
    process.exit(1)
  },
)
