import { Duplex } from 'node:stream'
import { type HealthConfig, streamFrameDecoder } from '@gantry/api'
import type { Task } from '@gantry/runtime'
import { EngineError, logger, messageOf } from '@gantry/std'
import type { Container } from './container.ts'
import { createExec, type ExecPorts, startExec } from './exec.ts'

const log = logger('daemon.health')
const SECOND_NS = 1_000_000_000
const DEFAULTS = { interval: 30 * SECOND_NS, timeout: 30 * SECOND_NS, retries: 3, startInterval: 5 * SECOND_NS } as const
/** Least duration that is asked for, as Docker has it. */
const LEAST_NS = 1_000_000
const RESULTS = 5
const ON_FAILURE: readonly string[] = ['none', 'kill', 'restart', 'stop']
const OUTPUT_LIMIT = 4096
const SIGKILL = 9

/** One probe, as `State.Health.Log` shows it. */
export interface HealthResult {
  readonly Start: string
  readonly End: string
  readonly ExitCode: number
  readonly Output: string
}

/** How a container is, of its own accord. */
export interface Health {
  status: 'starting' | 'healthy' | 'unhealthy'
  failingStreak: number
  results: readonly HealthResult[]
}

/** Checks the times of a health check before anything is made. */
export function checkHealth(config: HealthConfig | undefined): void {
  if (config === undefined) return
  for (const name of ['Interval', 'Timeout', 'StartPeriod', 'StartInterval'] as const) {
    const value = config[name]
    if (value !== undefined && value !== 0 && (!Number.isSafeInteger(value) || value < LEAST_NS)) throw new EngineError('invalid', `${name} in Healthcheck cannot be less than 1ms`)
  }
  if (config.Retries !== undefined && (!Number.isSafeInteger(config.Retries) || config.Retries < 0)) throw new EngineError('invalid', 'Retries in Healthcheck cannot be negative')
  if (config.OnFailure !== undefined && !ON_FAILURE.includes(config.OnFailure)) throw new EngineError('invalid', `OnFailure in Healthcheck: expected ${ON_FAILURE.join(', ')}, got ${JSON.stringify(config.OnFailure)}`)
  const [kind] = config.Test ?? []
  if (kind !== undefined && !['', 'NONE', 'CMD', 'CMD-SHELL'].includes(kind)) throw new EngineError('invalid', `Unknown healthcheck type ${kind} (expected 'CMD'): expected NONE, CMD or CMD-SHELL`)
}

/** The command of a container's health check; undefined where it has none. */
export function probeCommand(container: Container): readonly string[] | undefined {
  const { Healthcheck, Shell } = container.document.config
  const [kind, ...words] = Healthcheck?.Test ?? []
  if (kind === 'CMD') return words.length === 0 ? undefined : words
  if (kind === 'CMD-SHELL') return [...(Shell && Shell.length > 0 ? Shell : ['/bin/sh', '-c']), words[0] ?? '']
  return undefined
}

/** Takes what a probe prints, up to a limit. */
function collector(): { readonly stream: Duplex; text(): string } {
  const parts: Buffer[] = []
  let bytes = 0
  const decode = streamFrameDecoder((_, payload) => {
    const part = payload.subarray(0, Math.max(0, OUTPUT_LIMIT - bytes))
    bytes += part.length
    if (part.length > 0) parts.push(Buffer.from(part))
  })
  const stream = new Duplex({
    read: () => undefined,
    write(chunk: Buffer, _, done) {
      decode(chunk)
      done()
    },
  })
  return { stream, text: () => Buffer.concat(parts).toString('utf8') }
}

