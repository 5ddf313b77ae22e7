import { statSync } from 'node:fs'
import { EngineError } from '@gantry/std'
import { AT, type Blob, CLONE, MOUNT_ATTR, MS, O, type ProgramBuilder, type Register, TREE, WANT } from '@gantry/linux'
import type { CgroupPlan } from '../cgroups/manager.ts'
import type { OciLinux, OciMount } from '../spec/oci.ts'
import { awaitWell } from './child.ts'
import { SHIM_REGISTERS } from './registers.ts'
import { openPipe } from './stdio.ts'
import { devptsOwner } from './user-namespace.ts'

/** Mount options by name: attributes to set, to clear, and how the mount propagates. */
export interface ParsedOptions {
  readonly set: number
  readonly clear: number
  readonly propagation: number
  readonly recursive: boolean
  /** What the file system itself gets: key and value. */
  readonly data: readonly (readonly [string, string])[]
}

const ATTRIBUTES: Readonly<Record<string, number>> = { ro: MOUNT_ATTR.RDONLY, nosuid: MOUNT_ATTR.NOSUID, nodev: MOUNT_ATTR.NODEV, noexec: MOUNT_ATTR.NOEXEC, nosymfollow: MOUNT_ATTR.NOSYMFOLLOW, nodiratime: MOUNT_ATTR.NODIRATIME }
const CLEARS: Readonly<Record<string, number>> = { rw: MOUNT_ATTR.RDONLY, suid: MOUNT_ATTR.NOSUID, dev: MOUNT_ATTR.NODEV, exec: MOUNT_ATTR.NOEXEC }
const PROPAGATION: Readonly<Record<string, number>> = { private: MS.PRIVATE, rprivate: MS.PRIVATE, slave: MS.SLAVE, rslave: MS.SLAVE, shared: MS.SHARED, rshared: MS.SHARED, unbindable: MS.UNBINDABLE, runbindable: MS.UNBINDABLE }
const TIMES: Readonly<Record<string, number>> = { noatime: MOUNT_ATTR.NOATIME, strictatime: MOUNT_ATTR.STRICTATIME, relatime: 0 }
/** For a tmpfs: it begins with what the root has at its place. */
const COPY_UP = 'tmpcopyup'
const PLAIN = new Set(['bind', 'rbind', 'defaults', 'async', 'norelatime', 'idmap', 'ridmap', COPY_UP])
/** For binds: the same for all mounts below (runtime-spec, config.md, Linux mount options). Here binds always mean all that they hold. */
const RECURSIVE = /^r(?=(ro|rw|nosuid|suid|nodev|dev|noexec|exec|nodiratime|noatime|strictatime|relatime|nosymfollow)$)/

/** Sorts the options of a mount. */
export function parseOptions(options: readonly string[]): ParsedOptions {
  let [set, clear, propagation] = [0, 0, 0]
  const data: (readonly [string, string])[] = []
  for (const written of options) {
    const option = written.replace(RECURSIVE, '')
    const attribute = ATTRIBUTES[option]
    const cleared = CLEARS[option]
    const spread = PROPAGATION[option]
    const time = TIMES[option]
    if (attribute !== undefined) set |= attribute
    else if (cleared !== undefined) clear |= cleared
    else if (spread !== undefined) propagation = spread
    else if (time !== undefined) [set, clear] = [(set & ~MOUNT_ATTR.ATIME) | time, clear | MOUNT_ATTR.ATIME]
    else if (!PLAIN.has(option)) {
      const [key = '', ...rest] = option.split('=')
      data.push([key, rest.join('=')])
    }
  }
  return { set, clear: clear & ~(set & ~MOUNT_ATTR.ATIME), propagation, recursive: options.includes('rbind'), data }
}

/** struct mount_attr (`linux/mount.h`): four words. */
function attributesBlob(p: ProgramBuilder, options: ParsedOptions): Blob {
  const attributes = Buffer.alloc(32)
  attributes.writeBigUInt64LE(BigInt(options.set), 0)
  attributes.writeBigUInt64LE(BigInt(options.clear), 8)
  attributes.writeBigUInt64LE(BigInt(options.propagation), 16)
  return p.bytes(attributes)
}

