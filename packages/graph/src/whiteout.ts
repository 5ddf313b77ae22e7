import { EngineError } from '@gantry/std'
import { FILE_TYPE, treeEntry, type TreeEntry } from '@gantry/linux'
import { modeType, type TarEntry, typeOfMode } from './tar-header.ts'

/** Removed files and replaced directories, as layers say it (image-spec, layer.md) and as overlayfs says it (overlayfs.rst). */
const PREFIX = '.wh.'
const OPAQUE = '.wh..wh..opq'
const OPAQUE_XATTR = 'trusted.overlay.opaque'
const OVERLAY_XATTR = 'trusted.overlay.'

/** The path below the root, without dots and doubled slashes; undefined for the root itself. `..` never leaves it. */
export function cleanPath(path: string): string | undefined {
  const parts: string[] = []
  for (const part of path.split('/')) {
    if (part === '' || part === '.') continue
    if (part === '..') parts.pop()
    else parts.push(part)
  }
  return parts.length === 0 ? undefined : parts.join('/')
}

/** How a driver keeps whiteouts: as overlay's own marks, or carried out at once. */
export type WhiteoutStyle = 'overlay' | 'apply'

/** Translates a member of a layer to what is done to the tree. Empty when there is nothing to do. */
export function toTreeEntries(entry: TarEntry, style: WhiteoutStyle): readonly TreeEntry[] {
  const path = cleanPath(entry.path)
  if (path === undefined) return entry.type === 'directory' ? [attributesOf(entry, '.')] : []
  const slash = path.lastIndexOf('/')
  const [directory, name] = [slash < 0 ? '' : path.slice(0, slash), path.slice(slash + 1)]
  const at = (last: string): string => (directory === '' ? last : `${directory}/${last}`)
  if (name === OPAQUE) {
    if (style === 'apply') return [treeEntry({ path: directory === '' ? '.' : directory, action: 'clear' })]
    return directory === '' ? [] : [treeEntry({ path: directory, action: 'xattrs', xattrs: new Map([[OPAQUE_XATTR, Buffer.from('y')]]) })]
  }
  if (name.startsWith(`${PREFIX}${PREFIX}`)) return []
  if (name.startsWith(PREFIX)) {
    const target = at(whiteoutName(name))
    return [style === 'apply' ? treeEntry({ path: target, action: 'delete' }) : treeEntry({ path: target, mode: FILE_TYPE.character | 0o000 })]
  }
  const fields = attributesOf(entry, path)
  if (entry.type === 'hardlink') return [{ ...fields, action: 'hardlink', link: cleanPath(entry.link) ?? '.', xattrs: new Map() }]
  return [{ ...fields, action: 'make', size: entry.size }]
}

/** The name that a whiteout removes; `.wh...` would climb out of the directory. */
function whiteoutName(name: string): string {
  const gone = name.slice(PREFIX.length)
  if (gone === '' || gone === '.' || gone === '..') throw new EngineError('invalid', `invalid whiteout ${JSON.stringify(name)}: it names no file`)
  return gone
}

/** An entry that only sets what a path has. */
export function attributesOf(entry: TarEntry, path: string): TreeEntry {
  return treeEntry({
    path, mode: modeType(entry.type) | entry.mode, uid: entry.uid, gid: entry.gid, mtimeSeconds: entry.mtimeSeconds, mtimeNanos: entry.mtimeNanos,
    major: entry.major, minor: entry.minor, link: entry.link, xattrs: withoutOverlay(entry.xattrs), action: 'attributes',
  })
}

function withoutOverlay(xattrs: ReadonlyMap<string, Buffer>): ReadonlyMap<string, Buffer> {
  const kept = new Map<string, Buffer>()
  for (const [name, value] of xattrs) if (!name.startsWith(OVERLAY_XATTR)) kept.set(name, value)
  return kept
}

/** True for overlay's mark of a removed file. */
export function isWhiteout(entry: TreeEntry): boolean {
  return (entry.mode & FILE_TYPE.mask) === FILE_TYPE.character && entry.major === 0 && entry.minor === 0
}

/** True for a directory that hides what lies below it. */
export function isOpaque(entry: TreeEntry): boolean {
  return entry.xattrs.get(OPAQUE_XATTR)?.toString() === 'y'
}

/** A tree entry as a tar member; undefined for sockets, which tar does not know. */
export function toTarEntry(entry: TreeEntry, path: string): TarEntry | undefined {
  const type = typeOfMode(entry.mode)
  if (type === undefined) return undefined
  return {
    path, type, mode: entry.mode & 0o7777, uid: entry.uid, gid: entry.gid, size: type === 'file' ? entry.size : 0, mtimeSeconds: entry.mtimeSeconds, mtimeNanos: entry.mtimeNanos,
    link: entry.link, major: entry.major, minor: entry.minor, xattrs: withoutOverlay(entry.xattrs),
  }
}

/** The whiteout of a path as a layer has it. */
export function whiteoutEntry(path: string, opaque: boolean, mtimeSeconds = 0): TarEntry {
  const slash = path.lastIndexOf('/')
  const name = opaque ? `${path}/${OPAQUE}` : `${path.slice(0, slash + 1)}${PREFIX}${path.slice(slash + 1)}`
  return { path: name, type: 'file', mode: 0o600, uid: 0, gid: 0, size: 0, mtimeSeconds, mtimeNanos: 0, link: '', major: 0, minor: 0, xattrs: new Map() }
}
