import { AT, type Blob, CLONE, MOUNT_ATTR, MS, O, PR, type ProgramBuilder, type Register, type Value } from '@gantry/linux'
import { EngineError } from '@gantry/std'
import type { OciIdMapping, OciLinux, OciMount, OciProcess, OciTree } from '../spec/oci.ts'
import { openBind } from './mounts.ts'
import type { StartPlan } from './plan.ts'
import { mountLower } from './lower.ts'
import { openTreeMount } from './trees.ts'
import type { StdioRegisters } from './stdio.ts'

const SIGKILL = 9
const SIGCHLD = 17
const CLONE_ARGS_BYTES = 88
const PATH_BYTES = 40
/** `linux/securebits.h` */
const NO_SETUID_FIXUP = 4

/** Whether the container lives in another user namespace than the host's: a new one, or that of a path. */
export function hasOwnUsers(linux: OciLinux): boolean {
  return linux.namespaces.some((one) => one.type === 'user')
}

/** Where its user namespace is, if it is one that is there already. */
export function usersPath(linux: OciLinux): string | undefined {
  return linux.namespaces.find((one) => one.type === 'user')?.path
}

/** The host's id of an id inside. */
export function hostId(mappings: readonly OciIdMapping[], id: number): number {
  const mapping = mappings.find((one) => id >= one.containerID && id < one.containerID + one.size)
  if (mapping === undefined) throw new EngineError('invalid', `id ${id} is not mapped in the user namespace`)
  return mapping.hostID + id - mapping.containerID
}

const mapText = (mappings: readonly OciIdMapping[]): string => mappings.map((one) => `${one.containerID} ${one.hostID} ${one.size}\n`).join('')

/** A shim goes on as the host's root after the start; it cannot move over. */
export function refuseForeignUsers(linux: OciLinux): void {
  if (usersPath(linux) !== undefined) throw new EngineError('unsupported', 'linux.namespaces: joining a user namespace by its path needs a container without a shim')
}

/** Users and groups of a namespace. */
export interface IdMaps {
  readonly uids: readonly OciIdMapping[]
  readonly gids: readonly OciIdMapping[]
}

/** The maps of a container's own namespace. */
export function mapsOf(linux: OciLinux): IdMaps {
  return { uids: linux.uidMappings ?? [], gids: linux.gidMappings ?? [] }
}

/** Writes both maps of a process that waits in its new user namespace (user_namespaces(7)). */
export function writeMaps(p: ProgramBuilder, maps: IdMaps, pid: Register): void {
  for (const [file, mappings] of [['uid_map', maps.uids], ['gid_map', maps.gids]] as const) {
    const text = mapText(mappings)
    const path = p.room(PATH_BYTES)
    p.op(`path of ${file}`, 'format', [path, PATH_BYTES, p.text('/proc/'), pid, p.text(`/${file}`)])
    p.op(`${file}: ${text.trim().replaceAll('\n', ', ')}`, 'writeFile', [AT.FDCWD, path, p.text(text), text.length, 0])
  }
}

/** A user namespace with these maps, for mounts: a child waits in it until its descriptor is held. */
function mapHolder(p: ProgramBuilder, maps: IdMaps): Register {
  const [pid, fd] = [p.register(), p.register()]
  const [child, on] = [p.label(), p.label()]
  const args = Buffer.alloc(CLONE_ARGS_BYTES)
  args.writeBigUInt64LE(BigInt(CLONE.NEWUSER), 0)
  args.writeBigUInt64LE(BigInt(SIGCHLD), 32)
  p.op('clone a holder of the id maps', 'clone', [p.bytes(args), CLONE_ARGS_BYTES, child], { to: pid })
  writeMaps(p, maps, pid)
  const path = p.room(PATH_BYTES)
  p.op('path of its user namespace', 'format', [path, PATH_BYTES, p.text('/proc/'), pid, p.text('/ns/user')])
  p.call('hold its user namespace', 'openat', [AT.FDCWD, path, O.RDONLY | O.CLOEXEC, 0], { to: fd })
  p.call('end the holder', 'kill', [pid, SIGKILL])
  p.call('reap the holder', 'wait4', [pid, 0, 0, 0])
  p.op('go on', 'jump', [on])
  p.place(child)
  p.call('the holder dies with the shim', 'prctl', [PR.SET_PDEATHSIG, SIGKILL, 0, 0, 0])
  p.call('the holder waits', 'ppoll', [0, 0, 0, 0, 0])
  p.op('the holder ends', 'end', [])
  p.place(on)
  return fd
}

/** A detached copy of a mount whose ids on disk are read through the maps (mount_setattr(2), MOUNT_ATTR_IDMAP). */
function mappedView(p: ProgramBuilder, path: string, users: Register, recursive: boolean): Register {
  const attributes = Buffer.alloc(32)
  attributes.writeBigUInt64LE(BigInt(MOUNT_ATTR.IDMAP), 0)
  const blob = p.bytes(attributes)
  const fd = p.register()
  p.op('name the user namespace', 'store', [{ blob: blob.blob + 24, length: 8 }, users, 8])
  p.op(`${path} with mapped ids`, 'bindFd', [AT.FDCWD, p.text(path), recursive ? AT.RECURSIVE : 0, blob, 32], { to: fd })
  return fd
}

