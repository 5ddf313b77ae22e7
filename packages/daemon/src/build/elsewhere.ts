import type { BuildContext, NamedContext } from '@gantry/builder'
import { collect } from '@gantry/std'
import { openUrl } from '../images/remote-archive.ts'
import { DOCKERFILE_LIMIT } from './dockerfile.ts'
import { isGitSource } from './git.ts'
import type { BuildHandlerPorts } from './ports.ts'
import { gitContext } from './sources.ts'

/** A context that neither the client nor this machine has: a repository or an archive by its URL. A text is a Dockerfile without a context. */
export async function fetchContext(ports: BuildHandlerPorts, remote: string, options: { readonly keepGitDirectory: boolean; readonly signal: AbortSignal }): Promise<BuildContext | Buffer> {
  if (isGitSource(remote)) return gitContext(ports, remote, options)
  const answer = await openUrl(remote, options.signal)
  return /^text\/plain/.test(answer.contentType) ? collect(answer.body, DOCKERFILE_LIMIT) : ports.contexts.receive(answer.body)
}

/** Files that come when they are first asked for, and go with the build. */
export function fetchedOnce(held: Disposable[], work: () => Promise<BuildContext>): () => Promise<BuildContext> {
  let came: Promise<BuildContext> | undefined
  return () => (came ??= work().then((made) => (held.push(made), made)))
}

/** A context beside the first that is an image, a repository or an URL; undefined: it is something else. */
export function namedElsewhere(ports: BuildHandlerPorts, value: string, signal: AbortSignal, held: Disposable[]): NamedContext | undefined {
  if (value.startsWith('docker-image://')) return value
  if (isGitSource(value)) return fetchedOnce(held, () => gitContext(ports, value, { keepGitDirectory: false, signal }))
  if (/^https?:\/\//i.test(value)) return fetchedOnce(held, async () => ports.contexts.receive((await openUrl(value, signal)).body))
  return undefined
}
