import { resolve } from 'node:path'
import { EngineError, parseBytes } from '@gantry/std'

const yes = (value: string | undefined): boolean => value === undefined || value === '' || value === 'true' || value === '1'

/** `type=bind,source=/a,target=/b,readonly`: comma-separated fields, as `docker run --mount` takes them. */
export function parseMountFlag(spec: string): unknown {
  const fields = new Map<string, string | undefined>()
  for (const part of spec.split(',')) {
    const at = part.indexOf('=')
    fields.set((at < 0 ? part : part.slice(0, at)).trim().toLowerCase(), at < 0 ? undefined : part.slice(at + 1))
  }
  const take = (...names: readonly string[]): string | undefined => {
    const name = names.find((one) => fields.has(one))
    if (name === undefined) return undefined
    const value = fields.get(name) ?? ''
    fields.delete(name)
    return value
  }
  const flag = (...names: readonly string[]): boolean => {
    const value = take(...names)
    return value !== undefined && yes(value)
  }
  const Type = take('type') ?? 'volume'
  const Target = take('target', 'destination', 'dst')
  if (Target === undefined) throw new EngineError('invalid', `invalid argument "${spec}" for "--mount" flag: target is required`)
  const Source = take('source', 'src') ?? ''
  const bind = { Propagation: take('bind-propagation'), NonRecursive: flag('bind-nonrecursive'), CreateMountpoint: flag('bind-create-src') }
  const volume = { NoCopy: flag('volume-nocopy'), Subpath: take('volume-subpath') }
  const size = take('tmpfs-size')
  const mode = take('tmpfs-mode')
  const ReadOnly = flag('readonly', 'ro')
  const [unknown] = fields.keys()
  if (unknown !== undefined) throw new EngineError('invalid', `invalid argument "${spec}" for "--mount" flag: unexpected key '${unknown}'`)
  return {
    Type, Target, ReadOnly,
    Source: Type === 'bind' && Source.startsWith('.') ? resolve(Source) : Source,
    ...(Type === 'bind' && { BindOptions: bind }),
    ...(Type === 'volume' && { VolumeOptions: volume }),
    ...(Type === 'tmpfs' && { TmpfsOptions: { ...(size !== undefined && { SizeBytes: parseBytes(size) }), ...(mode !== undefined && { Mode: Number.parseInt(mode, 8) }) } }),
  }
}
