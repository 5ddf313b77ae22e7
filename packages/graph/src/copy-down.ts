import type { TreeRoot, Trees } from '@gantry/linux'
import { feedTar, treeToTar } from './tar-stream.ts'

/** Copies what is in a directory of a root into a directory that is empty; it looks as that one does. */
export async function copyDown(trees: Trees, root: TreeRoot, from: string, to: string, options: { readonly oneFilesystem: boolean }): Promise<void> {
  const base = Buffer.from(from.split('/').at(-1) ?? '').toString('latin1')
  const rename = (path: string): string => (path === base || path === '.' ? './' : base !== '' && path.startsWith(`${base}/`) ? path.slice(base.length + 1) : path)
  await trees.write({ kind: 'directory', path: to }, '/', { strict: false }, (socket) =>
    trees.read(root, from, { data: true, ...options }, async (reader) => void (await feedTar(treeToTar(reader, { whiteouts: false, rename }), socket, 'apply'))),
  )
}
