import { readFileSync, realpathSync, statSync } from 'node:fs'
import { posix } from 'node:path'
import type { HostConfig, MountRequest } from '@gantry/api'
import { parseMountInfo } from '@gantry/runtime'
import { EngineError } from '@gantry/std'
import type { SettledMount } from '../record.ts'

const NONE = { name: '', source: '', readOnly: false, recursive: true, propagation: '', mode: '', noCopy: false, anonymous: false, subpath: '', options: [] } as const
const PROPAGATIONS = new Set(['private', 'rprivate', 'slave', 'rslave', 'shared', 'rshared'])
const MODES = new Set(['ro', 'rw', 'z', 'Z', 'nocopy', ...PROPAGATIONS])

function checkDestination(destination: string, spec: string): string {
  if (!destination.startsWith('/')) throw new EngineError('invalid', `invalid volume specification: '${spec}': invalid mount path: '${destination}' mount path must be absolute`)
  const clean = posix.normalize(destination).replace(/(.)\/+$/, '$1')
  if (clean === '/') throw new EngineError('invalid', `invalid volume specification: '${spec}': invalid mount config for type "bind": invalid specification: destination can't be '/'`)
  if (/^\/proc(\/|$)/.test(clean)) throw new EngineError('invalid', `invalid volume specification: '${spec}': destination can't be inside /proc`)
  return clean
}

/** `source:destination[:mode]` or, from an image, just a destination. */
export function parseBind(spec: string): SettledMount {
  const parts = spec.split(':')
  if (parts.length > 3 || parts.some((part) => part === '')) throw new EngineError('invalid', `invalid volume specification: '${spec}'`)
  const [first = '', second, mode = ''] = parts
  if (second === undefined) return { ...NONE, type: 'volume', destination: checkDestination(first, spec), anonymous: true }
  const flags = mode === '' ? [] : mode.split(',')
  for (const flag of flags) if (!MODES.has(flag)) throw new EngineError('invalid', `invalid mode: ${mode}`)
  const propagation = flags.find((flag) => /private|slave|shared/.test(flag)) ?? ''
  const common = { ...NONE, destination: checkDestination(second, spec), readOnly: flags.includes('ro'), mode, noCopy: flags.includes('nocopy') }
  if (first.startsWith('/')) return { ...common, type: 'bind', source: posix.normalize(first), propagation: propagation === '' ? 'rprivate' : propagation }
  if (propagation !== '') throw new EngineError('invalid', `invalid volume specification: '${spec}': propagation is for bind mounts only`)
  return { ...common, type: 'volume', name: first, mode: mode === '' ? 'z' : mode }
}

/** What a mount asks of a volume that is not there yet. */
export interface WantedVolume {
  readonly driver: string
  readonly labels: Readonly<Record<string, string>>
  readonly options: Readonly<Record<string, string>>
}

/** A mount, and what its volume is to be like. */
export interface WantedMount {
  readonly mount: SettledMount
  readonly volume?: WantedVolume
}

type Refuse = (reason: string) => never

function parseBindMount(request: MountRequest, common: SettledMount, refuse: Refuse): SettledMount {
  const options = request.BindOptions
  if (!request.Source.startsWith('/')) refuse(request.Source === '' ? 'field Source must not be empty' : `invalid mount path: '${request.Source}' mount path must be absolute`)
  const propagation = options?.Propagation ?? ''
  if (propagation !== '' && !PROPAGATIONS.has(propagation)) refuse(`invalid propagation mode: ${propagation}`)
  if (options?.ReadOnlyNonRecursive === true && options.ReadOnlyForceRecursive) refuse('ReadOnlyNonRecursive and ReadOnlyForceRecursive are both given')
  if (options?.ReadOnlyForceRecursive === true && !request.ReadOnly) refuse('ReadOnlyForceRecursive needs ReadOnly')
  if (options?.CreateMountpoint !== true && statSync(request.Source, { throwIfNoEntry: false }) === undefined) refuse(`bind source path does not exist: ${request.Source}`)
  return { ...common, type: 'bind', source: posix.normalize(request.Source), propagation: propagation === '' ? 'rprivate' : propagation, recursive: options?.NonRecursive !== true, ...(options?.ReadOnlyNonRecursive === true && { topReadOnly: true }) }
}

function checkSubpath(subpath: string, refuse: Refuse): string {
  if (subpath !== '' && (subpath.startsWith('/') || posix.normalize(subpath).split('/')[0] === '..')) refuse('subpath must be a relative path within the volume')
  return subpath === '' ? '' : posix.normalize(subpath).replace(/\/+$/, '')
}

