import type { Identity, OciMount, OciNamespace, OciProcess, OciSpec } from '@gantry/runtime'
import { EngineError, shortId } from '@gantry/std'
import type { UserMaps } from '../../subordinate-ids.ts'
import { DEFAULT_MOUNTS, DEFAULT_PATH, DEFAULT_SHM_BYTES, MASKED_PATHS, READONLY_PATHS } from './defaults.table.ts'
import type { ContainerDocument } from '../record.ts'
import type { ReadyMount } from '../mounts/ready.ts'
import { settleDevices, settleResources, settleUlimits } from './resources.ts'
import { settleSecurity, settleSysctls } from './security.ts'

/** What a specification needs beside the container's own record. */
export interface SpecInput {
  readonly document: ContainerDocument
  readonly identity: Identity
  /** hosts, hostname, resolv.conf of this start. */
  readonly etcDirectory: string
  /** Absolute sources of the mounts. */
  readonly mounts: readonly ReadyMount[]
  /** Capabilities that this host's root has. */
  readonly knownCapabilities: readonly string[]
  /** The host enforces profiles of AppArmor. */
  readonly apparmor: boolean
  readonly cgroupVersion: 1 | 2
  readonly users: UserMaps | undefined
  /** pid of the process whose namespace is joined, by container name or id. */
  readonly pidOf: (container: string, namespace: OciNamespace['type']) => number
}

/** The environment of a process, in Docker's order: PATH, HOSTNAME, TERM, the image's and the user's, HOME. */
export function environment(env: readonly string[], hostname: string, terminal: boolean, home: string): readonly string[] {
  const base = [DEFAULT_PATH, `HOSTNAME=${hostname}`, ...(terminal ? ['TERM=xterm'] : [])]
  const merged = mergeEnv(base, env)
  return merged.some((entry) => entry.startsWith('HOME=')) ? merged : [...merged, `HOME=${home}`]
}

/** Later values replace earlier ones in place; a name without value removes it. */
export function mergeEnv(base: readonly string[], over: readonly string[]): readonly string[] {
  const result = [...base]
  for (const entry of over) {
    const name = entry.split('=', 1)[0] ?? ''
    const at = result.findIndex((one) => one === name || one.startsWith(`${name}=`))
    if (!entry.includes('=')) {
      if (at >= 0) result.splice(at, 1)
    } else if (at >= 0) result[at] = entry
    else result.push(entry)
  }
  return result
}

/** Where its cgroups lie, when it asks for a parent of its own. */
export function cgroupsPathOf(document: ContainerDocument): string | undefined {
  const parent = document.hostConfig.CgroupParent
  return parent === '' ? undefined : `${parent}/${document.id}`
}

/** The maps of a container's own users; none when it has the host's. */
export function usersOf(input: Pick<SpecInput, 'document' | 'users'>): UserMaps | undefined {
  return input.document.hostConfig.UsernsMode === 'host' ? undefined : input.users
}

function namespaces(input: SpecInput): readonly OciNamespace[] {
  const { hostConfig, networkMode } = input.document
  const list: OciNamespace[] = [{ type: 'mount' }, ...(usersOf(input) === undefined ? [] : [{ type: 'user' } as const])]
  const shared = (mode: string, type: OciNamespace['type'], file: string): void => {
    if (mode === 'host') return
    if (mode.startsWith('container:')) list.push({ type, path: `/proc/${input.pidOf(mode.slice('container:'.length), type)}/ns/${file}` })
    else list.push({ type })
  }
  shared(networkMode, 'network', 'net')
  shared(hostConfig.PidMode, 'pid', 'pid')
  shared(hostConfig.IpcMode, 'ipc', 'ipc')
  shared(hostConfig.UTSMode, 'uts', 'uts')
  const cgroup = hostConfig.CgroupnsMode === '' ? (input.cgroupVersion === 2 && !hostConfig.Privileged ? 'private' : 'host') : hostConfig.CgroupnsMode
  shared(cgroup, 'cgroup', 'cgroup')
  return list
}

/** A bind or a volume as the runtime wants it. */
export function bindOf(mount: ReadyMount, ownUsers: boolean): OciMount {
  // What is on disk in a volume keeps the ids of the image, whoever mounts it.
  const flags = [...(ownUsers && mount.type === 'volume' ? ['idmap'] : []), mount.recursive ? 'rbind' : 'bind', ...(mount.readOnly ? ['ro'] : []), mount.propagation === '' ? 'rprivate' : mount.propagation]
  return { destination: mount.destination, type: 'bind', source: mount.source, options: flags, ...(mount.below && { below: mount.below }), ...(mount.tree && { tree: mount.tree }), ...(mount.topReadOnly === true && mount.readOnly && { topReadOnly: true }) }
}

const depth = (path: string): number => path.split('/').filter((part) => part !== '').length

