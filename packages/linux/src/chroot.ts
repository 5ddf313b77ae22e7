import { AT, CLONE, O } from './constants.ts'
import type { Launcher } from './launcher.ts'
import { syscallProgram } from './program.ts'

const STATX_BYTES = 256
const INODE_AT = 32
const MOUNT_AT = 144
const STATX_INO = 0x100
const STATX_MNT_ID = 0x1000

/**
 * Whether "/" here is something else than the root of the mount namespace. `pivot_root` then leaves the old root in place, and whoever
 * joins the namespace later, as an exec does, comes out there instead of in the container.
 */
export async function livesInChroot(launcher: Launcher): Promise<boolean> {
  const program = syscallProgram((p) => {
    const [here, there] = [p.room(STATX_BYTES), p.room(STATX_BYTES)]
    const fd = p.register()
    p.call('the root as it is seen', 'statx', [AT.FDCWD, p.text('/'), 0, STATX_INO | STATX_MNT_ID, here])
    p.call('own mount namespace', 'openat', [AT.FDCWD, p.text('/proc/self/ns/mnt'), O.RDONLY | O.CLOEXEC, 0], { to: fd })
    p.call('go to its root', 'setns', [fd, CLONE.NEWNS])
    p.call('the root of the namespace', 'statx', [AT.FDCWD, p.text('/'), 0, STATX_INO | STATX_MNT_ID, there])
    p.op('tell of the first', 'out', [here, STATX_BYTES])
    p.op('tell of the second', 'out', [there, STATX_BYTES])
  })
  const { output } = await launcher.fork(program)
  const at = (offset: number): string => `${output.readBigUInt64LE(offset + INODE_AT)} ${output.readBigUInt64LE(offset + MOUNT_AT)}`
  return at(0) !== at(STATX_BYTES)
}
