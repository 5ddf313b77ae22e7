import { EngineError } from '@gantry/std'
import { fromContext, digestOfSelected } from './copy.ts'
import { CONTEXT_ROOT, contextLayer } from './layer.ts'
import type { Instruction } from '../dockerfile/instructions.ts'
import { keyOf } from '../key.ts'
import type { BindSource, StepMount } from '../ports.ts'
import type { StepReport } from '../report.ts'
import type { Solver, StepOutcome } from '../solver.ts'
import { platformText } from '../stages.ts'
import type { Expander, StageState } from '../state.ts'
import type { MountSpec } from './mounts.ts'
import { keyOfRun, planRun } from './run.ts'

type Run = Instruction & { readonly kind: 'RUN' }

/** What a bind shows. Files of a context become a layer, once. */
async function bindSource(solver: Solver, index: number, mount: MountSpec): Promise<BindSource> {
  const found = mount.from === '' ? { context: await solver.context() } : await solver.from(mount.from, index)
  if (!('context' in found)) return { chainId: found.chainId, path: `/${mount.source.replace(/^\/+/, '')}`, key: keyOf('layers', found.chainId ?? '', mount.source) }
  const { context } = found
  if (context === undefined) throw new EngineError('invalid', 'RUN --mount=type=bind: there is no build context')
  const source = mount.source.replace(/^\/+|\/+$/g, '')
  const selected = fromContext(context, [source === '' ? '.' : source], false)
  const key = keyOf('context', digestOfSelected(selected, []))
  const { layer } = await solver.cached(key, { kind: 'source.local', description: `files of the context: /${source}` }, () => contextLayer(solver, context, selected))
  return { chainId: layer.chainId, path: selected[0]?.node.type === 'directory' ? CONTEXT_ROOT : `${CONTEXT_ROOT}/${selected[0]?.name ?? ''}`, key }
}

/** What a step sees beside its root, and what has to be let go behind it. */
async function mountsOf(solver: Solver, plan: ReturnType<typeof planRun>, binds: ReadonlyMap<MountSpec, BindSource>, env: string[], held: (() => void)[]): Promise<readonly StepMount[]> {
  const mounts: StepMount[] = [...plan.scripts]
  for (const mount of plan.mounts) {
    const { target, mode, uid, gid } = mount
    if (mount.type === 'bind') {
      const source = binds.get(mount)
      if (source !== undefined) mounts.push({ kind: 'layers', chainId: source.chainId, path: source.path, target, readOnly: mount.readOnly })
    } else if (mount.type === 'tmpfs') mounts.push({ kind: 'tmpfs', target, bytes: mount.size })
    else if (mount.type === 'cache') {
      const cache = await solver.ports.cacheDirectory({ id: mount.id, sharing: mount.sharing, mode: mode ?? 0o755, uid, gid, seed: binds.get(mount) }, solver.options.signal)
      held.push(cache.release)
      mounts.push({ kind: 'directory', source: cache.path, target, readOnly: mount.readOnly })
    } else if (mount.type === 'secret') {
      const content = await solver.options.secret(mount.id)
      if (content === undefined) {
        if (mount.required) throw new EngineError('invalid', `secret ${mount.id}: not found`)
        continue
      }
      if (mount.env !== '') env.push(`${mount.env}=${content.toString('utf8')}`)
      if (target !== '') mounts.push({ kind: 'file', content, target, mode: mode ?? 0o400, uid, gid })
    } else {
      const source = await solver.options.ssh(mount.id, { mode: mode ?? 0o600, uid, gid })
      if (source === undefined) {
        if (mount.required) throw new EngineError('invalid', `unset ssh forward key ${mount.id}`)
        continue
      }
      const at = target === '' ? `/run/buildkit/ssh_agent.${held.length}` : target
      env.push(`SSH_AUTH_SOCK=${at}`)
      mounts.push({ kind: 'socket', source, target: at })
    }
  }
  return mounts
}

/** Carries a RUN out. */
export async function runStep(solver: Solver, index: number, state: StageState, run: Run, expand: Expander, report: StepReport): Promise<StepOutcome> {
  const { options, ports } = solver
  const plan = planRun(state, run, expand, options.buildArgs)
  if (plan.network === 'host' && !options.entitlements.has('network.host')) throw new EngineError('forbidden', 'network.host is not allowed')
  if (plan.insecure && !options.entitlements.has('security.insecure')) throw new EngineError('forbidden', 'security.insecure is not allowed')
  if (!ports.runs(state.platform)) throw new EngineError('unsupported', `programs of ${platformText(state.platform)} do not run here: no emulation is registered for them (binfmt_misc)`)
  const binds = new Map<MountSpec, BindSource>()
  for (const mount of plan.mounts) if (mount.type === 'bind' || (mount.type === 'cache' && mount.from !== '')) binds.set(mount, await bindSource(solver, index, mount))
  const key = keyOfRun(state, plan, [...binds.values()].map((bind) => bind.key), options)
  const done = await solver.cached(key, { kind: 'regular', description: plan.createdBy.replace(/ # buildkit$/, '') }, async () => {
    const env = [...plan.env]
    const held: (() => void)[] = []
    try {
      const mounts = await mountsOf(solver, plan, binds, env, held)
      const result = await ports.run({
        chainId: state.chainId, config: state.config, argv: plan.argv, env, network: plan.network === 'default' ? options.network : plan.network, insecure: plan.insecure, mounts, hosts: options.hosts, resources: options.resources,
        output: (stream, chunk) => report.output(stream, chunk), signal: options.signal,
      })
      options.signal.throwIfAborted()
      // Clients end with its code.
      if (result.layer === undefined) throw Object.assign(new EngineError('invalid', failure(plan.argv, result)), { exitCode: result.code, summary: summaryOf(plan.argv, result.code) })
      return result.layer
    } finally {
      for (const release of held.reverse()) release()
    }
  })
  return { ...done, createdBy: plan.createdBy }
}

/** The words that BuildKit's clients look for. */
const summaryOf = (argv: readonly string[], code: number): string => `process ${JSON.stringify(argv.join(' '))} did not complete successfully: exit code: ${code}`

/** The words that clients of either builder look for. */
function failure(argv: readonly string[], { code, error }: { readonly code: number; readonly error?: string }): string {
  return `The command '${argv.join(' ')}' returned a non-zero code: ${code}${error === undefined || error === '' ? '' : `: ${error}`} (${summaryOf(argv, code)})`
}
