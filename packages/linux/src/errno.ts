import { constants } from 'node:os'

const NAMES = new Map(Object.entries(constants.errno).map(([name, number]) => [number, name]))
NAMES.set(11, 'EAGAIN')
NAMES.set(95, 'EOPNOTSUPP')
NAMES.set(40, 'ELOOP')

const TEXTS: Readonly<Record<string, string>> = {
  EPERM: 'operation not permitted',
  ENOENT: 'no such file or directory',
  ESRCH: 'no such process',
  EIO: 'input/output error',
  E2BIG: 'argument list too long',
  ENOEXEC: 'exec format error',
  EAGAIN: 'resource temporarily unavailable',
  ENOMEM: 'cannot allocate memory',
  EACCES: 'permission denied',
  EBUSY: 'device or resource busy',
  EEXIST: 'file exists',
  EXDEV: 'outside of container mount namespace root',
  ENODEV: 'no such device',
  ENOTDIR: 'not a directory',
  EISDIR: 'is a directory',
  EINVAL: 'invalid argument',
  EMFILE: 'too many open files',
  ENOSPC: 'no space left on device',
  EROFS: 'read-only file system',
  EPIPE: 'broken pipe',
  ENAMETOOLONG: 'file name too long',
  ENOSYS: 'function not implemented',
  ENOTEMPTY: 'directory not empty',
  ELOOP: 'too many levels of symbolic links',
  EADDRINUSE: 'address already in use',
  EADDRNOTAVAIL: 'cannot assign requested address',
  EOPNOTSUPP: 'operation not supported',
  ETIMEDOUT: 'timed out',
  ECHILD: 'the child failed',
}

/** The name of an errno (`EPERM`), or its number. */
export function errnoName(errno: number): string {
  return NAMES.get(errno) ?? `errno ${errno}`
}

/** The kernel's words for an errno, in lower case. */
export function errnoText(errno: number): string {
  const name = errnoName(errno)
  return TEXTS[name] ?? name
}

/** Numbers that programs tolerate by name. */
export const ERRNO = { EPERM: 1, ENOENT: 2, ESRCH: 3, ECHILD: 10, EACCES: 13, EBUSY: 16, EEXIST: 17, ENODEV: 19, ENOTDIR: 20, EINVAL: 22, EROFS: 30, ENOSYS: 38, ETIMEDOUT: 110, ESTALE: 116 } as const
