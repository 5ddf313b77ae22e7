import { type BigIntStats, statSync } from 'node:fs'
import { AT, CLONE, ERRNO, type Launcher, O, type ProgramBuilder, ProgramError, type Register, syscallProgram, WANT } from '@gantry/linux'
import { EngineError } from '@gantry/std'
import { attachAt, kindOf, openBind } from './init/mounts.ts'
import { hostId, type IdMaps } from './init/user-namespace.ts'
import type { OciMount } from './spec/oci.ts'

const MNT_DETACH = 2
const STATX_INO = 0x100
/** Of struct statx (`linux/stat.h`): the inode, and major and minor number of the device. */
const STATX = { BYTES: 256, INODE: 32, DEVICE: 136 } as const

/** Binds of containers that run, whoever has built them. */
export interface LiveMounts {
  /** Mounts a bind where a process sees `destination`. `users`: maps of its own user namespace. */
  add(pid: number, mount: OciMount, users: IdMaps | undefined): Promise<void>
  /** Unmounts what is mounted there, if it is this source; otherwise the error has the kind `conflict`. */
  remove(pid: number, destination: string, source: BigIntStats): Promise<void>
}

/** Goes into the mount namespace of a process. Gives its root, which is the program's own from now on. */
function enterMounts(p: ProgramBuilder, pid: number): Register {
  const [space, root] = [p.register(), p.register()]
  p.call('open its mount namespace', 'openat', [AT.FDCWD, p.text(`/proc/${pid}/ns/mnt`), O.RDONLY | O.CLOEXEC, 0], { to: space })
  p.call('go there', 'setns', [space, CLONE.NEWNS])
  p.call('open its root', 'openat', [AT.FDCWD, p.text('/'), O.PATH | O.DIRECTORY | O.CLOEXEC, 0], { to: root })
  return root
}

function addProgram(p: ProgramBuilder, pid: number, mount: OciMount, users: IdMaps | undefined): void {
  let maps: Register | undefined
  if (mount.options.includes('idmap')) {
    maps = p.register()
    p.call('open its user namespace', 'openat', [AT.FDCWD, p.text(`/proc/${pid}/ns/user`), O.RDONLY | O.CLOEXEC, 0], { to: maps })
  }
  const fd = openBind(p, mount, maps)
  const root = enterMounts(p, pid)
  // Directories that are missing become those of root inside.
  if (users !== undefined) for (const [call, id] of [['setfsgid', hostId(users.gids, 0)], ['setfsuid', hostId(users.uids, 0)]] as const) p.call('ids of root inside, for files', call, [id])
  attachAt(p, root, fd, mount.destination, mount.source, kindOf(mount) === 'directory' ? WANT.directory : WANT.file)
}

/** The device as statx(2) has it: two words. */
function deviceWords(device: bigint): Buffer {
  const words = Buffer.alloc(8)
  words.writeUInt32LE(Number(((device >> 8n) & 0xfffn) | ((device >> 32n) & ~0xfffn)), 0)
  words.writeUInt32LE(Number((device & 0xffn) | ((device >> 12n) & ~0xffn)), 4)
  return words
}

/** Whoever runs inside may change what a path leads to at any time: what is unmounted is the very descriptor that was looked at. */
function removeProgram(p: ProgramBuilder, pid: number, destination: string, source: BigIntStats): void {
  const proc = p.register()
  p.call('open the procfs', 'openat', [AT.FDCWD, p.text('/proc'), O.PATH | O.DIRECTORY | O.CLOEXEC, 0], { to: proc })
  const root = enterMounts(p, pid)
  const place = p.register()
  p.op(`resolve ${destination}`, 'openIn', [root, p.text(destination), WANT.existing, 0], { to: place })
  const [found, inode] = [p.room(STATX.BYTES), Buffer.alloc(8)]
  inode.writeBigUInt64LE(BigInt.asUintN(64, source.ino))
  p.call('what is there', 'statx', [place, p.text(''), AT.EMPTY_PATH, STATX_INO, found])
  p.op('it is the source', 'expect', [{ blob: found.blob + STATX.INODE, length: 8 }, p.bytes(inode), 8])
  p.op('of the same file system', 'expect', [{ blob: found.blob + STATX.DEVICE, length: 8 }, p.bytes(deviceWords(source.dev)), 8])
  const path = p.room(32)
  p.op('path of the descriptor', 'format', [path, 32, p.text('self/fd/'), place, p.text('')])
  p.call('go to the procfs', 'fchdir', [proc])
  p.call(`unmount ${destination}`, 'umount2', [path, MNT_DETACH])
}

/** Mounts through this launcher. */
export function createLiveMounts(launcher: Launcher): LiveMounts {
  return {
    add: async (pid, mount, users) => void (await launcher.fork(syscallProgram((p) => addProgram(p, pid, mount, users)))),
    async remove(pid, destination, source) {
      try {
        await launcher.fork(syscallProgram((p) => removeProgram(p, pid, destination, source)))
      } catch (error) {
        if (!(error instanceof ProgramError)) throw error
        if (error.errno === ERRNO.ESTALE || error.errno === ERRNO.EINVAL) throw new EngineError('conflict', `what is mounted on ${destination} is not what was put there`, { cause: error })
        if (error.errno === ERRNO.ENOENT || error.errno === ERRNO.ENOTDIR) throw new EngineError('conflict', `nothing is mounted on ${destination} any more`, { cause: error })
        throw error
      }
    },
  }
}

/** What identifies a source. */
export const sourceStat = (path: string): BigIntStats => statSync(path, { bigint: true })
