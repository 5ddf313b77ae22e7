import type { OciDevice } from './oci.ts'

const device = (path: string, major: number, minor: number): OciDevice => ({ path, type: 'c', major, minor, fileMode: 0o666, uid: 0, gid: 0 })

/** Devices that every container has (config-linux.md, Default Devices). */
export const DEFAULT_DEVICES: readonly OciDevice[] = [
  device('/dev/null', 1, 3), device('/dev/zero', 1, 5), device('/dev/full', 1, 7), device('/dev/random', 1, 8), device('/dev/urandom', 1, 9), device('/dev/tty', 5, 0),
]
