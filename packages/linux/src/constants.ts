/** Kernel constants, named as in its headers. */

/** `linux/sched.h` */
export const CLONE = {
  NEWTIME: 0x80, PIDFD: 0x1000, NEWNS: 0x20000, NEWCGROUP: 0x2000000, NEWUTS: 0x4000000, NEWIPC: 0x8000000,
  NEWUSER: 0x10000000, NEWPID: 0x20000000, NEWNET: 0x40000000, INTO_CGROUP: 0x200000000n,
} as const

/** `linux/mount.h`, mount(2) */
export const MS = {
  RDONLY: 1, NOSUID: 2, NODEV: 4, NOEXEC: 8, REMOUNT: 32, BIND: 4096, MOVE: 8192, REC: 16384, UNBINDABLE: 1 << 17, PRIVATE: 1 << 18,
  SLAVE: 1 << 19, SHARED: 1 << 20, RELATIME: 1 << 21, STRICTATIME: 1 << 24,
} as const

/** `linux/mount.h`, mount_setattr(2) and fsmount(2) */
export const MOUNT_ATTR = {
  RDONLY: 1, NOSUID: 2, NODEV: 4, NOEXEC: 8, ATIME: 0x70, NOATIME: 0x10, STRICTATIME: 0x20, NODIRATIME: 0x80, IDMAP: 0x100000, NOSYMFOLLOW: 0x200000,
} as const

/** `linux/fcntl.h` */
export const AT = { FDCWD: -100, SYMLINK_NOFOLLOW: 0x100, RECURSIVE: 0x8000, EMPTY_PATH: 0x1000 } as const

/** `asm-generic/fcntl.h`; the same on x86-64 and arm64 but for the two directory flags, which the helper sets itself. */
export const O = {
  RDONLY: 0, WRONLY: 1, RDWR: 2, CREAT: 0o100, EXCL: 0o200, NOCTTY: 0o400, TRUNC: 0o1000, APPEND: 0o2000, NONBLOCK: 0o4000,
  DIRECTORY: process.arch === 'arm64' ? 0o40000 : 0o200000, NOFOLLOW: process.arch === 'arm64' ? 0o100000 : 0o400000,
  CLOEXEC: 0o2000000, PATH: 0o10000000,
} as const

/** `linux/prctl.h` */
export const PR = { SET_PDEATHSIG: 1, SET_DUMPABLE: 4, SET_KEEPCAPS: 8, SET_NAME: 15, CAPBSET_DROP: 24, SET_SECUREBITS: 28, SET_CHILD_SUBREAPER: 36, SET_NO_NEW_PRIVS: 38, CAP_AMBIENT: 47 } as const

/** Sockets: `linux/socket.h`, `linux/netlink.h` */
export const SOCKET = { UNIX: 1, INET: 2, INET6: 10, NETLINK: 16, STREAM: 1, DGRAM: 2, RAW: 3, CLOEXEC: 0o2000000, ROUTE: 0, NETFILTER: 12 } as const

/** Terminal requests: `asm-generic/ioctls.h` */
export const TIO = { CSCTTY: 0x540e, CSWINSZ: 0x5414, CSPTLCK: 0x40045431, CGPTPEER: 0x5441 } as const

/** Signal numbers of x86-64 and arm64 by name. */
export const SIGNALS: Readonly<Record<string, number>> = {
  HUP: 1, INT: 2, QUIT: 3, ILL: 4, TRAP: 5, ABRT: 6, IOT: 6, BUS: 7, FPE: 8, KILL: 9, USR1: 10, SEGV: 11, USR2: 12, PIPE: 13, ALRM: 14, TERM: 15,
  STKFLT: 16, CHLD: 17, CLD: 17, CONT: 18, STOP: 19, TSTP: 20, TTIN: 21, TTOU: 22, URG: 23, XCPU: 24, XFSZ: 25, VTALRM: 26, PROF: 27, WINCH: 28,
  IO: 29, POLL: 29, PWR: 30, SYS: 31, RTMIN: 34, RTMAX: 64,
}