/** Mounts the root in the shim: the process inside could not read the layers, and overlayfs there could not see their marks. */
function openRoot(p: ProgramBuilder, plan: StartPlan, users: Register): Register {
  const { root } = plan
  if (root.type === 'bind') return root.ownIds === true ? plainView(p, root.source) : mappedView(p, root.source, users, true)
  const [view, target, fd] = [mappedView(p, root.directory, users, false), p.register(), p.register()]
  p.call('open the layers’ place', 'openat', [AT.FDCWD, p.text(root.directory), O.PATH | O.DIRECTORY | O.CLOEXEC, 0], { to: target })
  p.op('mount the mapped layers there', 'attach', [view, target])
  p.call('close the place', 'close', [target])
  p.call('close the view', 'close', [view])
  p.call('go to the layers', 'chdir', [p.text(root.directory)])
  mapLower(p, root, users)
  // Overlayfs works with the ids of whoever mounts it, and those of the host's root are not in the maps: nothing could be written.
  const { uids, gids } = mapsOf(plan.spec.linux)
  p.call('keep capabilities over the change of ids', 'prctl', [PR.SET_SECUREBITS, NO_SETUID_FIXUP, 0, 0, 0])
  p.call('ids of root inside, for files', 'setfsuid', [hostId(uids, 0)])
  p.call('group of root inside, for files', 'setfsgid', [hostId(gids, 0)])
  p.call('mount the root file system', 'mount', [p.text(root.source), p.text(plan.mountPoint), p.text('overlay'), 0, p.text(root.data)])
  p.call('own ids again', 'setfsuid', [0])
  p.call('own group again', 'setfsgid', [0])
  p.call('capabilities follow the ids again', 'prctl', [PR.SET_SECUREBITS, 0, 0, 0, 0])
  p.op('take it', 'bindFd', [AT.FDCWD, p.text(plan.mountPoint), 0, 0, 0], { to: fd })
  return fd
}

/** What the root stands on is a mount of its own: its ids are mapped as those of the layers are. */
function mapLower(p: ProgramBuilder, root: OciTree, users: Register): void {
  if (root.lower === undefined) return
  const path = `${root.directory}/${root.lower.target}`
  p.scoped(() => {
    mountLower(p, root)
    const [view, target] = [mappedView(p, path, users, false), p.register()]
    p.call('open the image’s place', 'openat', [AT.FDCWD, p.text(path), O.PATH | O.DIRECTORY | O.CLOEXEC, 0], { to: target })
    p.op('mount the mapped image there', 'attach', [view, target])
    p.call('close the place', 'close', [target])
    p.call('close the view', 'close', [view])
  })
}

function plainView(p: ProgramBuilder, path: string): Register {
  const fd = p.register()
  p.op(`${path} as it is`, 'bindFd', [AT.FDCWD, p.text(path), AT.RECURSIVE, 0, 0], { to: fd })
  return fd
}

/** What is opened before the process exists, because it may not do so itself: the numbers lie in the program's memory, for registers are few. */
export interface OpenedAhead {
  /** Only with users of its own. */
  readonly root: Blob | undefined
  readonly binds: ReadonlyMap<OciMount, Blob>
  readonly devices: ReadonlyMap<string, Blob>
}

const isMapped = (mount: OciMount): boolean => mount.idMappings !== undefined || mount.options.includes('idmap') || mount.options.includes('ridmap')

/** The user namespace whose maps a bind is read through; none: as it is. */
function mapsFor(p: ProgramBuilder, mount: OciMount, users: Register | undefined): Register | undefined {
  if (!isMapped(mount)) return undefined
  if (mount.idMappings !== undefined) return mapHolder(p, mount.idMappings)
  if (users === undefined) throw new EngineError('invalid', `mount on ${mount.destination}: mapped ids need maps of the mount's or of the container's own`)
  return users
}

