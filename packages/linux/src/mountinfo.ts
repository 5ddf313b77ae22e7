/** One line of /proc/self/mountinfo (kernel Documentation/filesystems/proc.rst, 3.5). */
export interface MountInfo {
  readonly root: string
  readonly mountPoint: string
  readonly options: readonly string[]
  readonly propagation: readonly string[]
  readonly type: string
  readonly source: string
  readonly superOptions: readonly string[]
}

const unescape = (text: string): string => text.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)))

/** Reads the whole file's text; a line that does not fit is left out. */
export function parseMountInfo(text: string): readonly MountInfo[] {
  const mounts: MountInfo[] = []
  for (const line of text.split('\n')) {
    const words = line.split(' ')
    const dash = words.indexOf('-')
    const [root, mountPoint, options] = words.slice(3, 6)
    const [type, source, superOptions] = words.slice(dash + 1)
    if (dash < 6 || root === undefined || mountPoint === undefined || options === undefined || type === undefined) continue
    mounts.push({
      root: unescape(root),
      mountPoint: unescape(mountPoint),
      options: options.split(','),
      propagation: words.slice(6, dash),
      type,
      source: unescape(source ?? ''),
      superOptions: (superOptions ?? '').split(','),
    })
  }
  return mounts
}
