import { statSync } from 'node:fs'
import { posix } from 'node:path'
import { feedTar, type Graph, treeToTar, decompressed } from '@gantry/graph'
import { EngineError, formatNanos } from '@gantry/std'
import type { TreeRoot, Trees } from '@gantry/runtime'
import type { UserMaps } from '../subordinate-ids.ts'
import type { Container } from './container.ts'
import { findBelow } from './mounts/ready.ts'
import { usersOf } from './spec/spec.ts'

/** What copying needs of the rest of the house. */
export interface ArchivePorts {
  readonly graph: Graph
  readonly trees: Trees
  readonly execRoot: string
  readonly users: UserMaps | undefined
}

/** What `X-Docker-Container-Path-Stat` says. */
export interface PathStat {
  readonly name: string
  readonly size: number
  /** Go's os.FileMode. */
  readonly mode: number
  readonly mtime: string
  readonly linkTarget: string
}

/** A root to copy from or to: what the process sees, or the container's files with its volumes mounted for the moment. */
export function treeRoot(ports: ArchivePorts, container: Container): TreeRoot {
  if (container.task !== undefined) return { kind: 'process', pid: container.task.pid, ownUsers: usersOf({ document: container.document, users: ports.users }) !== undefined }
  const places = ports.graph.places(ports.graph.images.get(container.document.imageId))
  const binds = container.document.mounts
    .filter((mount) => mount.type === 'bind' || mount.type === 'volume')
    .flatMap((mount) => {
      const source = mount.subpath === '' ? statSync(mount.source, { throwIfNoEntry: false }) : findBelow(mount.source, mount.subpath)
      return source === undefined ? [] : [{ source: mount.source, ...(mount.subpath !== '' && { below: mount.subpath }), destination: mount.destination, readOnly: mount.readOnly, directory: source.isDirectory() }]
    })
  return { kind: 'mount', root: ports.graph.driver.recipe(container.id, places, { volatile: false }), mountPoint: `${ports.execRoot}/rootfs`, binds }
}

const GO_MODE = { directory: 2 ** 31, link: 2 ** 27, device: 2 ** 26, pipe: 2 ** 25, socket: 2 ** 24, setuid: 2 ** 23, setgid: 2 ** 22, character: 2 ** 21, sticky: 2 ** 20 } as const

/** st_mode as Go writes it. */
export function goFileMode(mode: number): number {
  const type = mode & 0o170000
  const kinds: Readonly<Record<number, number>> = { 0o040000: GO_MODE.directory, 0o120000: GO_MODE.link, 0o060000: GO_MODE.device, 0o020000: GO_MODE.device + GO_MODE.character, 0o010000: GO_MODE.pipe, 0o140000: GO_MODE.socket }
  return (mode & 0o777) + (kinds[type] ?? 0) + (mode & 0o4000 ? GO_MODE.setuid : 0) + (mode & 0o2000 ? GO_MODE.setgid : 0) + (mode & 0o1000 ? GO_MODE.sticky : 0)
}

const absolute = (path: string): string => {
  const clean = posix.normalize(`/${path}`)
  return path.endsWith('/.') ? `${clean}/.`.replace('//', '/') : clean
}

function missing(error: unknown, container: Container, path: string): never {
  if (error instanceof EngineError && error.kind === 'not-found') throw new EngineError('not-found', `Could not find the file ${path} in container ${container.name}`, { cause: error })
  throw error
}

/** What is at a path; a link is not followed, but where it leads is told. */
export async function statPath(ports: ArchivePorts, container: Container, path: string): Promise<PathStat> {
  const wanted = absolute(path)
  return ports.trees
    .read(treeRoot(ports, container), wanted.replace(/\/\.$/, '') || '/', { data: false, oneFilesystem: false, single: true }, async (reader) => {
      const head = await reader.read(80)
      if (head === undefined) throw new EngineError('not-found', 'nothing there')
      const rest = (await reader.read(head.readUInt32LE(48) + head.readUInt32LE(52) + head.readUInt32LE(56))) ?? Buffer.alloc(0)
      const link = rest.toString('utf8', head.readUInt32LE(48), head.readUInt32LE(48) + head.readUInt32LE(52))
      const mode = head.readUInt32LE(4)
      const nanos = head.readBigInt64LE(24) * 1_000_000_000n + BigInt(head.readUInt32LE(32))
      const isLink = (mode & 0o170000) === 0o120000
      await reader.read(80)
      return { name: posix.basename(wanted.replace(/\/\.$/, '')) || '/', size: Number(head.readBigUInt64LE(16)), mode: goFileMode(mode), mtime: formatNanos(nanos), linkTarget: isLink ? posix.resolve(posix.dirname(wanted), link) : '' }
    })
    .catch((error: unknown) => missing(error, container, path))
}

/** Streams a path as tar; members are named after the last part of the path. */
export async function readArchive(ports: ArchivePorts, container: Container, path: string, write: (chunk: Uint8Array) => Promise<void>): Promise<void> {
  const wanted = absolute(path)
  const inside = wanted.endsWith('/.')
  const target = inside ? wanted.slice(0, -2) || '/' : wanted
  const own = Buffer.from(posix.basename(target)).toString('latin1')
  // `DIR/.` is what lies in it: clients put another name in the place of the dot.
  const rename = (name: string): string => {
    if (name === '.' || (inside && name === own)) return './'
    return inside && name.startsWith(`${own}/`) ? `.${name.slice(own.length)}` : name
  }
  await ports.trees
    .read(treeRoot(ports, container), target, { data: true, oneFilesystem: false }, async (reader) => {
      for await (const chunk of treeToTar(reader, { whiteouts: false, rename })) await write(chunk)
    })
    .catch((error: unknown) => missing(error, container, path))
}

/** Unpacks a tar stream into a directory that is there. */
export async function writeArchive(ports: ArchivePorts, container: Container, path: string, source: AsyncIterable<Uint8Array>, options: { readonly strict: boolean; readonly owner?: { readonly uid: number; readonly gid: number } }): Promise<void> {
  const plain = await decompressed(source)
  await ports.trees
    .write(treeRoot(ports, container), absolute(path), { strict: options.strict }, async (socket) => {
      await feedTar(plain, socket, 'apply', options.owner === undefined ? {} : { owner: options.owner })
    })
    .catch((error: unknown) => {
      if (error instanceof EngineError && error.kind === 'invalid') throw new EngineError('invalid', `cannot overwrite: ${error.message}`, { cause: error })
      if (error instanceof EngineError && error.kind === 'forbidden') throw new EngineError('forbidden', 'container rootfs is marked read-only', { cause: error })
      return missing(error, container, path)
    })
}

/** The whole root file system, without what is mounted below it. */
export async function exportContainer(ports: ArchivePorts, container: Container, write: (chunk: Uint8Array) => Promise<void>): Promise<void> {
  const root = treeRoot(ports, container)
  const bare: TreeRoot = root.kind === 'mount' ? { ...root, binds: [] } : root
  await ports.trees.read(bare, '/', { data: true, oneFilesystem: true }, async (reader) => {
    for await (const chunk of treeToTar(reader, { whiteouts: false, rename: (name) => (name === '.' ? undefined : name) })) await write(chunk)
  })
}
