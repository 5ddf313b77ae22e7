import type { ContextNode, ListedFile } from '@gantry/builder'
import { EngineError } from '@gantry/std'

const NANOS = 1_000_000_000n

/** A path of a client's list: below its top, with no way out. */
export function checkedPath(path: string): string {
  const clean = path.replace(/^\/+/, '')
  if (clean === '' || clean.split('/').some((part) => part === '' || part === '.' || part === '..')) throw new EngineError('invalid', `the context holds the path ${JSON.stringify(path)}, which leads outside of it`)
  return clean
}

/** A file as a context has it. `modTime`: nanoseconds since 1970; `link`: target of a symbolic link, or of a file the path where it came before. */
export function listedAs(path: string, { type, mode, uid, gid, size, modTime, link, xattrs }: Pick<ContextNode, 'type' | 'mode' | 'uid' | 'gid' | 'size' | 'link' | 'xattrs'> & { readonly modTime: bigint }): ListedFile {
  return {
    path: checkedPath(path), same: type === 'file' && link !== '' ? checkedPath(link) : undefined,
    node: { type, mode, uid, gid, size: type === 'file' ? size : 0, mtimeSeconds: Number(modTime / NANOS), mtimeNanos: Number(modTime % NANOS), link: type === 'link' ? link : '', digest: '', xattrs },
  }
}
