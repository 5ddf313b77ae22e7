import { EngineError } from '@gantry/std'
import type { Instruction } from '../dockerfile/instructions.ts'
import { keyOf } from '../key.ts'
import type { StepMount } from '../ports.ts'
import { DEFAULT_PATH, type Expander, type StageState, valueIn } from '../state.ts'
import { argvOf } from './metadata.ts'
import { type MountSpec, parseMount } from './mounts.ts'

type Run = Instruction & { readonly kind: 'RUN' }

/** Arguments that a `RUN` gets without asking, and that count neither for its key nor in the history. */
export const PROXY_ARGS: readonly string[] = ['HTTP_PROXY', 'http_proxy', 'HTTPS_PROXY', 'https_proxy', 'FTP_PROXY', 'ftp_proxy', 'NO_PROXY', 'no_proxy', 'ALL_PROXY', 'all_proxy']

/** Where files stand that are written in place and run; `/dev` is in no layer. */
const SCRIPTS = '/dev/pipes'

/** What a `RUN` runs. */
export interface RunPlan {
  readonly argv: readonly string[]
  readonly env: readonly string[]
  /** The environment without what does not count. */
  readonly keyEnv: readonly string[]
  readonly network: string
  readonly insecure: boolean
  readonly mounts: readonly MountSpec[]
  readonly scripts: readonly StepMount[]
  /** What the history says. */
  readonly createdBy: string
}

/** What a heredoc makes of a command: the script itself, or a text for the shell that reads it. */
function commandOf(run: Run): { readonly words: readonly string[]; readonly exec: boolean; readonly scripts: readonly StepMount[] } {
  const { command, heredocs } = run
  const [only] = heredocs
  const [text = ''] = command.words
  if (command.exec || only === undefined) return { ...command, scripts: [] }
  const alone = heredocs.length === 1 && /^\d*<<-?(?:"[^"]+"|'[^']+'|\S+)$/.test(text)
  if (!alone) return { exec: false, words: [`${text}\n${heredocs.map((one) => `${one.content}${one.name}\n`).join('')}`], scripts: [] }
  if (!only.content.startsWith('#!')) return { exec: false, words: [only.content.replace(/\n$/, '')], scripts: [] }
  const target = `${SCRIPTS}/${only.name.replace(/[^\w.-]/g, '_')}`
  return { exec: false, words: [target], scripts: [{ kind: 'file', content: Buffer.from(only.content), target, mode: 0o755, uid: 0, gid: 0 }] }
}

/** Settles a `RUN`: what is run, with which variables and mounts. */
export function planRun(state: StageState, run: Run, expand: Expander, buildArgs: ReadonlyMap<string, string>): RunPlan {
  const { config } = state
  const { scripts, ...command } = commandOf(run)
  const argv = argvOf(config, command)
  const own = config.Env ?? []
  const args = [...state.args].filter(([name]) => valueIn(own, name) === undefined)
  const counted = args.filter(([name]) => !PROXY_ARGS.includes(name))
  const proxies = PROXY_ARGS.flatMap((name) => (buildArgs.has(name) && valueIn(own, name) === undefined ? [`${name}=${buildArgs.get(name)}`] : []))
  const path = valueIn(own, 'PATH') === undefined ? [`PATH=${DEFAULT_PATH}`] : []
  const keyEnv = [...path, ...own, ...counted.map(([name, value]) => `${name}=${value}`)]
  const network = expand.word(run.flags.get('network')?.[0] ?? 'default')
  if (!['default', 'none', 'host'].includes(network)) throw new EngineError('invalid', `invalid network mode ${JSON.stringify(network)}: expected default, none or host`)
  const security = expand.word(run.flags.get('security')?.[0] ?? 'sandbox')
  if (security !== 'sandbox' && security !== 'insecure') throw new EngineError('invalid', `security ${JSON.stringify(security)} is not valid: expected sandbox or insecure`)
  if (run.flags.has('device')) throw new EngineError('unsupported', 'RUN --device is not supported')
  const mounts = (run.flags.get('mount') ?? []).map((text) => parseMount(expand.word(text), config.WorkingDir === undefined || config.WorkingDir === '' ? '/' : config.WorkingDir))
  const said = counted.length === 0 ? '' : `|${counted.length} ${counted.map((pair) => pair.join('=')).join(' ')} `
  return { argv, env: [...keyEnv, ...proxies], keyEnv, network, insecure: security === 'insecure', mounts, scripts, createdBy: `RUN ${said}${argv.join(' ')} # buildkit` }
}

/** The key of a `RUN`: what it stands on, what it runs, and what it sees. `sources`: what stands for the content of its binds. */
export function keyOfRun(state: StageState, plan: RunPlan, sources: readonly string[], options: { readonly network: string; readonly hosts: readonly string[] }): string {
  const mounts = plan.mounts.map(({ type, target, id, mode, uid, gid, size, env, readOnly, source }) => [type, target, type === 'bind' ? '' : id, type === 'secret' || type === 'ssh' ? '' : source, mode ?? null, uid, gid, size ?? null, env, readOnly])
  const scripts = plan.scripts.map((script) => (script.kind === 'file' ? script.content.toString('base64') : ''))
  return keyOf('run', state.chainId ?? '', plan.argv, plan.keyEnv, state.config.User ?? '', state.config.WorkingDir ?? '', plan.network, options.network, options.hosts, plan.insecure, mounts, scripts, sources)
}