/** Puts a detached mount where a path leads to below a root; what is missing of the path is made. */
export function attachAt(p: ProgramBuilder, root: Register, mount: Register, mountPoint: string, what: string, want: number): void {
  p.scoped(() => {
    const target = p.register()
    p.op(`resolve ${mountPoint}`, 'openIn', [root, p.text(mountPoint), want, want === WANT.file ? 0o644 : 0o755], { to: target })
    p.op(`mount ${what} on ${mountPoint}`, 'attach', [mount, target])
    p.call(`close ${mountPoint}`, 'close', [target])
  })
}

/** A bind has no file system of its own that could take further options. */
function checkBindOptions(mount: OciMount, options: ParsedOptions): void {
  const [unknown] = options.data
  if (unknown !== undefined) throw new EngineError('invalid', `mount on ${mount.destination}: unknown option "${unknown[0]}" for a bind`)
}

/** A bind's source as a detached mount with its attributes; ids on disk are read through the maps of `users`, where given. */
export function openBind(p: ProgramBuilder, mount: OciMount, users?: Register): Register {
  const options = parseOptions(mount.options)
  checkBindOptions(mount, options)
  const top = mount.topReadOnly === true ? MOUNT_ATTR.RDONLY : 0
  const attributes = attributesBlob(p, { ...options, set: (options.set & ~top) | (users === undefined ? 0 : MOUNT_ATTR.IDMAP) })
  if (users !== undefined) p.op('name the user namespace', 'store', [{ blob: attributes.blob + 24, length: 8 }, users, 8])
  const fd = p.register()
  const take = (path: string): void => {
    const depth = options.recursive ? AT.RECURSIVE : 0
    if (mount.below === undefined) return p.op(`bind ${mount.source}`, 'bindFd', [AT.FDCWD, p.text(path), depth, attributes, 32], { to: fd })
    takeBelow(p, path, mount.below.path, { depth, attributes, to: fd })
  }
  // A mount of another container can only be copied from inside its mount namespace.
  const [, pid, path] = OTHER_ROOT.exec(mount.source) ?? []
  if (pid === undefined || path === undefined) take(mount.source)
  else insideMountsOf(p, pid, () => take(path))
  if (top !== 0) p.call('read-only, without what is mounted below', 'mount_setattr', [fd, p.text(''), AT.EMPTY_PATH, attributesBlob(p, { ...options, set: top, clear: 0, propagation: 0 }), 32])
  return fd
}

/** Takes what is at a path below another: links there lead nowhere but to places below it, whoever changes them meanwhile. */
function takeBelow(p: ProgramBuilder, source: string, path: string, { depth, attributes, to }: { readonly depth: number; readonly attributes: Blob; readonly to: Register }): void {
  p.scoped(() => {
    const [top, place] = [p.register(), p.register()]
    p.call(`open ${source}`, 'openat', [AT.FDCWD, p.text(source), O.PATH | O.DIRECTORY | O.CLOEXEC, 0], { to: top })
    p.op(`resolve ${path} in it`, 'openIn', [top, p.text(path), WANT.existing, 0], { to: place })
    p.op(`bind ${source}/${path}`, 'bindFd', [place, p.text(''), AT.EMPTY_PATH | depth, attributes, 32], { to })
    p.call('close the place', 'close', [place])
    p.call('close the source', 'close', [top])
  })
}

const OTHER_ROOT = /^\/proc\/(\d+)\/root(\/.+)$/

function insideMountsOf(p: ProgramBuilder, pid: string, work: () => void): void {
  p.scoped(() => {
    const [home, there] = [p.register(), p.register()]
    p.call('remember the mount namespace', 'openat', [AT.FDCWD, p.text('/proc/self/ns/mnt'), O.RDONLY | O.CLOEXEC, 0], { to: home })
    p.call(`mount namespace of process ${pid}`, 'openat', [AT.FDCWD, p.text(`/proc/${pid}/ns/mnt`), O.RDONLY | O.CLOEXEC, 0], { to: there })
    p.call('go there', 'setns', [there, CLONE.NEWNS])
    work()
    p.call('come back', 'setns', [home, CLONE.NEWNS])
    p.call('close it', 'close', [there])
    p.call('close the other', 'close', [home])
  })
}

