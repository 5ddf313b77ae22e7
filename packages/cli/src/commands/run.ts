import { existsSync, writeFileSync } from 'node:fs'
import { text } from 'node:stream/consumers'
import { DaemonError } from '@gantry/api'
import { EngineError, isEngineError } from '@gantry/std'
import { type Command, type Context, each, told } from '../command.ts'
import { type Parsed, UsageError } from '../flags.ts'
import { connect, followSize } from '../terminal.ts'
import { createBody, envFile, fromHere } from './create-body.ts'
import { CREATE_FLAGS } from './create-flags.ts'
import { pullImage } from './registry.ts'

const DAEMON_FAILED = 125
const NOT_EXECUTABLE = 126
const NOT_FOUND = 127

/** The exit code of a container that did not start, by the daemon's words. */
export function startFailureCode(message: string): number {
  if (/executable file not found|no such file or directory/.test(message)) return NOT_FOUND
  return /permission denied|is a directory/.test(message) ? NOT_EXECUTABLE : DAEMON_FAILED
}

async function create(context: Context, parsed: Parsed, attach: boolean): Promise<string> {
  const file = parsed.text('cidfile')
  if (file !== '' && existsSync(file)) throw new EngineError('invalid', `container ID file found, make sure the other container isn't running or delete ${file}`)
  const [image = ''] = parsed.rest
  const platform = parsed.text('platform')
  const pull = (): Promise<void> => pullImage(context, image, { platform, allTags: false, quiet: parsed.bool('quiet'), to: process.stderr })
  const policy = parsed.text('pull') || 'missing'
  if (!['always', 'missing', 'never'].includes(policy)) throw new EngineError('invalid', `invalid pull option: '${policy}': must be one of "always", "missing" or "never"`)
  if (policy === 'always') await pull()
  if (parsed.has('kernel-memory')) process.stderr.write('WARNING: --kernel-memory is ignored: kernels have no such limit of their own any more\n')
  const body = createBody(parsed, attach, { host: context.host, config: context.config() })
  const send = (): Promise<{ Id: string; Warnings: readonly string[] }> => context.api.json('POST', '/containers/create', { query: { name: parsed.text('name'), platform }, json: body })
  const result = await send().catch(async (error: unknown) => {
    if (policy !== 'missing' || !isEngineError(error) || !/^No such image/.test(error.message)) throw error
    if (!parsed.bool('quiet')) process.stderr.write(`Unable to find image '${error.message.replace('No such image: ', '')}' locally\n`)
    await pull()
    return send()
  })
  for (const warning of result.Warnings) process.stderr.write(`WARNING: ${warning}\n`)
  if (file !== '') writeFileSync(file, result.Id)
  return result.Id
}

/** Waits for the end; the request is on its way before the container starts. */
async function waiting(context: Context, id: string, condition: string): Promise<() => Promise<number>> {
  const response = await context.api.send('POST', `/containers/${id}/wait`, { query: { condition } })
  return async () => (JSON.parse(await text(response)) as { StatusCode: number }).StatusCode
}

/** Signals that come here go to the container. */
function forwardSignals(context: Context, id: string): () => void {
  const names = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2'] as const
  const handlers = names.map((name) => {
    const handler = (): void => void context.api.send('POST', `/containers/${id}/kill`, { query: { signal: name } }).catch(() => undefined)
    process.on(name, handler)
    return () => process.off(name, handler)
  })
  return () => {
    for (const stop of handlers) stop()
  }
}

/** Query of `/containers/{id}/start`. */
type StartQuery = Readonly<Record<string, string>>

/** Attach, then start (where `start` is given), then wait: nothing of the output can be missed. */
/** `--sig-proxy=false`: signals that come here stay here. */
const isDeaf = (parsed: Parsed): boolean => parsed.has('sig-proxy') && !parsed.bool('sig-proxy')

interface AttachOptions {
  readonly tty: boolean
  readonly stdin: boolean
  /** Streams to show; both, where it is left out. */
  readonly show?: readonly string[]
  readonly condition: string
  readonly detachKeys: string
  readonly start: StartQuery | undefined
  /** Signals are not passed on. */
  readonly deaf?: boolean
}

