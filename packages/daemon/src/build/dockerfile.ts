import { type BuildContext, toBytes } from '@gantry/builder'
import { EngineError, ignoreRules } from '@gantry/std'

/** No Dockerfile is larger. */
export const DOCKERFILE_LIMIT = 4 << 20
const CONTEXT_NAMES = ['Dockerfile', 'dockerfile']

/** The Dockerfile of a context. */
export function dockerfileIn(context: BuildContext, wanted: string): { readonly name: string; readonly bytes: Buffer } {
  const names = wanted === '' ? CONTEXT_NAMES : [wanted.replace(/^(\.?\/)+/, '')]
  for (const name of names) {
    const path = context.tree.resolve(toBytes(name), true)
    const node = path === undefined ? undefined : context.tree.get(path)
    if (node?.type !== 'file') continue
    if (node.size > DOCKERFILE_LIMIT) throw new EngineError('invalid', `${name} has ${node.size} bytes: expected at most ${DOCKERFILE_LIMIT}`)
    return { name, bytes: Buffer.concat([...context.read(node.digest)]) }
  }
  throw new EngineError('invalid', `Cannot locate specified Dockerfile: ${wanted === '' ? 'Dockerfile' : wanted}`)
}

/** What a context's `.dockerignore` leaves out. */
export function ignoredIn(context: BuildContext): (path: string) => boolean {
  const node = context.tree.get('.dockerignore')
  if (node?.type !== 'file' || node.size > DOCKERFILE_LIMIT) return () => false
  const rules = ignoreRules(Buffer.concat([...context.read(node.digest)]).toString('latin1'))
  return (path) => rules.ignores(path)
}

/** The Dockerfile and the list of what is left out may be left out themselves. */
export function withoutIgnored(context: BuildContext, dockerfile: string): BuildContext {
  const hidden = new Set([toBytes(dockerfile), '.dockerignore'].filter(ignoredIn(context)))
  return hidden.size === 0 ? context : { ...context, tree: context.tree.without(hidden), [Symbol.dispose]: () => context[Symbol.dispose]() }
}
