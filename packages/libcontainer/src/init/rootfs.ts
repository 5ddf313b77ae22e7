import { AT, type Blob, CLONE, ERRNO, MOUNT_ATTR, MS, O, type ProgramBuilder, type Register, WANT } from '@gantry/linux'
import { EngineError } from '@gantry/std'
import type { OciDevice, OciMount } from '../spec/oci.ts'
import { attachDevpts, bindMount, cgroupMount, isShared, newFileSystem, openBind } from './mounts.ts'
import { mountLower } from './lower.ts'
import { openTreeMount } from './trees.ts'
import type { StartPlan } from './plan.ts'
import { SHIM_REGISTERS } from './registers.ts'
import type { StdioRegisters } from './stdio.ts'
import { type OpenedAhead, recall } from './user-namespace.ts'

const TYPES: Readonly<Record<OciDevice['type'], number>> = { c: 0o020000, b: 0o060000, p: 0o010000 }

/** The kernel's encoding of a device number (`linux/kdev_t.h`, new_encode_dev). */
function deviceNumber(major: number, minor: number): number {
  return (minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12)
}

/** A user namespace makes no device nodes: the host's are bound. */
function bindDevice(p: ProgramBuilder, dev: Register, name: string, slot: Blob): void {
  p.scoped(() => {
    const mount = recall(p, slot)
    const target = p.register()
    p.call(`place for /dev/${name}`, 'openat', [dev, p.text(name), O.CREAT | O.WRONLY | O.CLOEXEC | O.NOFOLLOW, 0o644], { to: target })
    p.op(`the host’s /dev/${name}`, 'attach', [mount, target])
    p.call('close the place', 'close', [target])
    p.call('close the device', 'close', [mount])
  })
}

function devices(p: ProgramBuilder, dev: Register, plan: StartPlan, opened: OpenedAhead): void {
  p.call('no mask for the modes of devices', 'umask', [0])
  const made = new Set<string>()
  for (const device of plan.spec.linux.devices) {
    if (!device.path.startsWith('/dev/') || device.path.includes('/../')) throw new EngineError('unsupported', `device ${device.path}: only paths below /dev are supported`)
    const name = device.path.slice('/dev/'.length)
    const parts = name.split('/')
    for (let depth = 1; depth < parts.length; depth++) p.call(`directory /dev/${parts.slice(0, depth).join('/')}`, 'mkdirat', [dev, p.text(parts.slice(0, depth).join('/')), 0o755], { tolerate: ERRNO.EEXIST })
    if (made.has(name)) continue
    made.add(name)
    const slot = opened.devices.get(device.path)
    if (slot !== undefined) {
      bindDevice(p, dev, name, slot)
      continue
    }
    p.call(`device /dev/${name}`, 'mknodat', [dev, p.text(name), TYPES[device.type] | device.fileMode, deviceNumber(device.major, device.minor)])
    if (device.uid !== 0 || device.gid !== 0) p.call(`owner of /dev/${name}`, 'fchownat', [dev, p.text(name), device.uid, device.gid, 0])
  }
  const links: readonly (readonly [string, string])[] = [['/proc/self/fd', 'fd'], ['/proc/self/fd/0', 'stdin'], ['/proc/self/fd/1', 'stdout'], ['/proc/self/fd/2', 'stderr'], ['/proc/kcore', 'core'], ['pts/ptmx', 'ptmx']]
  for (const [target, name] of links) p.call(`link /dev/${name}`, 'symlinkat', [p.text(target), dev, p.text(name)])
  p.call('mask for new files', 'umask', [0o022])
}

function bindConsole(p: ProgramBuilder, root: Register, slave: Register): void {
  const mount = p.register()
  const target = p.register()
  p.op('the terminal as a mount', 'bindFd', [slave, p.text(''), AT.EMPTY_PATH, 0, 0], { to: mount })
  p.op('resolve /dev/console', 'openIn', [root, p.text('/dev/console'), WANT.file, 0o600], { to: target })
  p.op('mount the terminal on /dev/console', 'attach', [mount, target])
  p.call('close /dev/console', 'close', [target])
  p.call('close the terminal’s mount', 'close', [mount])
}

function mountOne(p: ProgramBuilder, root: Register, mount: OciMount, plan: StartPlan, source: Register | undefined, opened: OpenedAhead): void {
  if (mount.type === 'bind') return bindMount(p, root, mount, source ?? (mount.tree === undefined ? undefined : openTreeMount(p, mount, plan.mountPoint)))
  if (mount.type === 'cgroup') return cgroupMount(p, root, mount, plan.cgroup, plan.spec.linux.namespaces.some((one) => one.type === 'cgroup'))
  if (mount.type === 'devpts') return attachDevpts(p, root, SHIM_REGISTERS.devpts, mount.destination)
  const fd = newFileSystem(p, root, mount, plan.spec.linux.mountLabel)
  if (mount.destination === '/dev' && mount.type === 'tmpfs') devices(p, fd, plan, opened)
  p.call(`close ${mount.destination}`, 'close', [fd])
}

