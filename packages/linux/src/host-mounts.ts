import { readFileSync } from 'node:fs'
import { EngineError } from '@gantry/std'
import { MS } from './constants.ts'
import { errnoText } from './errno.ts'
import type { Launcher } from './launcher.ts'
import { parseMountInfo } from './mountinfo.ts'
import { ProgramError, syscallProgram } from './program.ts'

/** A file system of the host, as mount(2) takes it. */
export interface HostMount {
  readonly source: string
  readonly target: string
  readonly type: string
  readonly flags: number
  readonly data: string
}

/** Mounts in the host's own mount namespace. */
export interface HostMounts {
  /** Mounts it where it is not mounted yet. */
  mount(mount: HostMount): Promise<void>
  /** Takes it away, also while somebody has files of it open; nothing where nothing is mounted. */
  unmount(target: string): Promise<void>
  isMounted(target: string): boolean
}

const MNT_DETACH = 2

/** Mounts through this launcher, which shares the host's namespace. */
export function createHostMounts(launcher: Launcher): HostMounts {
  const isMounted = (target: string): boolean => parseMountInfo(readFileSync('/proc/self/mountinfo', 'utf8')).some((one) => one.mountPoint === target)
  return {
    isMounted,
    async mount({ source, target, type, flags, data }) {
      if (isMounted(target)) return
      const program = syscallProgram((p) => {
        p.call(`mount ${source}`, 'mount', [p.text(source), p.text(target), p.text(type), flags, p.text(data)])
        // A bind takes its flags only from a second call.
        if ((flags & MS.BIND) !== 0 && (flags & ~(MS.BIND | MS.REC)) !== 0) p.call('set its flags', 'mount', [0, p.text(target), 0, flags | MS.REMOUNT, 0])
      })
      await launcher.fork(program).catch((cause: unknown) => {
        if (!(cause instanceof ProgramError)) throw cause
        throw new EngineError('internal', `failed to mount local volume: mount ${source}:${target}${data === '' ? '' : `, data: ${data}`}: ${errnoText(cause.errno)}`, { cause })
      })
    },
    async unmount(target) {
      if (isMounted(target)) await launcher.fork(syscallProgram((p) => p.call(`unmount ${target}`, 'umount2', [p.text(target), MNT_DETACH])))
    },
  }
}
