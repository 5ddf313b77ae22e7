import { mkdirSync, readdirSync, readFileSync, rmdirSync, statSync, writeFileSync } from 'node:fs'
import { EngineError, exists, hasCode, readText } from '@gantry/std'
import { parseMountInfo } from '@gantry/linux'
import type { OciResources } from '../spec/oci.ts'
import { v1Files } from './v1.ts'
import { v2Files } from './v2.ts'

/** One hierarchy of version 1, or the unified one. */
export interface Hierarchy {
  /** Where it is mounted. */
  readonly mountPoint: string
  readonly controllers: readonly string[]
}

/** What the kernel offers. `unified` may be there beside version 1 (hybrid), then without controllers. */
export interface CgroupLayout {
  readonly version: 1 | 2
  readonly hierarchies: readonly Hierarchy[]
  readonly unified?: Hierarchy
}

/** A file and what is written to it. */
export interface CgroupWrite {
  readonly file: string
  readonly value: string
}

/** The directories of one container, and what is written before the first process enters. */
export interface CgroupPlan {
  readonly version: 1 | 2
  readonly directories: readonly { readonly path: string; readonly controllers: readonly string[]; readonly writes: readonly CgroupWrite[] }[]
  readonly unified?: string
  /** What tells of kills by lack of memory. */
  readonly oomFile?: string
}

/** Makes plans and reads what runs. */
export interface CgroupManager {
  readonly layout: CgroupLayout
  /** Makes the parent directories and switches controllers on. */
  prepare(): void
  /** Puts a container somewhere else than below the parent (`linux.cgroupsPath`), and makes the directories above it. */
  place(id: string, path: string | undefined): void
  plan(id: string, resources: OciResources): CgroupPlan
  /** Where it is below the top of every hierarchy: `linux.cgroupsPath` for others. */
  placeOf(id: string): string
  /** Directory of a container in the hierarchy of a controller. */
  path(id: string, controller: string): string | undefined
  freeze(id: string, frozen: boolean): Promise<void>
  update(id: string, resources: OciResources): void
  processes(id: string): readonly number[]
  read(id: string, controller: string, file: string): string | undefined
  /** Whether directories of containers have this file, in any hierarchy. */
  supports(file: string): boolean
  /** Names below the parent: containers that have a directory somewhere. */
  names(): readonly string[]
  /** True while a directory of it is left anywhere. */
  exists(id: string): boolean
  /** Ends what is in it and removes its directories. */
  destroy(id: string): Promise<void>
  /** Removes the parent directories when they are empty. */
  release(): void
}

/** Finds out what is mounted. */
export function readLayout(mountInfo: string): CgroupLayout {
  const mounts = parseMountInfo(mountInfo)
  const one = mounts.filter((mount) => mount.type === 'cgroup')
  const two = mounts.find((mount) => mount.type === 'cgroup2')
  const hierarchies = one.map((mount) => ({
    mountPoint: mount.mountPoint,
    controllers: mount.superOptions.filter((option) => !['rw', 'ro', 'xattr', 'clone_children', 'noprefix', 'none'].includes(option) && !option.startsWith('release_agent')),
  }))
  const unified = two === undefined ? {} : { unified: { mountPoint: two.mountPoint, controllers: readText(`${two.mountPoint}/cgroup.controllers`)?.trim().split(' ').filter((name) => name !== '') ?? [] } }
  if (hierarchies.length > 0) return { version: 1, hierarchies, ...unified }
  if (two === undefined) throw new EngineError('unsupported', 'no cgroup file system is mounted')
  return { version: 2, hierarchies: [], ...unified }
}