/** Whether what is mounted below a bind goes back to the host: its source must be taken before the host's mounts are cut off. */
export function isShared(mount: OciMount): boolean {
  return mount.type === 'bind' && parseOptions(mount.options).propagation === MS.SHARED
}

/** Binds a path of the host onto a path below the root. */
export function bindMount(p: ProgramBuilder, root: Register, mount: OciMount, opened?: Register): void {
  const want = kindOf(mount) === 'directory' ? WANT.directory : WANT.file
  const fd = opened ?? openBind(p, mount)
  attachAt(p, root, fd, mount.destination, mount.source, want)
  p.call(`close ${mount.source}`, 'close', [fd])
}

/** What a bind needs at the place where it goes. */
export function kindOf(mount: OciMount): 'directory' | 'file' {
  if (mount.below !== undefined) return mount.below.kind
  if (mount.tree !== undefined) return 'directory'
  const source = statSync(mount.source, { throwIfNoEntry: false })
  if (source === undefined) throw new EngineError('invalid', `invalid mount config for type "bind": bind source path does not exist: ${mount.source}`)
  return source.isDirectory() ? 'directory' : 'file'
}

function keyValues(p: ProgramBuilder, data: readonly (readonly [string, string])[]): Blob {
  return p.strings(data.flatMap(([key, value]) => [key, value]))
}

/** File systems of which each instance can have a context of its own (SELinux). */
const LABELLED: ReadonlySet<string> = new Set(['tmpfs', 'mqueue', 'devpts'])

/** Copies what the root has at a place into a file system that is not there yet. */
function copyUp(p: ProgramBuilder, root: Register, mountPoint: string, into: Register): void {
  p.scoped(() => {
    const { read, write } = openPipe(p, 'pipe for the copy')
    const [place, source, child] = [p.register(), p.register(), p.register()]
    const [reader, on] = [p.label(), p.label()]
    p.op(`resolve ${mountPoint}`, 'openIn', [root, p.text(mountPoint), WANT.directory, 0o755], { to: place })
    p.call('open it', 'openat', [place, p.text('.'), O.RDONLY | O.DIRECTORY | O.CLOEXEC, 0], { to: source })
    p.call('close its place', 'close', [place])
    p.op('a child that reads', 'fork', [reader], { to: child })
    p.op('go on', 'jump', [on])
    p.place(reader)
    p.call('only read', 'close', [read])
    p.op(`read ${mountPoint}`, 'treeRead', [source, p.text('.'), write, TREE.oneFilesystem])
    p.op('all is read', 'end', [])
    p.place(on)
    p.call('only write', 'close', [write])
    p.call('go to the new file system', 'fchdir', [into])
    p.op(`copy ${mountPoint}`, 'treeWrite', [read, 0])
    awaitWell(p, `reading ${mountPoint}`, child)
    p.call('mask for new files', 'umask', [0o022])
    for (const fd of [read, source]) p.call('close it', 'close', [fd])
  })
}

/** A new file system below the root: proc, sysfs, tmpfs, mqueue … The register holds it. */
export function newFileSystem(p: ProgramBuilder, root: Register, mount: OciMount, label?: string): Register {
  const options = parseOptions(mount.options)
  const context = label !== undefined && LABELLED.has(mount.type) ? [['context', label] as const] : []
  const plain = mount.type === 'tmpfs' && mount.source !== '' && mount.source !== 'tmpfs' ? [['source', mount.source] as const, ...options.data] : options.data
  const data = [...plain, ...context]
  const fd = p.register()
  p.op(`new ${mount.type}`, 'fsMount', [p.text(mount.type), keyValues(p, data), data.length, options.set], { to: fd })
  if (mount.options.includes(COPY_UP)) copyUp(p, root, mount.destination, fd)
  attachAt(p, root, fd, mount.destination, mount.type, WANT.directory)
  return fd
}

