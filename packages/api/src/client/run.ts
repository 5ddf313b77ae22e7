import type { Readable } from 'node:stream'
import { type Abortable, type Client, createClient, type CreateRequest } from './client.ts'
import { outputOf } from './streams.ts'

/** How a command is run in a container of its own. */
export interface RunOptions extends Abortable {
  readonly client?: Client
  readonly env?: Readonly<Record<string, string>>
  readonly user?: string
  readonly workdir?: string
  /** `source:target[:ro]` */
  readonly binds?: readonly string[]
  readonly network?: string
  /** What the command reads. */
  readonly input?: Readable | string | Uint8Array
  /** Hears output as it comes. */
  readonly onOutput?: (stream: 'stdout' | 'stderr', bytes: Buffer) => void
  /** Whatever else a create request has (Engine API, `POST /containers/create`). */
  readonly more?: Partial<CreateRequest>
}

/** How a command has ended. */
export interface RunResult {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/**
 * Runs a command in a new container and removes it: `const { stdout } = await run('busybox', ['echo', 'hello'])`. An exit code other
 * than 0 is a result, not an error; when the signal aborts, the container is killed and removed, and the promise rejects with the reason.
 */
export async function run(image: string, command: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  const { client = createClient(), env = {}, input, signal, onOutput, more = {} } = options
  const { transport, containers } = client
  const { HostConfig, ...config } = more
  signal?.throwIfAborted()
  const { Id } = await containers.create({
    Image: image, Cmd: command, Env: Object.entries(env).map(([name, value]) => `${name}=${value}`), User: options.user ?? '', WorkingDir: options.workdir ?? '', AttachStdin: input !== undefined, OpenStdin: input !== undefined, StdinOnce: input !== undefined, AttachStdout: true, AttachStderr: true, ...config,
    HostConfig: { Binds: options.binds ?? null, NetworkMode: options.network ?? '', ...HostConfig },
  })
  const parts = { stdout: [] as Buffer[], stderr: [] as Buffer[] }
  try {
    const stream = await transport.hijack(`/containers/${Id}/attach`, { query: { stream: true, stdout: true, stderr: true, stdin: input !== undefined } })
    const abort = (): void => void stream.destroy(signal?.reason instanceof Error ? signal.reason : new Error('aborted'))
    signal?.addEventListener('abort', abort)
    try {
      const ended = containers.wait(Id, { condition: 'next-exit', ...(signal !== undefined && { signal }) })
      // Heard below, or not at all when something else has failed before.
      ended.catch(() => undefined)
      await containers.start(Id)
      if (typeof input === 'string' || input instanceof Uint8Array) stream.end(input)
      else if (input === undefined) stream.end()
      else input.pipe(stream)
      for await (const { stream: name, bytes } of outputOf(stream, config.Tty === true)) {
        parts[name].push(bytes)
        onOutput?.(name, bytes)
      }
      signal?.throwIfAborted()
      return { code: await ended, stdout: Buffer.concat(parts.stdout).toString('utf8'), stderr: Buffer.concat(parts.stderr).toString('utf8') }
    } finally {
      signal?.removeEventListener('abort', abort)
      stream.destroy()
    }
  } finally {
    await containers.remove(Id, { force: true, volumes: true })
  }
}