/** Opens root, bind sources and devices before the process exists; it inherits the descriptors. */
export function openAhead(p: ProgramBuilder, plan: StartPlan): OpenedAhead {
  const { spec } = plan
  const own = hasOwnUsers(spec.linux)
  const binds = new Map<OciMount, Blob>()
  const early = spec.mounts.filter((mount) => mount.type === 'bind' && mount.tree === undefined && (own || isMapped(mount)))
  if (!own && early.length === 0) return { root: undefined, binds, devices: new Map() }
  p.phase('user namespace')
  const keep = (open: () => Register): Blob => {
    const slot = p.room(8)
    p.scoped(() => p.op('remember it', 'store', [slot, open(), 4]))
    return slot
  }
  const users = own ? heldUsers(p, spec.linux) : undefined
  for (const mount of early) binds.set(mount, keep(() => openBind(p, mount, mapsFor(p, mount, users))))
  if (users === undefined) return { root: undefined, binds, devices: new Map() }
  const devices = new Map(spec.linux.devices.map((device) => [device.path, keep(() => {
    const fd = p.register()
    p.op(`device ${device.path} of the host`, 'bindFd', [AT.FDCWD, p.text(device.path), 0, 0, 0], { to: fd })
    return fd
  })]))
  const home = p.register()
  p.call('remember the mount namespace', 'openat', [AT.FDCWD, p.text('/proc/self/ns/mnt'), O.RDONLY | O.CLOEXEC, 0], { to: home })
  p.call('a mount namespace for the moment', 'unshare', [CLONE.NEWNS])
  p.call('mounts here stay here', 'mount', [0, p.text('/'), 0, MS.REC | MS.SLAVE, 0])
  const root = keep(() => openRoot(p, plan, users))
  for (const mount of spec.mounts) if (mount.tree !== undefined) binds.set(mount, keep(() => openTreeMount(p, mount, plan.mountPoint, users, (tree) => mapLower(p, tree, users))))
  p.call('back to the mount namespace', 'setns', [home, CLONE.NEWNS])
  p.call('close it', 'close', [home])
  p.call('close the user namespace', 'close', [users])
  return { root, binds, devices }
}

/** The container's user namespace before there is a process in it. */
function heldUsers(p: ProgramBuilder, linux: OciLinux): Register {
  const path = usersPath(linux)
  if (path === undefined) return mapHolder(p, mapsOf(linux))
  const fd = p.register()
  p.call(`open user namespace ${path}`, 'openat', [AT.FDCWD, p.text(path), O.RDONLY | O.CLOEXEC, 0], { to: fd })
  return fd
}

/** What this process does from now on, it does as root of the namespace that the path leads to: its children belong there. */
export function enterUsers(p: ProgramBuilder, linux: OciLinux): void {
  const path = usersPath(linux)
  if (path === undefined) return
  p.scoped(() => {
    const fd = p.register()
    p.call(`open user namespace ${path}`, 'openat', [AT.FDCWD, p.text(path), O.RDONLY | O.CLOEXEC, 0], { to: fd })
    p.call('join the user namespace', 'setns', [fd, CLONE.NEWUSER])
    p.call('close it', 'close', [fd])
  })
}

/** Where the descriptors of what was opened ahead are. */
export function slotsOf(opened: OpenedAhead): readonly Blob[] {
  return [...(opened.root === undefined ? [] : [opened.root]), ...opened.binds.values(), ...opened.devices.values()]
}

/** In the shim: what the process has inherited is not needed here. */
export function closeSlots(p: ProgramBuilder, slots: readonly Blob[]): void {
  p.scoped(() => {
    const fd = p.register()
    for (const slot of slots) {
      p.op('recall it', 'load', [slot, 4], { to: fd })
      p.call('close it', 'close', [fd])
    }
  })
}

/** In the process: a descriptor that the shim opened. */
export function recall(p: ProgramBuilder, slot: Blob): Register {
  const fd = p.register()
  p.op('recall it', 'load', [slot, 4], { to: fd })
  return fd
}

/** In the process, once the maps are there: root inside. */
export function becomeRootInside(p: ProgramBuilder, dieWithParent: boolean): void {
  const zero: readonly Value[] = [0, 0, 0]
  p.call('group 0 inside', 'setresgid', zero)
  p.call('user 0 inside', 'setresuid', zero)
  if (dieWithParent) p.call('die with the shim', 'prctl', [PR.SET_PDEATHSIG, SIGKILL, 0, 0, 0])
}

/** Pipes belong to the user inside, so that `/dev/stdout` can be opened there. */
export function giveStdio(p: ProgramBuilder, linux: OciLinux, process: OciProcess, stdio: StdioRegisters): void {
  if (!hasOwnUsers(linux)) return
  const [uid, gid] = [hostId(mapsOf(linux).uids, process.user.uid), hostId(mapsOf(linux).gids, process.user.gid)]
  const ends = process.terminal ? [stdio.process.in] : [stdio.process.out, stdio.process.err]
  for (const fd of ends) p.call(`owner of it: ${uid}`, 'fchown', [fd, uid, process.terminal ? -1 : gid])
}

/** Mount options of a devpts that the shim makes for users of another namespace. */
export function devptsOwner(linux: OciLinux, data: readonly (readonly [string, string])[]): readonly (readonly [string, string])[] {
  if (!hasOwnUsers(linux)) return data
  const gid = Number(data.find(([key]) => key === 'gid')?.[1] ?? 0)
  return [...data.filter(([key]) => key !== 'gid' && key !== 'uid'), ['uid', String(hostId(mapsOf(linux).uids, 0))], ['gid', String(hostId(mapsOf(linux).gids, gid))]]
}