async function attached(context: Context, id: string, options: AttachOptions): Promise<number> {
  const shows = (name: string): boolean => options.show === undefined || options.show.includes(name)
  const stream = await context.api.hijack(`/containers/${id}/attach`, { query: { stream: true, stdout: shows('stdout'), stderr: shows('stderr'), stdin: options.stdin, detachKeys: options.detachKeys || context.setting('detachKeys') } })
  const ended = await waiting(context, id, options.condition)
  const done = connect(stream, options)
  const stopSignals = options.tty || options.deaf === true ? () => undefined : forwardSignals(context, id)
  try {
    if (options.start !== undefined) await context.api.send('POST', `/containers/${id}/start`, { query: options.start })
  } catch (error) {
    stream.destroy()
    stopSignals()
    throw error
  }
  const stopSize = options.tty ? followSize((rows, columns) => context.api.send('POST', `/containers/${id}/resize`, { query: { h: rows, w: columns } })) : () => undefined
  await done
  stopSize()
  stopSignals()
  const state = options.condition === 'removed' ? undefined : await context.api.json<{ State: { Running: boolean } }>('GET', `/containers/${id}/json`).catch(() => undefined)
  if (state?.State.Running === true) {
    process.stderr.write('read escape sequence\n')
    return 0
  }
  return ended()
}

const withHelp = (error: unknown, name: string): string => `gantry: ${told(error)}\n\nRun 'gantry ${name} --help' for more information`

async function run(context: Context, parsed: Parsed): Promise<number> {
  const detach = parsed.bool('detach')
  try {
    const id = await create(context, parsed, !detach)
    if (parsed.bool('explain')) {
      const { listing } = await context.api.json<{ listing: string }>('GET', `/containers/${id}/explain`)
      await context.api.send('DELETE', `/containers/${id}`, { query: { force: true, v: true } })
      process.stdout.write(listing)
      return 0
    }
    if (detach) {
      await context.api.send('POST', `/containers/${id}/start`)
      process.stdout.write(`${id}\n`)
      return 0
    }
    const streams = parsed.list('attach').map((one) => one.toLowerCase())
    return await attached(context, id, { tty: parsed.bool('tty'), stdin: parsed.bool('interactive') && (streams.length === 0 || streams.includes('stdin')), ...(streams.length > 0 && { show: streams }), condition: parsed.bool('rm') ? 'removed' : 'next-exit', detachKeys: parsed.text('detach-keys'), start: {}, deaf: isDeaf(parsed) })
  } catch (error) {
    throw new UsageError(withHelp(error, 'run'), startFailureCode(error instanceof DaemonError && error.kind === 'invalid' ? error.message : ''))
  }
}

/** Runs a container that is described by its create request, with this terminal, until it has ended and is removed. */
export async function runBeside(context: Context, body: Readonly<Record<string, unknown>>, tty: boolean): Promise<number> {
  const { Id } = await context.api.json<{ Id: string }>('POST', '/containers/create', { json: body })
  return attached(context, Id, { tty, stdin: true, condition: 'removed', detachKeys: '', start: {} })
}

async function exec(context: Context, parsed: Parsed): Promise<number> {
  const [name = '', ...command] = parsed.rest
  const [tty, stdin, detach] = [parsed.bool('tty'), parsed.bool('interactive'), parsed.bool('detach')]
  const size = [process.stdout.rows ?? 0, process.stdout.columns ?? 0]
  const { Id } = await context.api.json<{ Id: string }>('POST', `/containers/${name}/exec`, {
    json: { Cmd: command, Tty: tty, AttachStdin: stdin && !detach, AttachStdout: !detach, AttachStderr: !detach, Env: [...parsed.list('env-file').flatMap(envFile), ...parsed.list('env').flatMap(fromHere)], User: parsed.text('user'), WorkingDir: parsed.text('workdir'), Privileged: parsed.bool('privileged'), DetachKeys: parsed.text('detach-keys') || context.setting('detachKeys'), ConsoleSize: size },
  })
  if (detach) {
    await context.api.send('POST', `/exec/${Id}/start`, { json: { Detach: true, Tty: tty } })
    return 0
  }
  const stream = await context.api.hijack(`/exec/${Id}/start`, { json: { Detach: false, Tty: tty, ConsoleSize: size } })
  const stopSize = tty ? followSize((rows, columns) => context.api.send('POST', `/exec/${Id}/resize`, { query: { h: rows, w: columns } })) : () => undefined
  await connect(stream, { tty, stdin })
  stopSize()
  return (await context.api.json<{ ExitCode: number | null }>('GET', `/exec/${Id}/json`)).ExitCode ?? 0
}

interface Inspected {
  readonly Config: { readonly Tty: boolean; readonly OpenStdin: boolean }
  readonly State: { readonly Running: boolean; readonly Paused: boolean }
}

