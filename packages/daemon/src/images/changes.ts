import { EngineError, type ImageRunConfig, parseDuration } from '@gantry/std'

/** Instructions that commit and import may carry (Engine API, ImageCommit `changes`). */
const ALLOWED = 'CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME, WORKDIR'

/** Words of a line; quotes hold blanks together, a backslash takes the next character as it is. */
export function splitWords(text: string): readonly string[] {
  const words: string[] = []
  let word = ''
  let quote = ''
  let started = false
  for (let at = 0; at < text.length; at++) {
    const c = text[at] ?? ''
    if (quote !== '') {
      if (c === quote) quote = ''
      else if (c === '\\' && quote === '"' && at + 1 < text.length) word += text[++at]
      else word += c
    } else if (c === '"' || c === "'") [quote, started] = [c, true]
    else if (c === '\\' && at + 1 < text.length) [word, started] = [word + text[++at], true]
    else if (/\s/.test(c)) {
      if (started) words.push(word)
      ;[word, started] = ['', false]
    } else [word, started] = [word + c, true]
  }
  if (quote !== '') throw new EngineError('invalid', `unterminated quote in: ${text}`)
  if (started) words.push(word)
  return words
}

function command(rest: string): readonly string[] {
  if (rest.trimStart().startsWith('[')) {
    try {
      const list = JSON.parse(rest) as unknown
      if (Array.isArray(list) && list.every((item) => typeof item === 'string')) return list
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error
    }
  }
  return ['/bin/sh', '-c', rest]
}

function pairs(rest: string, instruction: string): readonly (readonly [string, string])[] {
  const words = splitWords(rest)
  if (words[0] !== undefined && !words[0].includes('=')) return [[words[0], rest.trim().slice(words[0].length).trim()]]
  return words.map((word) => {
    const at = word.indexOf('=')
    if (at < 1) throw new EngineError('invalid', `Syntax error - can't find = in "${word}". Must be of the form: name=value (${instruction})`)
    return [word.slice(0, at), word.slice(at + 1)]
  })
}

function listOf(rest: string): readonly string[] {
  return rest.trimStart().startsWith('[') ? command(rest) : splitWords(rest)
}

const HEALTH_TIMES: Readonly<Record<string, string>> = { interval: 'Interval', timeout: 'Timeout', 'start-period': 'StartPeriod', 'start-interval': 'StartInterval' }

/** `NONE`, or options and `CMD` with a command in either form. */
function healthcheck(rest: string): object {
  if (/^NONE\s*$/i.test(rest)) return { Test: ['NONE'] }
  const fields: Record<string, number> = {}
  let left = rest.trim()
  for (let match = /^--([\w-]+)=(\S+)\s*/.exec(left); match !== null; match = /^--([\w-]+)=(\S+)\s*/.exec(left)) {
    const [whole, name = '', value = ''] = match
    const field = HEALTH_TIMES[name]
    const ms = field === undefined ? undefined : parseDuration(value)
    if (name === 'retries' && /^\d+$/.test(value)) fields['Retries'] = Number(value)
    else if (field !== undefined && ms !== undefined && ms >= 0) fields[field] = ms * 1_000_000
    else throw new EngineError('invalid', `HEALTHCHECK: --${name}=${value} is no option of it: expected --interval, --timeout, --start-period, --start-interval (30s) or --retries`)
    left = left.slice(whole.length)
  }
  const [, words] = /^CMD\s+(.+)$/is.exec(left) ?? []
  if (words === undefined) throw new EngineError('invalid', 'HEALTHCHECK: expected NONE, or CMD and a command')
  const given = command(words)
  return { ...fields, Test: given[0] === '/bin/sh' && given[1] === '-c' ? ['CMD-SHELL', given[2] ?? ''] : ['CMD', ...given] }
}

function apply(config: ImageRunConfig, instruction: string, rest: string): ImageRunConfig {
  switch (instruction) {
    case 'CMD':
      return { ...config, Cmd: command(rest) }
    case 'ENTRYPOINT':
      return { ...config, Entrypoint: command(rest) }
    case 'ENV': {
      const added = pairs(rest, instruction)
      const names = new Set(added.map(([name]) => name))
      return { ...config, Env: [...(config.Env ?? []).filter((entry) => !names.has(entry.split('=', 1)[0] ?? '')), ...added.map(([name, value]) => `${name}=${value}`)] }
    }
    case 'EXPOSE':
      return { ...config, ExposedPorts: { ...config.ExposedPorts, ...Object.fromEntries(splitWords(rest).map((port) => [port.includes('/') ? port : `${port}/tcp`, {}])) } }
    case 'HEALTHCHECK':
      return { ...config, Healthcheck: healthcheck(rest) }
    case 'LABEL':
      return { ...config, Labels: { ...config.Labels, ...Object.fromEntries(pairs(rest, instruction)) } }
    case 'ONBUILD':
      return { ...config, OnBuild: [...(config.OnBuild ?? []), rest] }
    case 'STOPSIGNAL':
      return { ...config, StopSignal: rest.trim() }
    case 'USER':
      return { ...config, User: rest.trim() }
    case 'VOLUME':
      return { ...config, Volumes: { ...config.Volumes, ...Object.fromEntries(listOf(rest).map((path) => [path, {}])) } }
    case 'WORKDIR':
      return { ...config, WorkingDir: rest.trim().startsWith('/') ? rest.trim() : `${config.WorkingDir ?? ''}/${rest.trim()}` }
    default:
      throw new EngineError('invalid', `${instruction} is not a valid change command: expected one of ${ALLOWED}`)
  }
}

/** Applies `--change` lines to a configuration. */
export function applyChanges(config: ImageRunConfig, changes: readonly string[]): ImageRunConfig {
  return changes
    .flatMap((change) => change.split('\n'))
    .map((line) => line.trim())
    .filter((line) => line !== '')
    .reduce((current, line) => {
      const [, instruction = '', rest = ''] = /^(\S+)\s*(.*)$/.exec(line) ?? []
      return apply(current, instruction.toUpperCase(), rest)
    }, config)
}