function removeDirectory(path: string): boolean {
  try {
    rmdirSync(path)
    return true
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return true
    if (hasCode(error, 'EBUSY', 'ENOTEMPTY')) return false
    throw error
  }
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

/** Makes the manager for containers below `parent` (`/gantry`). */
export function cgroupManager(parent: string, layout: CgroupLayout = readLayout(readFileSync('/proc/self/mountinfo', 'utf8'))): CgroupManager {
  const base = parent.replace(/^\/+|\/+$/g, '')
  const all = layout.unified === undefined ? layout.hierarchies : [...layout.hierarchies, layout.unified]
  const hierarchyOf = (controller: string): Hierarchy | undefined => (layout.version === 2 ? layout.unified : layout.hierarchies.find((one) => one.controllers.includes(controller)))
  const places = new Map<string, string>()
  /** Directories above a container that were not there before, deepest last, by the container's id. */
  const made = new Map<string, readonly string[]>()
  const at = (hierarchy: Hierarchy, id: string): string => `${hierarchy.mountPoint}/${places.get(id) ?? `${base}/${id}`}`
  const path = (id: string, controller: string): string | undefined => {
    const hierarchy = hierarchyOf(controller)
    return hierarchy === undefined ? undefined : at(hierarchy, id)
  }
  /** Directly below the top nothing has been told to inherit (`cgroup.clone_children`). */
  const inheritedCpuset = (hierarchy: Hierarchy, id: string): readonly CgroupWrite[] => {
    if (layout.version !== 1 || !hierarchy.controllers.includes('cpuset') || places.get(id)?.includes('/') !== false) return []
    return ['cpuset.cpus', 'cpuset.mems'].map((file) => ({ file, value: readFileSync(`${hierarchy.mountPoint}/${file}`, 'utf8').trim() }))
  }
  const makeParents = (parent: string): readonly string[] => {
    const fresh: string[] = []
    for (const hierarchy of all) {
      const first = mkdirSync(`${hierarchy.mountPoint}/${parent}`, { recursive: true })
      if (first !== undefined) fresh.push(...chain(first, `${hierarchy.mountPoint}/${parent}`))
      if (hierarchy.controllers.includes('cpuset') && layout.version === 1) prepareCpuset(hierarchy.mountPoint, parent)
    }
    if (layout.version === 2 && layout.unified !== undefined) enableControllers(layout.unified, parent)
    return fresh
  }
  const existing = (directory: string) => (file: string) => statSync(`${directory}/${file}`, { throwIfNoEntry: false }) !== undefined
  const writesFor = (hierarchy: Hierarchy, resources: OciResources): readonly CgroupWrite[] => {
    if (layout.version === 2) return hierarchy === layout.unified ? v2Files(resources, existing(`${hierarchy.mountPoint}/${base}`)) : []
    return hierarchy === layout.unified ? [] : v1Files(hierarchy.controllers, resources, existing(`${hierarchy.mountPoint}/${base}`))
  }
  return {
    layout,
    path,
    prepare() {
      makeParents(base)
    },
    place(id, where) {
      if (where === undefined) return void places.delete(id)
      const clean = where.split('/').filter((part) => part !== '' && part !== '.')
      if (clean.length === 0 || clean.includes('..')) throw new EngineError('invalid', `linux.cgroupsPath: expected a path without "..", got "${where}"`)
      places.set(id, clean.join('/'))
      made.set(id, clean.length > 1 ? makeParents(clean.slice(0, -1).join('/')) : [])
    },
    placeOf: (id) => `/${places.get(id) ?? `${base}/${id}`}`,
    plan(id, resources) {
      for (const [field, controller] of needed(resources)) if (hierarchyOf(controller)?.controllers.includes(controller) !== true) throw new EngineError('unsupported', `linux.resources.${field}: the ${controller} cgroup is not mounted`)
      const directories = all.map((hierarchy) => ({ path: at(hierarchy, id), controllers: hierarchy.controllers, writes: [...inheritedCpuset(hierarchy, id), ...writesFor(hierarchy, resources)] }))
      const memory = path(id, 'memory')
      return {
        version: layout.version,
        directories,
        ...(layout.unified && { unified: at(layout.unified, id) }),
        ...(memory !== undefined && { oomFile: `${memory}/${layout.version === 2 ? 'memory.events' : 'memory.oom_control'}` }),
      }
    },
    async freeze(id, frozen) {
      const directory = path(id, 'freezer')
      if (directory === undefined) throw new EngineError('unsupported', 'the freezer cgroup is not mounted')
      const [file, value, check] = layout.version === 2 ? ['cgroup.freeze', frozen ? '1' : '0', 'cgroup.events'] : ['freezer.state', frozen ? 'FROZEN' : 'THAWED', 'freezer.state']
      const settled = (): boolean => {
        const text = readFileSync(`${directory}/${check}`, 'utf8')
        return layout.version === 2 ? text.includes(`frozen ${value}`) : text.trim() === value
      }
      for (let attempt = 0; attempt < 500; attempt++) {
        writeFileSync(`${directory}/${file}`, value)
        if (settled()) return
        await sleep(10)
      }
      throw new EngineError('internal', `cgroup of ${id} does not become ${value}`)
    },
    update(id, resources) {
      for (const hierarchy of all) {
        const directory = at(hierarchy, id)
        for (const write of inOrder(directory, writesFor(hierarchy, { ...resources, devices: [] }))) writeLimit(`${directory}/${write.file}`, write.value)
      }
    },
    processes(id) {
      const directory = path(id, 'pids') ?? path(id, 'memory')
      const text = directory === undefined ? undefined : readText(`${directory}/cgroup.procs`)
      return (text ?? '').split('\n').filter((line) => line !== '').map(Number)
    },
    read(id, controller, file) {
      const directory = path(id, controller)
      return directory === undefined ? undefined : readText(`${directory}/${file}`)
    },
    supports: (file) => file !== '' && all.some((hierarchy) => existing(hierarchy.mountPoint)(`${base}/${file}`)),
    names() {
      const found = new Set<string>()
      for (const hierarchy of all) {
        const directory = `${hierarchy.mountPoint}/${base}`
        if (statSync(directory, { throwIfNoEntry: false }) === undefined) continue
        for (const entry of readdirSync(directory, { withFileTypes: true })) if (entry.isDirectory()) found.add(entry.name)
      }
      return [...found]
    },
    exists: (id) => all.some((hierarchy) => exists(at(hierarchy, id))),
    async destroy(id) {
      const unified = layout.unified === undefined ? undefined : at(layout.unified, id)
      const directories = all.map((hierarchy) => at(hierarchy, id))
      for (let attempt = 0; attempt < 200; attempt++) {
        if (unified !== undefined && existing(unified)('cgroup.kill')) writeFileSync(`${unified}/cgroup.kill`, '1')
        for (const directory of directories) for (const pid of pidsIn(directory)) killQuietly(pid)
        const gone = directories.map((directory) => removeDirectory(directory))
        if (gone.every((one) => one)) {
          // Others may live there by now; then they stay.
          for (const directory of [...(made.get(id) ?? [])].reverse()) removeDirectory(directory)
          made.delete(id)
          places.delete(id)
          return
        }
        await sleep(10)
      }
      throw new EngineError('internal', `cgroup of ${id} cannot be removed: it is still busy`)
    },
    release() {
      for (const hierarchy of all) removeDirectory(`${hierarchy.mountPoint}/${base}`)
    },
  }
}

/** Limits whose controllers few hosts have: never passed over in silence. */
function needed(resources: OciResources): readonly (readonly [field: string, controller: string])[] {
  return [
    ...((resources.hugepageLimits ?? []).length > 0 ? [['hugepageLimits', 'hugetlb'] as const] : []),
    ...(Object.keys(resources.rdma ?? {}).length > 0 ? [['rdma', 'rdma'] as const] : []),
    ...(resources.network?.classID === undefined ? [] : [['network.classID', 'net_cls'] as const]),
    ...((resources.network?.priorities ?? []).length > 0 ? [['network.priorities', 'net_prio'] as const] : []),
  ]
}

const MEMORY = 'memory.limit_in_bytes'
const MEMORY_AND_SWAP = 'memory.memsw.limit_in_bytes'

/** Version 1 never lets memory exceed memory and swap, not even between two writes: whichever makes room goes first. */
function inOrder(directory: string, writes: readonly CgroupWrite[]): readonly CgroupWrite[] {
  const both = writes.find((write) => write.file === MEMORY_AND_SWAP)
  if (both === undefined || !writes.some((write) => write.file === MEMORY)) return writes
  const now = Number(readText(`${directory}/${MEMORY_AND_SWAP}`)?.trim() ?? 0)
  const grows = both.value === '-1' || Number(both.value) > now
  return grows ? [both, ...writes.filter((write) => write !== both)] : writes
}

function writeLimit(path: string, value: string): void {
  try {
    writeFileSync(path, value)
  } catch (cause) {
    const busy = hasCode(cause, 'EBUSY')
    throw new EngineError(busy ? 'conflict' : 'internal', `cannot set ${path.slice(path.lastIndexOf('/') + 1)} to ${value}${busy ? ': more than that is in use' : ''}`, { cause })
  }
}

/** `/a/b` to `/a/b/c/d`: each directory on the way. */
function chain(first: string, last: string): readonly string[] {
  const rest = last.slice(first.length).split('/').filter((part) => part !== '')
  return rest.reduce<readonly string[]>((list, part) => [...list, `${list.at(-1) ?? first}/${part}`], [first])
}

function pidsIn(directory: string): readonly number[] {
  return (readText(`${directory}/cgroup.procs`) ?? '').split('\n').filter((line) => line !== '').map(Number)
}

function killQuietly(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch (error) {
    if (!hasCode(error, 'ESRCH')) throw error
  }
}

/** Version 1: an empty cpuset refuses processes; clone_children lets every child inherit. */
function prepareCpuset(mountPoint: string, base: string): void {
  const parts = base.split('/')
  for (let depth = 1; depth <= parts.length; depth++) {
    const directory = `${mountPoint}/${parts.slice(0, depth).join('/')}`
    const above = `${mountPoint}/${parts.slice(0, depth - 1).join('/')}`
    for (const file of ['cpuset.cpus', 'cpuset.mems']) {
      if (readFileSync(`${directory}/${file}`, 'utf8').trim() === '') writeFileSync(`${directory}/${file}`, readFileSync(`${above}/${file}`, 'utf8'))
    }
    writeFileSync(`${directory}/cgroup.clone_children`, '1')
  }
}

/** Version 2: a controller works below a directory only when all above it pass it on. */
function enableControllers(unified: Hierarchy, base: string): void {
  const parts = ['', ...base.split('/')]
  for (let depth = 1; depth <= parts.length; depth++) {
    const directory = `${unified.mountPoint}${parts.slice(0, depth).join('/')}`
    for (const controller of unified.controllers) {
      try {
        writeFileSync(`${directory}/cgroup.subtree_control`, `+${controller}`)
      } catch (error) {
        if (!hasCode(error, 'EINVAL', 'ENOENT', 'EBUSY', 'EOPNOTSUPP')) throw error
      }
    }
  }
}