/** The devpts that the shim made before the process existed. */
export function attachDevpts(p: ProgramBuilder, root: Register, devpts: Register, mountPoint: string): void {
  attachAt(p, root, devpts, mountPoint, 'devpts', WANT.directory)
}

/** The devpts that a container has, for the terminals of execs; without one they fail. */
export function holdDevpts(p: ProgramBuilder, pid: Register): void {
  const path = p.room(40)
  p.op('path of its devpts', 'format', [path, 40, p.text('/proc/'), pid, p.text('/root/dev/pts')])
  p.call('hold its devpts', 'openat', [AT.FDCWD, path, O.PATH | O.DIRECTORY | O.CLOEXEC, 0], { to: SHIM_REGISTERS.devpts, ignore: true })
}

/** Makes a detached devpts in the shim. */
export function newDevpts(p: ProgramBuilder, mount: OciMount, linux: OciLinux, to: Register): void {
  const options = parseOptions(mount.options)
  const data = [...devptsOwner(linux, options.data.filter(([key]) => key !== 'newinstance')), ...(linux.mountLabel === undefined ? [] : [['context', linux.mountLabel] as const])]
  p.op('new devpts', 'fsMount', [p.text('devpts'), keyValues(p, data), data.length, options.set], { to })
}

function viewOfHierarchy(p: ProgramBuilder, top: Register, path: string, name: string, options: ParsedOptions): void {
  const fd = p.register()
  const target = p.register()
  p.op(`view of the ${name} cgroup`, 'bindFd', [AT.FDCWD, p.text(path), 0, attributesBlob(p, { ...options, propagation: MS.PRIVATE }), 32], { to: fd })
  p.call(`directory for ${name}`, 'mkdirat', [top, p.text(name), 0o755])
  p.call(`resolve ${name}`, 'openat', [top, p.text(name), O.PATH | O.CLOEXEC, 0], { to: target })
  p.op(`mount the ${name} cgroup`, 'attach', [fd, target])
  p.call('close the view', 'close', [fd])
  p.call('close the directory', 'close', [target])
}

/** /sys/fs/cgroup: version 2 as it is; version 1 as a tmpfs with one read-only view for each hierarchy. */
export function cgroupMount(p: ProgramBuilder, root: Register, mount: OciMount, plan: CgroupPlan, privateNamespace: boolean): void {
  if (plan.version === 2) {
    if (privateNamespace) newFileSystem(p, root, { ...mount, type: 'cgroup2', options: [...mount.options, 'source=cgroup'] })
    else if (plan.unified !== undefined) bindMount(p, root, { ...mount, source: plan.unified.replace(/\/[^/]+\/[^/]+$/, ''), options: [...mount.options, 'bind'] })
    return
  }
  const top = newFileSystem(p, root, { destination: mount.destination, type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'noexec', 'nodev', 'mode=755'] })
  for (const hierarchy of plan.directories) {
    if (hierarchy.path === plan.unified) continue
    const named = hierarchy.controllers.find((name) => name.startsWith('name='))
    const name = named === undefined ? hierarchy.controllers.join(',') : named.slice(5)
    const options = parseOptions(mount.options)
    p.scoped(() => viewOfHierarchy(p, top, hierarchy.path, name, options))
    for (const controller of hierarchy.controllers.length > 1 ? hierarchy.controllers : []) {
      p.call(`link ${controller}`, 'symlinkat', [p.text(name), top, p.text(controller)])
    }
  }
  const readOnly = Buffer.alloc(32)
  readOnly.writeBigUInt64LE(BigInt(MOUNT_ATTR.RDONLY), 0)
  if (parseOptions(mount.options).set & MOUNT_ATTR.RDONLY) p.call('make the cgroup directory read-only', 'mount_setattr', [top, p.text(''), AT.EMPTY_PATH, p.bytes(readOnly), 32])
  p.call('close the cgroup directory', 'close', [top])
}