async function start(context: Context, parsed: Parsed): Promise<number> {
  const [name = ''] = parsed.rest
  if ((parsed.bool('attach') || parsed.bool('interactive')) && parsed.rest.length > 1) throw new EngineError('invalid', 'you cannot start and attach multiple containers at once')
  const query = { checkpoint: parsed.text('checkpoint'), 'checkpoint-dir': parsed.text('checkpoint-dir') }
  if (parsed.bool('attach') || parsed.bool('interactive')) {
    const { Config } = await context.api.json<Inspected>('GET', `/containers/${name}/json`)
    return attached(context, name, { tty: Config.Tty, stdin: parsed.bool('interactive') && Config.OpenStdin, condition: 'next-exit', detachKeys: parsed.text('detach-keys'), start: query, deaf: isDeaf(parsed) })
  }
  const failed: string[] = []
  const code = await each(parsed.rest, async (one) => {
    failed.push(one)
    await context.api.send('POST', `/containers/${one}/start`, { query })
    failed.pop()
    return one
  })
  if (failed.length > 0) process.stderr.write(`Error: failed to start containers: ${failed.join(', ')}\n`)
  return code
}

async function attach(context: Context, parsed: Parsed): Promise<number> {
  const [name = ''] = parsed.rest
  const { Config, State } = await context.api.json<Inspected>('GET', `/containers/${name}/json`)
  if (!State.Running) throw new EngineError('conflict', 'You cannot attach to a stopped container, start it first')
  if (State.Paused) throw new EngineError('conflict', 'You cannot attach to a paused container, unpause it first')
  return attached(context, name, { tty: Config.Tty, stdin: !parsed.bool('no-stdin') && Config.OpenStdin, condition: 'not-running', detachKeys: parsed.text('detach-keys'), start: undefined, deaf: isDeaf(parsed) })
}

const SIG_PROXY = { name: 'sig-proxy', kind: 'bool', help: 'Proxy received signals to the process (default true)' } as const
const DETACH_KEYS = { name: 'detach-keys', kind: 'text', help: 'Override the key sequence for detaching a container' } as const

/** Commands that start something. */
export const RUN_COMMANDS: readonly Command[] = [
  {
    names: ['run', 'container run'], usage: 'run [OPTIONS] IMAGE [COMMAND] [ARG...]', help: 'Create and run a new container from an image', stop: true,
    flags: [...CREATE_FLAGS, { name: 'detach', short: 'd', kind: 'bool', help: 'Run container in background and print container ID' }, DETACH_KEYS, SIG_PROXY, { name: 'explain', kind: 'bool', help: 'Print the kernel operations of the start; run nothing' }], run,
  },
  {
    names: ['create', 'container create'], usage: 'create [OPTIONS] IMAGE [COMMAND] [ARG...]', help: 'Create a new container', stop: true, flags: CREATE_FLAGS,
    run: async (context, parsed) => {
      try {
        process.stdout.write(`${await create(context, parsed, true)}\n`)
        return 0
      } catch (error) {
        if (error instanceof DaemonError) throw error
        throw new UsageError(withHelp(error, 'create'))
      }
    },
  },
  {
    names: ['start', 'container start'], usage: 'start [OPTIONS] CONTAINER [CONTAINER...]', help: 'Start one or more stopped containers',
    flags: [{ name: 'attach', short: 'a', kind: 'bool', help: 'Attach STDOUT/STDERR and forward signals' }, { name: 'interactive', short: 'i', kind: 'bool', help: "Attach container's STDIN" }, { name: 'checkpoint', kind: 'text', help: 'Restore from this checkpoint' }, { name: 'checkpoint-dir', kind: 'text', help: 'Use a custom checkpoint storage directory' }, DETACH_KEYS, SIG_PROXY], run: start,
  },
  { names: ['attach', 'container attach'], usage: 'attach [OPTIONS] CONTAINER', help: 'Attach to a running container', flags: [{ name: 'no-stdin', kind: 'bool', help: 'Do not attach STDIN' }, DETACH_KEYS, SIG_PROXY], run: attach },
  {
    names: ['exec', 'container exec'], usage: 'exec [OPTIONS] CONTAINER COMMAND [ARG...]', help: 'Execute a command in a running container', stop: true, run: exec,
    flags: [
      { name: 'detach', short: 'd', kind: 'bool', help: 'Detached mode: run command in the background' }, { name: 'interactive', short: 'i', kind: 'bool', help: 'Keep STDIN open even if not attached' }, { name: 'tty', short: 't', kind: 'bool', help: 'Allocate a pseudo-TTY' },
      { name: 'env', short: 'e', kind: 'list', help: 'Set environment variables' }, { name: 'env-file', kind: 'list', help: 'Read in a file of environment variables' }, { name: 'user', short: 'u', kind: 'text', help: 'Username or UID' }, { name: 'workdir', short: 'w', kind: 'text', help: 'Working directory inside the container' }, { name: 'privileged', kind: 'bool', help: 'Give extended privileges to the command' }, DETACH_KEYS,
    ],
  },
]