function mountsOf(input: SpecInput): readonly OciMount[] {
  const { hostConfig } = input.document
  const own = (file: string): OciMount => ({ destination: `/etc/${file}`, type: 'bind', source: `${input.etcDirectory}/${file}`, options: ['rbind', hostConfig.ReadonlyRootfs ? 'ro' : 'rw', 'rprivate'] })
  const shmBytes = hostConfig.ShmSize === 0 ? DEFAULT_SHM_BYTES : hostConfig.ShmSize
  const donor = hostConfig.IpcMode.startsWith('container:') ? `/proc/${input.pidOf(hostConfig.IpcMode.slice('container:'.length), 'ipc')}/root/dev/shm` : '/dev/shm'
  const shm: OciMount = hostConfig.IpcMode === 'host' || hostConfig.IpcMode.startsWith('container:')
    ? { destination: '/dev/shm', type: 'bind', source: donor, options: ['rbind', 'rw', 'rprivate'] }
    : { destination: '/dev/shm', type: 'tmpfs', source: 'shm', options: ['nosuid', 'noexec', 'nodev', 'mode=1777', `size=${shmBytes}`] }
  const tmpfs = Object.entries(hostConfig.Tmpfs ?? {}).map(([destination, options]): OciMount => ({ destination, type: 'tmpfs', source: 'tmpfs', options: options === '' ? ['noexec', 'nosuid', 'nodev'] : ['noexec', 'nosuid', 'nodev', ...options.split(',')].filter((option, _, all) => !(option.startsWith('no') && all.includes(option.slice(2)))) }))
  const users = input.mounts.map((mount): OciMount => (mount.type === 'tmpfs' ? { destination: mount.destination, type: 'tmpfs', source: 'tmpfs', options: [...mount.options, ...(mount.readOnly ? ['ro'] : [])] } : bindOf(mount, usersOf(input) !== undefined)))
  const taken = new Set([...users, ...tmpfs].map((mount) => mount.destination))
  const defaults = DEFAULT_MOUNTS.filter((mount) => !taken.has(mount.destination)).map((mount) => (hostConfig.Privileged ? { ...mount, options: mount.options.filter((option) => option !== 'ro') } : mount))
  const base = [...defaults, ...(taken.has('/dev/shm') || hostConfig.IpcMode === 'none' ? [] : [shm]), ...['resolv.conf', 'hostname', 'hosts'].filter((file) => !taken.has(`/etc/${file}`)).map(own)]
  const added = [...tmpfs, ...users].sort((a, b) => depth(a.destination) - depth(b.destination))
  return [...base, ...added]
}

/** The process of a container or of an exec in it. */
export function processOf(input: SpecInput, over: { readonly args: readonly string[]; readonly env: readonly string[]; readonly cwd: string; readonly terminal: boolean; readonly size: readonly [number, number]; readonly privileged: boolean }): OciProcess {
  const { hostConfig } = input.document
  const security = settleSecurity(over.privileged ? { ...hostConfig, Privileged: true } : hostConfig, input.knownCapabilities, input.apparmor)
  const active = input.identity.uid === 0 ? security.capabilities : []
  return {
    terminal: over.terminal,
    consoleSize: { height: over.size[0], width: over.size[1] },
    cwd: over.cwd === '' ? '/' : over.cwd,
    args: over.args,
    env: over.env,
    user: { uid: input.identity.uid, gid: input.identity.gid, additionalGids: input.identity.additionalGids },
    capabilities: { bounding: security.capabilities, effective: active, permitted: active, inheritable: [], ambient: [] },
    noNewPrivileges: security.noNewPrivileges,
    oomScoreAdj: hostConfig.OomScoreAdj,
    rlimits: settleUlimits(hostConfig.Ulimits),
    ...(security.apparmor !== undefined && { apparmorProfile: security.apparmor }),
  }
}

/** Turns what the user wrote into an OCI specification. The only place that does. */
export function toSpec(input: SpecInput): OciSpec {
  const { document } = input
  const { config, hostConfig } = document
  const hostname = config.Hostname
  const spaces = namespaces(input)
  const users = usersOf(input)
  const cgroupsPath = cgroupsPathOf(document)
  const own = (type: OciNamespace['type']): boolean => spaces.some((one) => one.type === type && one.path === undefined)
  const security = settleSecurity(hostConfig, input.knownCapabilities, input.apparmor)
  const { devices, rules } = settleDevices(hostConfig)
  const args = [document.path, ...document.args]
  if (args[0] === '') throw new EngineError('invalid', 'no command specified')
  return {
    ...(own('uts') && { hostname, domainname: config.Domainname }),
    process: processOf(input, {
      args,
      env: environment(config.Env, hostname === '' ? shortId(document.id) : hostname, config.Tty, input.identity.home),
      cwd: config.WorkingDir,
      terminal: config.Tty,
      size: hostConfig.ConsoleSize,
      privileged: false,
    }),
    root: { readonly: hostConfig.ReadonlyRootfs },
    ...(hostConfig.Annotations && { annotations: hostConfig.Annotations }),
    mounts: mountsOf(input),
    linux: {
      namespaces: spaces,
      ...(cgroupsPath !== undefined && { cgroupsPath }),
      ...(users && { uidMappings: users.uids, gidMappings: users.gids }),
      resources: settleResources(hostConfig, rules),
      devices,
      sysctl: settleSysctls(hostConfig, own('network'), own('ipc'), users !== undefined),
      ...(security.seccomp && { seccomp: security.seccomp }),
      maskedPaths: hostConfig.MaskedPaths ?? (security.systemPathsConfined ? MASKED_PATHS : []),
      readonlyPaths: hostConfig.ReadonlyPaths ?? (security.systemPathsConfined ? READONLY_PATHS : []),
    },
  }
}
