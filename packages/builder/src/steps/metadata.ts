import { constants } from 'node:os'
import { posix } from 'node:path'
import { EngineError, type ImageRunConfig, parseDuration } from '@gantry/std'
import type { Command, Flags, Instruction } from '../dockerfile/instructions.ts'
import type { Expander } from '../state.ts'

/** An instruction that changes nothing but what an image says of itself. */
export type MetadataInstruction = Exclude<Instruction, { readonly kind: 'RUN' | 'COPY' | 'ADD' | 'ARG' | 'WORKDIR' }>

/** What it came to. */
export interface MetadataChange {
  readonly config: ImageRunConfig
  /** What the history says of it. */
  readonly createdBy: string
  readonly author?: string
}

/** What shells run when none is named. */
export const DEFAULT_SHELL: readonly string[] = ['/bin/sh', '-c']

const shellOf = (config: ImageRunConfig): readonly string[] => (config.Shell && config.Shell.length > 0 ? config.Shell : DEFAULT_SHELL)

/** The words of a program that is started: a text goes to the shell. */
export function argvOf(config: ImageRunConfig, command: Command): readonly string[] {
  return command.exec ? command.words : command.words.length === 0 ? [] : [...shellOf(config), ...command.words]
}

/** `NAME=value`s over those that are there; a name keeps its place. */
export function withEnv(env: readonly string[] | null | undefined, pairs: readonly (readonly [string, string])[]): readonly string[] {
  const all = [...(env ?? [])]
  for (const [name, value] of pairs) {
    const at = all.findIndex((entry) => entry.startsWith(`${name}=`))
    if (at < 0) all.push(`${name}=${value}`)
    else all[at] = `${name}=${value}`
  }
  return all
}

const quoted = (words: readonly string[]): string => `[${words.map((word) => JSON.stringify(word)).join(' ')}]`
const set = (names: Iterable<string>): Readonly<Record<string, object>> => Object.fromEntries([...names].map((name) => [name, {}]))

const MAX_PORTS = 65_535

/** `80`, `80/udp`, `8000-8010/tcp`, with the host's port before a colon left out. */
function portsOf(text: string): readonly string[] {
  const [, from = '', to = '', protocol = 'tcp'] = /^(?:.*:)?(\d+)(?:-(\d+))?(?:\/(\w+))?$/.exec(text) ?? []
  const [first, last] = [Number(from), Number(to === '' ? from : to)]
  if (from === '' || last > MAX_PORTS || last < first) throw new EngineError('invalid', `invalid containerPort: ${text}`)
  const lower = protocol.toLowerCase()
  if (!['tcp', 'udp', 'sctp'].includes(lower)) throw new EngineError('invalid', `invalid proto: ${protocol}`)
  return Array.from({ length: last - first + 1 }, (_, index) => `${first + index}/${lower}`)
}

function checkSignal(text: string): void {
  const name = text.toUpperCase().replace(/^SIG/, '')
  if (/^\d+$/.test(text) ? Number(text) >= 1 && Number(text) <= 64 : `SIG${name}` in constants.signals || /^RTM(IN(\+\d+)?|AX(-\d+)?)$/.test(name)) return
  throw new EngineError('invalid', `invalid signal: ${text}`)
}

const HEALTH_TIMES: readonly (readonly [flag: string, field: string])[] = [['interval', 'Interval'], ['timeout', 'Timeout'], ['start-period', 'StartPeriod'], ['start-interval', 'StartInterval']]

