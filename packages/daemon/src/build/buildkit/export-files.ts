import type { BuildContext, BuildResult, ContextNode } from '@gantry/builder'
import { GO_MODE, type OutgoingFile, sendFiles } from '@gantry/buildkit'
import { readTree } from '../export/bytes.ts'
import type { OpenVertex } from '../export/vertex.ts'
import type { ClientContext } from './client-context.ts'

const NANOS = 1_000_000_000n
/** What is neither is left out: a client's disk is no place for devices. */
const KIND: Readonly<Partial<Record<ContextNode['type'], number>>> = { file: 0, directory: GO_MODE.directory, link: GO_MODE.link }

/** Files as they go out, in the order that the other side expects: each directory before what it holds, names sorted as paths. */
function outgoing(context: BuildContext): readonly OutgoingFile[] {
  const first = new Map<ContextNode, string>()
  return [...context.tree.below('')].flatMap(([path, node]) => {
    const kind = KIND[node.type]
    if (kind === undefined) return []
    const same = node.type === 'file' ? first.get(node) : undefined
    if (node.type === 'file' && same === undefined) first.set(node, path)
    const bits = (node.mode & 0o777) + kind + ((node.mode & 0o4000) === 0 ? 0 : GO_MODE.setUid) + ((node.mode & 0o2000) === 0 ? 0 : GO_MODE.setGid) + ((node.mode & 0o1000) === 0 ? 0 : GO_MODE.sticky)
    return {
      stat: { path, mode: bits, uid: node.uid, gid: node.gid, size: node.type === 'file' ? node.size : 0, modTime: BigInt(node.mtimeSeconds) * NANOS + BigInt(node.mtimeNanos), linkname: same ?? node.link, xattrs: node.xattrs },
      read: () => (same === undefined ? context.read(node.digest) : []),
    }
  })
}

/** Sends the files to a directory of the client. */
export async function toDirectory({ ports, session, signal }: ClientContext, exporter: string, result: BuildResult, vertex: OpenVertex): Promise<void> {
  vertex.status('copying files')
  using files = await readTree(ports, result.chainId, (tar) => ports.contexts.receive(tar))
  const list = outgoing(files)
  await sendFiles(session, exporter, list, signal)
  vertex.status('copying files', { current: list.reduce((sum, one) => sum + one.stat.size, 0), done: true })
}
