import type { Socket } from 'node:net'
import { byteReader, type ByteReader, EngineError, messageOf } from '@gantry/std'
import { AT, CLONE, MS, O, SOCKET } from './constants.ts'
import { errnoText } from './errno.ts'
import type { Launcher } from './launcher.ts'
import { TREE, WANT } from './ops.table.ts'
import { type ProgramBuilder, ProgramError, type Register, syscallProgram, type Value } from './program.ts'
import { limitProgram, type TreeLimit } from './quota.ts'
import { SOCKET_ADDRESS_BYTES, socketAddress, type StreamServer } from './stream-server.ts'

/** A root whose files are read or written: a directory, what a process sees, or a root file system that is mounted for it. */
export type TreeRoot =
  | { readonly kind: 'directory'; readonly path: string }
  /** `ownUsers`: ids are those of its user namespace. */
  | { readonly kind: 'process'; readonly pid: number; readonly ownUsers: boolean }
  | {
      readonly kind: 'mount'
      readonly root: {
        readonly lower?: { readonly type: string; readonly source: string; readonly data: string; readonly target: string }
        readonly type: 'overlay' | 'bind'
        readonly source: string
        readonly data: string
        readonly directory: string
      }
      readonly mountPoint: string
      /** `below`: only what is there, and nothing that it leads to outside of the source. */
      readonly binds: readonly { readonly source: string; readonly below?: string; readonly destination: string; readonly readOnly: boolean; readonly directory: boolean }[]
    }

/** Reads and writes trees below a root through the helper: nothing below the root can lead out of it. */
export interface Trees {
  /** Streams entries of `path` (its last part is not followed when it is a link). */
  read<T>(root: TreeRoot, path: string, options: ReadOptions, use: (reader: ByteReader) => Promise<T>): Promise<T>
  /** Writes entries below `path`, a directory that is there. */
  write(root: TreeRoot, path: string, options: WriteOptions, feed: (socket: Socket) => Promise<void>): Promise<void>
  /** Makes an empty subvolume of btrfs in a directory, or a snapshot of the one at `from`. */
  subvolume(directory: string, name: string, from: string | undefined): Promise<void>
  /** Bounds the bytes of an empty directory; `unsupported` where its file system cannot. */
  limit(path: string, limit: TreeLimit): Promise<void>
  /** Removes a tree. */
  remove(directory: string, name: string): Promise<void>
}

/** What of a tree is read. */
export interface ReadOptions {
  readonly data: boolean
  readonly oneFilesystem: boolean
  /** Just the entry itself. */
  readonly single?: boolean
}
/** How a tree is written. */
export interface WriteOptions {
  /** A directory is never replaced by something else, nor the other way round. */
  readonly strict: boolean
}

/** Of `linux/btrfs.h`; `struct btrfs_ioctl_vol_args` is {s64 fd, char name[4088]}. */
const WRITER_FAILED = 'the writer has failed'
const BTRFS = { SNAP_CREATE: 0x50009401, SUBVOL_CREATE: 0x5000940e } as const
const VOLUME_ARGS_BYTES = 4096

function dial(p: ProgramBuilder, path: string, token: string): Register {
  const fd = p.register()
  p.call('socket', 'socket', [SOCKET.UNIX, SOCKET.STREAM | SOCKET.CLOEXEC, 0], { to: fd })
  p.call('dial the daemon', 'connect', [fd, p.bytes(socketAddress(path)), SOCKET_ADDRESS_BYTES])
  p.call('show the token', 'write', [fd, p.bytes(Buffer.from(token)), 32])
  return fd
}

