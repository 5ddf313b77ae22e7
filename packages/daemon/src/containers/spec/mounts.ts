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
  if (clean === '/') throw new EngineError('invalid', `invalid volume specification: '${spec}': invalid specification: destination can't be '/'`)
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
  return { ...common, type: 'volume', name: first }
}

/** One entry of HostConfig.Mounts. */
export function parseMount(request: MountRequest): SettledMount {
  const destination = checkDestination(request.Target, request.Target)
  const common = { ...NONE, destination, readOnly: request.ReadOnly }
  const bad = (reason: string): never => {
    throw new EngineError('invalid', `invalid mount config for type "${request.Type}": ${reason}`)
  }
  switch (request.Type) {
    case 'bind': {
      if (!request.Source.startsWith('/')) bad(`invalid mount path: '${request.Source}' mount path must be absolute`)
      const propagation = request.BindOptions?.Propagation ?? ''
      if (propagation !== '' && !PROPAGATIONS.has(propagation)) bad(`invalid propagation mode: ${propagation}`)
      if (request.BindOptions?.CreateMountpoint !== true && statSync(request.Source, { throwIfNoEntry: false }) === undefined) bad(`bind source path does not exist: ${request.Source}`)
      return { ...common, type: 'bind', source: posix.normalize(request.Source), propagation: propagation === '' ? 'rprivate' : propagation, recursive: request.BindOptions?.NonRecursive !== true }
    }
    case 'volume': {
      const driver = request.VolumeOptions?.DriverName ?? ''
      if (driver !== '' && driver !== 'local') throw new EngineError('unsupported', `volume driver ${driver} is not supported`)
      const subpath = request.VolumeOptions?.Subpath ?? ''
      if (subpath !== '') throw new EngineError('unsupported', 'VolumeOptions.Subpath is not supported')
      return { ...common, type: 'volume', name: request.Source, anonymous: request.Source === '', noCopy: request.VolumeOptions?.NoCopy === true }
    }
    case 'tmpfs': {
      if (request.Source !== '') bad('field Source must not be specified')
      const { SizeBytes = 0, Mode = 0 } = request.TmpfsOptions ?? {}
      return { ...common, type: 'tmpfs', options: ['noexec', 'nosuid', 'nodev', ...(SizeBytes > 0 ? [`size=${SizeBytes}`] : []), ...(Mode > 0 ? [`mode=${Mode.toString(8)}`] : [])] }
    }
    default:
      return bad('mount type unknown')
  }
}

/** All mounts of a container; the user's own win over the image's volumes. */
export function collectMounts(hostConfig: HostConfig, imageVolumes: readonly string[], configVolumes: readonly string[], others: readonly SettledMount[] = []): readonly SettledMount[] {
  const found = new Map<string, SettledMount>()
  for (const request of hostConfig.Mounts ?? []) {
    const mount = parseMount(request)
    if (found.has(mount.destination)) throw new EngineError('invalid', `Duplicate mount point: ${mount.destination}`)
    found.set(mount.destination, mount)
  }
  for (const spec of hostConfig.Binds ?? []) {
    const mount = parseBind(spec)
    if (found.has(mount.destination)) throw new EngineError('invalid', `Duplicate mount point: ${mount.destination}`)
    found.set(mount.destination, mount)
  }
  for (const mount of others) if (!found.has(mount.destination)) found.set(mount.destination, mount)
  const tmpfs = new Set(Object.keys(hostConfig.Tmpfs ?? {}))
  for (const destination of [...configVolumes, ...imageVolumes]) {
    // CVE-2022-23648: what an image names as a volume is a path inside, nothing else.
    const mount = parseBind(destination.includes(':') ? destination : checkDestination(destination, destination))
    if (!found.has(mount.destination) && !tmpfs.has(mount.destination)) found.set(mount.destination, mount)
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