/** A mount namespace of its own that follows the host's. */
export function ownMounts(p: ProgramBuilder): void {
  p.call('own mount namespace', 'unshare', [CLONE.NEWNS])
  p.call('mounts here stay here', 'mount', [0, p.text('/'), 0, MS.REC | MS.SLAVE, 0])
}

/** Mounts the root and opens it. */
export function mountRoot(p: ProgramBuilder, plan: StartPlan, root: Register): void {
  if (plan.root.type === 'overlay') {
    p.call('go to the layers', 'chdir', [p.text(plan.root.directory)])
    mountLower(p, plan.root)
    p.call('mount the root file system', 'mount', [p.text(plan.root.source), p.text(plan.mountPoint), p.text('overlay'), 0, p.text(plan.root.data)])
  } else {
    p.call('bind the root file system', 'mount', [p.text(plan.root.source), p.text(plan.mountPoint), p.text(''), MS.BIND | MS.REC, p.text('')])
  }
  p.call('open the root file system', 'openat', [AT.FDCWD, p.text(plan.mountPoint), O.PATH | O.DIRECTORY | O.CLOEXEC, 0], { to: root })
}

/** The root that the shim has made; any place will do for it, for everything else is going to be let go. */
function attachRoot(p: ProgramBuilder, slot: Blob, root: Register): void {
  p.op('recall the root file system', 'load', [slot, 4], { to: root })
  p.scoped(() => {
    const top = p.register()
    p.call('open the old root', 'openat', [AT.FDCWD, p.text('/'), O.PATH | O.DIRECTORY | O.CLOEXEC, 0], { to: top })
    p.op('mount the root file system over it', 'attach', [root, top])
    p.call('close the old root', 'close', [top])
  })
}

/** Without pivot_root(2): what was below stays reachable for nobody, for nothing leads there any more. */
function moveRoot(p: ProgramBuilder, root: Register): void {
  p.call('go to the root file system', 'fchdir', [root])
  p.call('move it over the old root', 'mount', [p.text('.'), p.text('/'), 0, MS.MOVE, 0])
  p.call('make it the root', 'chroot', [p.text('.')])
  p.call('go to its top', 'chdir', [p.text('/')])
}

/** How mounts of the finished container spread (config-linux.md, Rootfs Mount Propagation); slaves of the host's by default. */
const ROOT_PROPAGATION: Readonly<Record<string, number>> = {
  private: MS.PRIVATE, rprivate: MS.PRIVATE | MS.REC, slave: MS.SLAVE, rslave: MS.SLAVE | MS.REC, shared: MS.SHARED, rshared: MS.SHARED | MS.REC, unbindable: MS.UNBINDABLE, runbindable: MS.UNBINDABLE | MS.REC,
}

/** Builds the container's view of files and moves into it. Gives the handle on its own procfs. */
export function enterRoot(p: ProgramBuilder, plan: StartPlan, stdio: StdioRegisters | undefined, opened: OpenedAhead, beforePivot: () => void): Register | undefined {
  p.phase('mounts')
  const root = p.register()
  const shared = opened.root === undefined ? new Map(plan.spec.mounts.filter((mount) => isShared(mount) && !opened.binds.has(mount)).map((mount) => [mount, openBind(p, mount)])) : undefined
  p.call('mounts here stay here', 'mount', [0, p.text('/'), 0, MS.REC | MS.SLAVE, 0])
  if (opened.root === undefined) mountRoot(p, plan, root)
  else attachRoot(p, opened.root, root)
  let proc: Register | undefined
  for (const mount of plan.spec.mounts) {
    if (mount.type === 'proc' && mount.destination === '/proc') proc = newFileSystem(p, root, mount)
    else {
      p.scoped(() => {
        const slot = opened.binds.get(mount)
        mountOne(p, root, mount, plan, slot === undefined ? shared?.get(mount) : recall(p, slot), opened)
      })
    }
  }
  if (stdio !== undefined && plan.spec.process.terminal && plan.spec.mounts.some((mount) => mount.type === 'devpts')) p.scoped(() => bindConsole(p, root, stdio.process.in))
  p.op(`working directory ${plan.spec.process.cwd}`, 'openIn', [root, p.text(plan.spec.process.cwd), WANT.directory, 0o755], { ignore: true })
  if (plan.spec.root.readonly) {
    const attributes = Buffer.alloc(32)
    attributes.writeBigUInt64LE(BigInt(MOUNT_ATTR.RDONLY), 0)
    p.call('make the root file system read-only', 'mount_setattr', [root, p.text(''), AT.EMPTY_PATH, p.bytes(attributes), 32])
  }
  beforePivot()
  if (plan.noPivot === true) moveRoot(p, root)
  else p.op('pivot into the root file system', 'pivot', [root])
  const propagation = ROOT_PROPAGATION[plan.spec.linux.rootfsPropagation ?? '']
  if (propagation !== undefined) p.call(`mounts here: ${plan.spec.linux.rootfsPropagation}`, 'mount', [0, p.text('/'), 0, propagation, 0])
  return proc
}