function mountRoot(p: ProgramBuilder, tree: Extract<TreeRoot, { kind: 'mount' }>, fd: Register): void {
  p.call('own mount namespace', 'unshare', [CLONE.NEWNS])
  p.call('keep mounts to it', 'mount', [0, p.text('/'), 0, MS.REC | MS.PRIVATE, 0])
  p.call('go to the layers', 'chdir', [p.text(tree.root.directory)])
  const { lower } = tree.root
  if (lower !== undefined) p.call('mount the image', 'mount', [p.text(lower.source), p.text(lower.target), p.text(lower.type), MS.RDONLY, p.text(lower.data)])
  const [type, flags] = tree.root.type === 'overlay' ? ['overlay', 0] : ['', MS.BIND | MS.REC]
  p.call('mount the root file system', 'mount', [p.text(tree.root.source), p.text(tree.mountPoint), p.text(type), flags, p.text(tree.root.data)])
  p.call('open it', 'openat', [AT.FDCWD, p.text(tree.mountPoint), O.RDONLY | O.DIRECTORY | O.CLOEXEC, 0], { to: fd })
  for (const bind of tree.binds) {
    p.scoped(() => {
      const [mount, target] = [p.register(), p.register()]
      const attributes = Buffer.alloc(32)
      attributes.writeBigUInt64LE(bind.readOnly ? 1n : 0n, 0)
      const take = (from: Value, path: string, flags: number): void => p.op(`bind ${bind.source}`, 'bindFd', [from, p.text(path), AT.RECURSIVE | flags, p.bytes(attributes), 32], { to: mount })
      if (bind.below === undefined) take(AT.FDCWD, bind.source, 0)
      else {
        p.call(`open ${bind.source}`, 'openat', [AT.FDCWD, p.text(bind.source), O.PATH | O.DIRECTORY | O.CLOEXEC, 0], { to: target })
        p.op(`resolve ${bind.below} in it`, 'openIn', [target, p.text(bind.below), WANT.existing, 0], { to: target })
        take(target, '', AT.EMPTY_PATH)
      }
      p.op(`resolve ${bind.destination}`, 'openIn', [fd, p.text(bind.destination), bind.directory ? WANT.directory : WANT.file, 0o755], { to: target })
      p.op(`mount on ${bind.destination}`, 'attach', [mount, target])
      p.call('close', 'close', [mount])
      p.call('close', 'close', [target])
    })
  }
}

function enter(p: ProgramBuilder, tree: TreeRoot): Register {
  const fd = p.register()
  const users = tree.kind === 'process' && tree.ownUsers ? p.register() : undefined
  if (tree.kind === 'process' && users !== undefined) p.call('open its user namespace', 'openat', [AT.FDCWD, p.text(`/proc/${tree.pid}/ns/user`), O.RDONLY | O.CLOEXEC, 0], { to: users })
  if (tree.kind === 'mount') mountRoot(p, tree, fd)
  else p.call('open the root', 'openat', [AT.FDCWD, p.text(tree.kind === 'process' ? `/proc/${tree.pid}/root` : tree.path), O.RDONLY | O.DIRECTORY | O.CLOEXEC, 0], { to: fd })
  p.call('go there', 'fchdir', [fd])
  p.call('stay below it', 'chroot', [p.text('.')])
  if (users !== undefined) {
    p.call('join its users', 'setns', [users, CLONE.NEWUSER])
    p.call('group 0 there', 'setresgid', [0, 0, 0])
    p.call('user 0 there', 'setresuid', [0, 0, 0])
  }
  return fd
}

function split(path: string): { readonly parent: string; readonly name: string } {
  const clean = path.replace(/\/+$/, '')
  const slash = clean.lastIndexOf('/')
  const name = clean.slice(slash + 1)
  return name === '' || name === '.' || name === '..' ? { parent: clean === '' ? '/' : clean, name: '.' } : { parent: slash <= 0 ? '/' : clean.slice(0, slash), name }
}

function failure(error: unknown, path: string): unknown {
  if (!(error instanceof ProgramError)) return error
  const at = error.detail.length > 0 ? `/${error.detail.toString('latin1')}` : path
  const kind = error.errno === 2 || error.errno === 20 ? 'not-found' : error.errno === 30 ? 'forbidden' : error.errno === 21 || error.errno === 17 ? 'invalid' : 'internal'
  return new EngineError(kind, `${at}: ${errnoText(error.errno)}`, { cause: error })
}