/** Options of a tmpfs as mount(8) has them. */
function tmpfsOptions(request: MountRequest): readonly string[] {
  const { SizeBytes = 0, Mode = 0, Options = [] } = request.TmpfsOptions ?? {}
  const asked = Options.map((pair) => pair.join('='))
  const plain = ['noexec', 'nosuid', 'nodev'].filter((option) => !asked.includes(option.slice(2)))
  return [...plain, ...(SizeBytes > 0 ? [`size=${SizeBytes}`] : []), ...(Mode > 0 ? [`mode=${Mode.toString(8)}`] : []), ...asked]
}

/** One entry of HostConfig.Mounts. */
export function parseMount(request: MountRequest): WantedMount {
  const refuse: Refuse = (reason) => {
    throw new EngineError('invalid', `invalid mount config for type "${request.Type}": ${reason}`)
  }
  if (request.Target === '') refuse('field Target must not be empty')
  if (!request.Target.startsWith('/')) refuse(`invalid mount path: '${request.Target}' mount path must be absolute`)
  const common: SettledMount = { ...NONE, type: 'bind', destination: checkDestination(request.Target, request.Target), readOnly: request.ReadOnly }
  switch (request.Type) {
    case 'bind':
      return { mount: parseBindMount(request, common, refuse) }
    case 'volume': {
      const { DriverConfig, Labels = {}, Subpath = '', NoCopy = false } = request.VolumeOptions ?? {}
      if (Subpath !== '' && request.Source === '') refuse('must not set Subpath when using anonymous volumes')
      const mount: SettledMount = { ...common, type: 'volume', name: request.Source, anonymous: request.Source === '', noCopy: NoCopy || Subpath !== '', subpath: checkSubpath(Subpath, refuse), mode: 'z' }
      return { mount, volume: { driver: DriverConfig?.Name ?? '', labels: Labels, options: DriverConfig?.Options ?? {} } }
    }
    case 'tmpfs':
      if (request.Source !== '') refuse('field Source must not be specified')
      return { mount: { ...common, type: 'tmpfs', options: tmpfsOptions(request) } }
    case 'image':
      if (request.Source === '') refuse('field Source must not be empty')
      return { mount: { ...common, type: 'image', name: request.Source, readOnly: true, propagation: 'rprivate', subpath: checkSubpath(request.ImageOptions?.Subpath ?? '', refuse) } }
    default:
      return refuse('mount type unknown')
  }
}

/** All mounts of a container; the user's own win over the image's volumes. */
export function collectMounts(hostConfig: HostConfig, imageVolumes: readonly string[], configVolumes: readonly string[], others: readonly SettledMount[] = []): readonly WantedMount[] {
  const found = new Map<string, WantedMount>()
  const volume: WantedVolume = { driver: hostConfig.VolumeDriver, labels: {}, options: {} }
  for (const wanted of [...(hostConfig.Mounts ?? []).map(parseMount), ...(hostConfig.Binds ?? []).map((spec) => ({ mount: parseBind(spec), volume }))]) {
    const { destination } = wanted.mount
    if (found.has(destination)) throw new EngineError('invalid', `Duplicate mount point: ${destination}`)
    found.set(destination, wanted)
  }
  for (const mount of others) if (!found.has(mount.destination)) found.set(mount.destination, { mount })
  const tmpfs = new Set(Object.keys(hostConfig.Tmpfs ?? {}))
  for (const destination of [...configVolumes, ...imageVolumes]) {
    // CVE-2022-23648: what an image names as a volume is a path inside, nothing else.
    const mount = parseBind(destination.includes(':') ? destination : checkDestination(destination, destination))
    if (!found.has(mount.destination) && !tmpfs.has(mount.destination)) found.set(mount.destination, { mount, volume })
  }
  return [...found.values()]
}

/** Mounts can only pass between the host and a container where the host's own mount takes part in it. */
export function checkPropagation(mounts: readonly SettledMount[]): void {
  const asked = mounts.filter((mount) => mount.type === 'bind' && /shared|slave/.test(mount.propagation))
  if (asked.length === 0) return
  const host = parseMountInfo(readFileSync('/proc/self/mountinfo', 'utf8'))
  for (const mount of asked) {
    const path = realpathSync(mount.source)
    const above = host.filter((one) => path === one.mountPoint || path.startsWith(one.mountPoint === '/' ? '/' : `${one.mountPoint}/`))
    const under = above.reduce((longest, one) => (one.mountPoint.length >= longest.mountPoint.length ? one : longest), above[0] ?? { mountPoint: '', propagation: [] as readonly string[] })
    const [shared, slave] = ['shared:', 'master:'].map((word) => under.propagation.some((one) => one.startsWith(word)))
    const wantsShared = mount.propagation.endsWith('shared')
    if (wantsShared ? !shared : !shared && !slave) throw new EngineError('invalid', `path ${mount.source} is mounted on ${under.mountPoint} but it is not a shared${wantsShared ? '' : ' or slave'} mount`)
  }
}
