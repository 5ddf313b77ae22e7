import { posix } from 'node:path'
import { EngineError, parseBytes } from '@gantry/std'

/** A `RUN --mount`, checked; what it does not say is empty. */
export interface MountSpec {
  readonly type: 'bind' | 'cache' | 'tmpfs' | 'secret' | 'ssh'
  readonly target: string
  readonly source: string
  /** Stage, image or context; empty: the context. */
  readonly from: string
  readonly readOnly: boolean
  readonly id: string
  readonly sharing: 'shared' | 'private' | 'locked'
  readonly mode: number | undefined
  readonly uid: number
  readonly gid: number
  readonly size: number | undefined
  readonly required: boolean
  /** Variable that gets a secret's value. */
  readonly env: string
}

const TYPES = ['bind', 'cache', 'tmpfs', 'secret', 'ssh'] as const
const SHARINGS = ['shared', 'private', 'locked'] as const
const KEYS: Readonly<Record<MountSpec['type'], ReadonlySet<string>>> = {
  bind: new Set(['type', 'target', 'source', 'from', 'rw', 'ro']),
  cache: new Set(['type', 'id', 'target', 'ro', 'rw', 'sharing', 'from', 'source', 'mode', 'uid', 'gid']),
  tmpfs: new Set(['type', 'target', 'size']),
  secret: new Set(['type', 'id', 'target', 'required', 'mode', 'uid', 'gid', 'env', 'source']),
  ssh: new Set(['type', 'id', 'target', 'required', 'mode', 'uid', 'gid']),
}
const ALIASES: Readonly<Record<string, string>> = { dst: 'target', destination: 'target', src: 'source', readonly: 'ro', readwrite: 'rw' }

/** Fields of a line of comma-separated values; quotes hold commas. */
function csv(text: string): readonly string[] {
  const fields: string[] = []
  let field = ''
  let quoted = false
  for (let at = 0; at < text.length; at++) {
    const char = text[at] ?? ''
    if (char === '"' && quoted && text[at + 1] === '"') field += text[++at]
    else if (char === '"' && (quoted || field === '')) quoted = !quoted
    else if (char === ',' && !quoted) {
      fields.push(field)
      field = ''
    } else field += char
  }
  return [...fields, field]
}

function flag(value: string | undefined, key: string): boolean {
  if (value === undefined || /^(true|1)$/i.test(value)) return true
  if (/^(false|0)$/i.test(value)) return false
  throw new EngineError('invalid', `invalid value for ${key}: ${value}: expected true or false`)
}

function id(value: string | undefined, key: string): number {
  if (value === undefined) return 0
  if (!/^\d{1,10}$/.test(value)) throw new EngineError('invalid', `invalid value for ${key}: ${value}: expected a number`)
  return Number(value)
}

/** Reads one `--mount`; variables are replaced already. */
export function parseMount(text: string, workdir: string): MountSpec {
  const fields = new Map<string, string | undefined>()
  for (const field of csv(text)) {
    const equals = field.indexOf('=')
    const name = (equals < 0 ? field : field.slice(0, equals)).trim().toLowerCase()
    fields.set(ALIASES[name] ?? name, equals < 0 ? undefined : field.slice(equals + 1).trim())
  }
  const type = TYPES.find((one) => one === (fields.get('type') ?? 'bind'))
  if (type === undefined) throw new EngineError('invalid', `unsupported mount type ${JSON.stringify(fields.get('type'))}: expected one of ${TYPES.join(', ')}`)
  for (const key of fields.keys()) if (!KEYS[type].has(key)) throw new EngineError('invalid', `unexpected key '${key}' for mount type '${type}' in '${text}'`)
  const sharing = SHARINGS.find((one) => one === (fields.get('sharing') ?? 'shared'))
  if (sharing === undefined) throw new EngineError('invalid', `unsupported sharing value ${JSON.stringify(fields.get('sharing'))}: expected one of ${SHARINGS.join(', ')}`)
  const mode = fields.get('mode')
  if (mode !== undefined && !/^[0-7]{1,5}$/.test(mode)) throw new EngineError('invalid', `invalid value for mode: ${mode}: expected an octal number`)
  const source = fields.get('source') ?? ''
  const target = fields.get('target') ?? ''
  const env = fields.get('env') ?? ''
  const named = fields.get('id') ?? (type === 'secret' && source !== '' ? source : target !== '' ? (type === 'secret' ? posix.basename(target) : target) : '')
  if (target === '' && (type === 'bind' || type === 'cache' || type === 'tmpfs')) throw new EngineError('invalid', `target is required for the mount type ${type}`)
  if (type === 'secret' && named === '') throw new EngineError('invalid', 'one of source, target required for a secret')
  const at = target === '' ? (type === 'secret' && env === '' ? `/run/secrets/${posix.basename(named)}` : '') : posix.resolve(workdir, target)
  if (at === '/') throw new EngineError('invalid', `invalid mount target ${JSON.stringify(target)}: it cannot be the root`)
  const size = fields.get('size')
  const bytes = size === undefined ? undefined : parseBytes(size)
  return {
    type, target: at, source: type === 'secret' ? '' : source, from: fields.get('from') ?? '', id: named === '' && type === 'ssh' ? 'default' : named, sharing, size: bytes, env,
    readOnly: type === 'bind' ? !(fields.has('rw') && flag(fields.get('rw'), 'rw')) && !(fields.has('ro') && !flag(fields.get('ro'), 'ro')) : fields.has('ro') && flag(fields.get('ro'), 'ro'),
    mode: mode === undefined ? undefined : Number.parseInt(mode, 8), uid: id(fields.get('uid'), 'uid'), gid: id(fields.get('gid'), 'gid'), required: fields.has('required') && flag(fields.get('required'), 'required'),
  }
}