async function probe(ports: ExecPorts, container: Container, command: readonly string[], timeoutMs: number): Promise<HealthResult> {
  const Start = new Date().toISOString()
  const result = (ExitCode: number, Output: string): HealthResult => ({ Start, End: new Date().toISOString(), ExitCode, Output })
  const instance = createExec(ports, container, { command, tty: false, openStdin: false, attachStdout: true, attachStderr: true, env: [], user: '', workingDir: '', privileged: false, detachKeys: '' })
  const output = collector()
  const late = Promise.withResolvers<'late'>()
  const timer = setTimeout(() => late.resolve('late'), timeoutMs)
  try {
    const ran = startExec(ports, instance.id, { tty: false, size: [0, 0], connect: () => output.stream }).then(async () => (await instance.process?.exited)?.code)
    const ended = await Promise.race([ran, late.promise])
    if (ended !== 'late') return result(ended ?? instance.exitCode ?? -1, output.text())
    ran.catch(() => undefined) // it was too late: what becomes of it has been told
    await instance.process?.signal(SIGKILL).catch(() => undefined) // it may have ended this very moment
    return result(-1, `Health check exceeded timeout (${timeoutMs / 1000}s)${output.text() === '' ? '' : `: ${output.text()}`}`)
  } catch (error) {
    return result(-1, messageOf(error))
  } finally {
    clearTimeout(timer)
    output.stream.destroy()
  }
}

/** Watches over the health of a container until its process ends. */
export function watchHealth(ports: ExecPorts, container: Container, task: Task, onFailure: (action: 'kill' | 'restart' | 'stop') => Promise<unknown>): void {
  const command = probeCommand(container)
  container.health = undefined
  if (command === undefined) return
  const config = container.document.config.Healthcheck ?? {}
  const ms = (value: number | undefined, otherwise: number): number => (value === undefined || value === 0 ? otherwise : value) / 1_000_000
  const [interval, timeout, startPeriod, startInterval] = [ms(config.Interval, DEFAULTS.interval), ms(config.Timeout, DEFAULTS.timeout), ms(config.StartPeriod, 0), ms(config.StartInterval, DEFAULTS.startInterval)]
  const retries = config.Retries === undefined || config.Retries === 0 ? DEFAULTS.retries : config.Retries
  // What an earlier daemon has seen of this process still holds.
  const health: Health = container.state.health ?? { status: 'starting', failingStreak: 0, results: [] }
  container.health = health
  const began = Number(BigInt(container.state.startedAt === '' ? '0' : container.state.startedAt) / 1_000_000n)
  let over = false
  let timer: NodeJS.Timeout | undefined
  const become = (status: Health['status']): void => {
    if (health.status === status) return
    health.status = status
    ports.emit(container, `health_status: ${status}`)
    const action = config.OnFailure ?? 'none'
    if (status !== 'unhealthy' || action === 'none') return
    log.info('a container is unhealthy', { id: container.id, action })
    onFailure(action).catch((cause: unknown) => log.warn('cannot do what is asked for with an unhealthy container', { id: container.id, action, cause }))
  }
  const judge = (result: HealthResult): void => {
    health.results = [...health.results, result].slice(-RESULTS)
    container.state.health = health
    if (result.ExitCode === 0) {
      health.failingStreak = 0
      return become('healthy')
    }
    // While it starts up, failures count for nothing.
    if (health.status === 'starting' && Date.now() - began < startPeriod) return
    health.failingStreak++
    if (health.failingStreak >= retries) become('unhealthy')
  }
  const schedule = (): void => {
    if (over) return
    const starting = health.status === 'starting' && Date.now() - began < startPeriod
    timer = setTimeout(() => void round(), starting ? Math.min(startInterval, interval) : interval).unref()
  }
  const round = async (): Promise<void> => {
    if (!container.state.paused) {
      const result = await probe(ports, container, command, timeout).catch((cause: unknown) => {
        log.warn('a health check could not be made', { id: container.id, cause })
        return undefined
      })
      if (!over && result !== undefined) {
        judge(result)
        ports.store.save(container)
      }
    }
    schedule()
  }
  schedule()
  void task.exited.then(() => {
    over = true
    clearTimeout(timer)
  })
}

/** `State.Health` of inspect; undefined where there is none. */
export function healthView(container: Container): unknown {
  const { health } = container
  if (health !== undefined) return { Status: health.status, FailingStreak: health.failingStreak, Log: health.results }
  return probeCommand(container) === undefined ? undefined : { Status: container.task === undefined ? 'unhealthy' : 'starting', FailingStreak: 0, Log: null }
}

/** `none` where it has no health check. */
export function healthStatus(container: Container): 'none' | Health['status'] {
  return container.health?.status ?? 'none'
}