function healthOf(flags: Flags, command: Command | undefined): Readonly<Record<string, unknown>> {
  if (command === undefined) return { Test: ['NONE'] }
  const fields: Record<string, number> = {}
  for (const [flag, field] of HEALTH_TIMES) {
    const text = flags.get(flag)?.[0]
    if (text === undefined) continue
    const ms = parseDuration(text)
    if (ms === undefined) throw new EngineError('invalid', `--${flag}=${text}: expected a time such as 30s or 1m30s`)
    if (ms < 0) throw new EngineError('invalid', `Interval "${flag}" cannot be less than 0`)
    if (ms > 0 && ms < 1) throw new EngineError('invalid', `Interval "${flag}" cannot be less than 1ms`)
    fields[field] = ms * 1_000_000
  }
  const retries = flags.get('retries')?.[0]
  if (retries !== undefined) {
    if (!/^\d+$/.test(retries)) throw new EngineError('invalid', `--retries must be at least 0, not ${retries}`)
    fields['Retries'] = Number(retries)
  }
  return { Test: command.exec ? ['CMD', ...command.words] : ['CMD-SHELL', ...command.words], ...fields }
}

/** Carries an instruction out that makes no layer. */
export function applyMetadata(config: ImageRunConfig, instruction: MetadataInstruction, expand: Expander, commandSet: boolean): MetadataChange {
  switch (instruction.kind) {
    case 'ENV': {
      const pairs = instruction.pairs.map(({ name, value }) => [expand.word(name), expand.word(value)] as const)
      return { config: { ...config, Env: withEnv(config.Env, pairs) }, createdBy: `ENV ${pairs.map((pair) => pair.join('=')).join(' ')}` }
    }
    case 'LABEL': {
      const pairs = instruction.pairs.map(({ name, value }) => [expand.word(name), expand.word(value)] as const)
      return { config: { ...config, Labels: { ...config.Labels, ...Object.fromEntries(pairs) } }, createdBy: `LABEL ${pairs.map((pair) => pair.join('=')).join(' ')}` }
    }
    case 'EXPOSE': {
      const ports = instruction.words.flatMap((word) => expand.words(word)).flatMap(portsOf)
      return { config: { ...config, ExposedPorts: { ...config.ExposedPorts, ...set(ports) } }, createdBy: `EXPOSE ${quoted(ports)}` }
    }
    case 'VOLUME': {
      const paths = instruction.words.map((word) => expand.word(word).trim())
      if (paths.includes('')) throw new EngineError('invalid', 'VOLUME specified can not be an empty string')
      return { config: { ...config, Volumes: { ...config.Volumes, ...set(paths) } }, createdBy: `VOLUME [${paths.join(' ')}]` }
    }
    case 'USER': {
      const user = expand.word(instruction.text)
      return { config: { ...config, User: user }, createdBy: `USER ${user}` }
    }
    case 'STOPSIGNAL': {
      const signal = expand.word(instruction.text)
      checkSignal(signal)
      return { config: { ...config, StopSignal: signal }, createdBy: `STOPSIGNAL ${signal}` }
    }
    case 'SHELL':
      return { config: { ...config, Shell: instruction.words }, createdBy: `SHELL [${instruction.words.join(' ')}]` }
    case 'CMD': {
      const argv = argvOf(config, instruction.command)
      return { config: { ...config, Cmd: argv }, createdBy: `CMD ${quoted(argv)}` }
    }
    case 'ENTRYPOINT': {
      const argv = argvOf(config, instruction.command)
      // An inherited command was meant for the inherited entrypoint.
      return { config: { ...config, Entrypoint: argv, ...(!commandSet && { Cmd: null }) }, createdBy: `ENTRYPOINT ${quoted(argv)}` }
    }
    case 'HEALTHCHECK': {
      const health = healthOf(instruction.flags, instruction.command)
      return { config: { ...config, Healthcheck: health }, createdBy: `HEALTHCHECK ${JSON.stringify(health)}` }
    }
    case 'ONBUILD':
      return { config: { ...config, OnBuild: [...(config.OnBuild ?? []), instruction.text] }, createdBy: `ONBUILD ${instruction.text}` }
    case 'MAINTAINER': {
      const author = expand.word(instruction.text)
      return { config, createdBy: `MAINTAINER ${author}`, author }
    }
    default:
      return instruction satisfies never
  }
}

/** Where `WORKDIR` leads from where one is. */
export function workdirOf(config: ImageRunConfig, text: string): string {
  return posix.resolve(config.WorkingDir === undefined || config.WorkingDir === '' ? '/' : config.WorkingDir, text)
}
