import { resolve } from 'node:path'
import { EngineError, parseBytes } from '@gantry/std'

/** Fields of one `--mount`, taken one by one. */
interface Fields {
  /** All that were given under this name. */
  all(name: string): readonly string[]
  /** The last one under one of these names; an empty text where it has no value. */
  take(...names: readonly string[]): string | undefined
  flag(...names: readonly string[]): boolean
  /** A name that nobody took. */
  left(): string | undefined
}

function fieldsOf(spec: string): Fields {
  let fields = spec.split(',').map((part): readonly [string, string] => {
    const at = part.indexOf('=')
    return at < 0 ? [part.trim().toLowerCase(), ''] : [part.slice(0, at).trim().toLowerCase(), part.slice(at + 1)]
  })
  const all = (name: string): readonly string[] => {
    const found = fields.filter(([key]) => key === name).map(([, value]) => value)
    fields = fields.filter(([key]) => key !== name)
    return found
  }
  const take = (...names: readonly string[]): string | undefined => names.flatMap(all).at(-1)
  return {
    all, take,
    flag(...names) {
      const value = take(...names)
      return value !== undefined && ['', 'true', '1'].includes(value)
    },
    left: () => fields[0]?.[0],
  }
}

const pairs = (list: readonly string[]): Readonly<Record<string, string>> => Object.fromEntries(list.map((one) => (one.includes('=') ? [one.slice(0, one.indexOf('=')), one.slice(one.indexOf('=') + 1)] : [one, ''])))

/** `bind-recursive`: what is mounted below the source comes along, and is read-only with it. */
function recursion(mode: string | undefined, readOnly: boolean, refuse: (reason: string) => never): object {
  switch (mode) {
    case undefined:
    case 'enabled':
      return {}
    case 'disabled':
      return { NonRecursive: true }
    case 'writable':
      return { ReadOnlyNonRecursive: true }
    case 'readonly':
      if (!readOnly) refuse("option 'bind-recursive=readonly' requires 'readonly' to be specified in conjunction")
      return { ReadOnlyForceRecursive: true }
    default:
      return refuse(`invalid value for bind-recursive: ${mode} (must be "enabled", "disabled", "writable", or "readonly")`)
  }
}

/** `type=bind,source=/a,target=/b,readonly`: comma-separated fields, as `docker run --mount` takes them. */
export function parseMountFlag(spec: string): unknown {
  const refuse = (reason: string): never => {
    throw new EngineError('invalid', `invalid argument "${spec}" for "--mount" flag: ${reason}`)
  }
  const fields = fieldsOf(spec)
  const Type = fields.take('type') ?? 'volume'
  const Target = fields.take('target', 'destination', 'dst') ?? refuse('target is required')
  const Source = fields.take('source', 'src') ?? ''
  const ReadOnly = fields.flag('readonly', 'ro')
  const nonRecursive = fields.flag('bind-nonrecursive')
  const bind = { Propagation: fields.take('bind-propagation'), ...(nonRecursive && { NonRecursive: true }), CreateMountpoint: fields.flag('bind-create-src'), ...recursion(fields.take('bind-recursive'), ReadOnly, refuse) }
  const [driver, subpath, options] = [fields.take('volume-driver'), fields.take('volume-subpath'), pairs(fields.all('volume-opt'))]
  const volume = { NoCopy: fields.flag('volume-nocopy'), Labels: pairs(fields.all('volume-label')), Subpath: subpath, ...((driver !== undefined || Object.keys(options).length > 0) && { DriverConfig: { Name: driver ?? '', Options: options } }) }
  const image = fields.take('image-subpath')
  const [size, mode] = [fields.take('tmpfs-size'), fields.take('tmpfs-mode')]
  if (mode !== undefined && !/^[0-7]{1,5}$/.test(mode)) refuse(`invalid value for tmpfs-mode: ${mode}`)
  const unknown = fields.left()
  if (unknown !== undefined) refuse(`unexpected key '${unknown}'`)
  return {
    Type, Target, ReadOnly,
    Source: Type === 'bind' && Source.startsWith('.') ? resolve(Source) : Source,
    ...(Type === 'bind' && { BindOptions: bind }),
    ...(Type === 'volume' && { VolumeOptions: volume }),
    ...(Type === 'image' && image !== undefined && { ImageOptions: { Subpath: image } }),
    ...(Type === 'tmpfs' && { TmpfsOptions: { ...(size !== undefined && { SizeBytes: parseBytes(size) }), ...(mode !== undefined && { Mode: Number.parseInt(mode, 8) }) } }),
  }
}

/** The same, or `source:target[:options]` as `-v` takes it. */
export function parseMountOrBind(spec: string): unknown {
  if (/^[\w-]+=/.test(spec)) return parseMountFlag(spec)
  const [source = '', Target = '', options = ''] = spec.split(':')
  if (Target === '') throw new EngineError('invalid', `"${spec}": expected SOURCE:TARGET[:OPTIONS], or fields as --mount takes them`)
  const words = options === '' ? [] : options.split(',')
  const Propagation = words.find((word) => /^r?(private|slave|shared)$/.test(word)) ?? ''
  const unknown = words.find((word) => !['ro', 'rw', 'z', 'Z', 'nocopy', Propagation].includes(word))
  if (unknown !== undefined) throw new EngineError('invalid', `invalid mode: ${options}`)
  const ReadOnly = words.includes('ro')
  if (/^[./]/.test(source)) return { Type: 'bind', Source: resolve(source), Target, ReadOnly, BindOptions: { Propagation, CreateMountpoint: true } }
  return { Type: 'volume', Source: source, Target, ReadOnly }
}
