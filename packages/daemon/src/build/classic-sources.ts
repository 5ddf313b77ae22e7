import type { BuildContext, NamedContext, NamedContexts } from '@gantry/builder'
import { EngineError } from '@gantry/std'
import type { BuildRequest } from '../jobs/build.ts'
import { fetchContext, namedElsewhere } from './elsewhere.ts'
import type { AgentLines } from './agent-lines.ts'
import type { Offers } from './offers.ts'
import type { Outputs } from './outputs.ts'
import type { BuildHandlerPorts } from './ports.ts'
import type { Secrets } from './secrets.ts'

/** What the classic door builds with. */
export interface ClassicPorts {
  readonly ports: BuildHandlerPorts
  readonly offers: Offers
  readonly secrets: Secrets
  readonly agents: AgentLines
  readonly outputs: Outputs
}

/** The context of a request: what comes with it, or what an URL leads to. A text is a Dockerfile without a context. */
export async function contextOf(ports: BuildHandlerPorts, offers: Offers, request: BuildRequest, body: AsyncIterable<Uint8Array> | undefined, signal: AbortSignal): Promise<{ readonly context: BuildContext | undefined; readonly dockerfile: Buffer | undefined }> {
  const { remote } = request
  if (remote === '' || remote === 'client-session') {
    if (body === undefined) throw new EngineError('invalid', 'a build needs a context')
    return { context: request.offer === '' ? await ports.contexts.receive(body) : await offers.take(request.offer, body), dockerfile: undefined }
  }
  const fetched = await fetchContext(ports, remote, { keepGitDirectory: false, signal })
  return Buffer.isBuffer(fetched) ? { context: undefined, dockerfile: fetched } : { context: fetched, dockerfile: undefined }
}

/** Contexts that a client of ours names beside the first. Those that have come with it go with the build, asked for or not. */
export function namedContexts(ports: BuildHandlerPorts, offers: Offers, wanted: ReadonlyMap<string, string>, signal: AbortSignal, held: Disposable[]): NamedContexts {
  const contextOf = ([name, value]: readonly [string, string]): readonly [string, NamedContext] => {
    if (value.startsWith('offer:')) {
      const context = offers.ready(value.slice('offer:'.length))
      held.push(context)
      return [name, async () => context]
    }
    const elsewhere = namedElsewhere(ports, value, signal, held)
    if (elsewhere !== undefined) return [name, elsewhere]
    throw new EngineError('invalid', `context ${name}: ${JSON.stringify(value)}: expected docker-image://, an URL or a git repository`)
  }
  return new Map([...wanted].map(contextOf))
}