/** Reads and writes through this launcher. */
export function createTrees(launcher: Launcher, streams: StreamServer): Trees {
  return {
    async read(root, path, options, use) {
      const stream = streams.expect()
      const flags = (options.data ? 0 : TREE.noData) | (options.oneFilesystem ? TREE.oneFilesystem : 0) | (options.single === true ? TREE.single : 0)
      const { parent, name } = split(path)
      const program = syscallProgram((p) => {
        const out = dial(p, stream.socketPath, stream.token)
        const top = enter(p, root)
        const directory = p.register()
        p.op(`resolve ${parent}`, 'openIn', [top, p.text(parent), WANT.directory, 0o755], { to: directory })
        p.op(`read ${path}`, 'treeRead', [directory, p.text(name), out, flags])
      })
      const done = launcher.fork(program).catch((error: unknown) => {
        stream.cancel('the reader has failed')
        throw failure(error, path)
      })
      const used = stream.socket.then((socket) => use(byteReader(socket)).finally(() => socket.destroy()))
      const [result, value] = await Promise.allSettled([done, used])
      if (result.status === 'rejected') throw result.reason
      if (value.status === 'rejected') throw value.reason
      return value.value
    },
    async write(root, path, options, feed) {
      const stream = streams.expect()
      const program = syscallProgram((p) => {
        const input = dial(p, stream.socketPath, stream.token)
        const top = enter(p, root)
        const directory = p.register()
        p.op(`resolve ${path}`, 'openIn', [top, p.text(path), WANT.existing, 0], { to: directory })
        p.call(`go to ${path}`, 'fchdir', [directory])
        p.op(`write below ${path}`, 'treeWrite', [input, options.strict ? 1 : 0])
      })
      const done = launcher.fork(program).catch((error: unknown) => {
        stream.cancel(WRITER_FAILED)
        throw failure(error, path)
      })
      const fed = stream.socket.then(async (socket) => {
        socket.on('error', () => undefined)
        const stop = (): void => void socket.destroy()
        done.catch(stop)
        await feed(socket).finally(() => socket.end())
      })
      const [result, value] = await Promise.allSettled([done, fed])
      // Where nobody has taken the stream, the program says why.
      if (value.status === 'rejected' && !isBrokenPipe(value.reason) && !(result.status === 'rejected' && messageOf(value.reason).includes(WRITER_FAILED))) throw value.reason
      if (result.status === 'rejected') throw result.reason
    },
    async subvolume(directory, name, from) {
      const args = Buffer.alloc(VOLUME_ARGS_BYTES)
      args.write(name, 8, 'utf8')
      const program = syscallProgram((p) => {
        const [fd, source] = [p.register(), p.register()]
        const blob = p.bytes(args)
        p.call(`open ${directory}`, 'openat', [AT.FDCWD, p.text(directory), O.RDONLY | O.DIRECTORY | O.CLOEXEC, 0], { to: fd })
        if (from === undefined) {
          p.call(`make the subvolume ${name}`, 'ioctl', [fd, BTRFS.SUBVOL_CREATE, blob])
          return
        }
        p.call(`open ${from}`, 'openat', [AT.FDCWD, p.text(from), O.RDONLY | O.DIRECTORY | O.CLOEXEC, 0], { to: source })
        p.op('name the source', 'store', [{ blob: blob.blob, length: 8 }, source, 8])
        p.call(`make the snapshot ${name}`, 'ioctl', [fd, BTRFS.SNAP_CREATE, blob])
      })
      await launcher.fork(program)
    },
    async limit(path, limit) {
      await launcher.fork(limitProgram(path, limit)).catch((cause: unknown) => {
        const why = cause instanceof ProgramError ? errnoText(cause.errno) : messageOf(cause)
        throw new EngineError('unsupported', `the file system of ${path} keeps no quotas (${why}): expected xfs or ext4, mounted with prjquota, or btrfs`, { cause })
      })
    },
    async remove(directory, name) {
      const program = syscallProgram((p) => {
        const fd = p.register()
        p.call(`open ${directory}`, 'openat', [AT.FDCWD, p.text(directory), O.RDONLY | O.DIRECTORY | O.CLOEXEC, 0], { to: fd })
        p.op(`remove ${name}`, 'removeTree', [fd, p.text(name)])
      })
      await launcher.fork(program)
    },
  }
}

function isBrokenPipe(error: unknown): boolean {
  return error instanceof Error && ['EPIPE', 'ECONNRESET', 'ERR_STREAM_DESTROYED', 'ERR_STREAM_PREMATURE_CLOSE'].includes(String((error as NodeJS.ErrnoException).code))
}
