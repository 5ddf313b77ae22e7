import { AT, O } from './constants.ts'
import { type SyscallProgram, syscallProgram } from './program.ts'

/** What bounds the bytes below a directory: a project of ext4 or XFS, or the directory's own subvolume of btrfs. */
export type TreeLimit =
  /** `project`: a number that no other directory of the file system has. */
  | { readonly kind: 'project'; readonly project: number; readonly bytes: number }
  | { readonly kind: 'subvolume'; readonly bytes: number }

/** Of `linux/fs.h`; `struct fsxattr` is {u32 xflags, extsize, nextents, projid, cowextsize; u8 pad[8]}. */
const FS = { SETXATTR: 0x401c5820, XFLAG_PROJINHERIT: 0x200 } as const
const FSXATTR_BYTES = 28
/** Of `linux/quota.h`; `struct if_dqblk` is {u64 bhardlimit, bsoftlimit, curspace, ihardlimit, isoftlimit, curinodes, btime, itime; u32 valid}, in blocks of 1 KiB. */
const QUOTA = { SETQUOTA: 0x800008, PROJECT: 2, VALID_BLOCKS: 1, BLOCK: 1024 } as const
const DQBLK_BYTES = 72
/** Of `linux/btrfs.h`; `btrfs_ioctl_quota_ctl_args` is {u64 cmd, status}, `btrfs_ioctl_qgroup_limit_args` {u64 qgroupid, flags, max_rfer, max_excl, rsv_rfer, rsv_excl}. */
const BTRFS = { QUOTA_CTL: 0xc0109428, ENABLE: 1n, QGROUP_LIMIT: 0x8030942b, LIMIT_MAX_RFER: 1n } as const

/** Bounds an empty directory, and with it all that comes to lie below it (quotactl_fd(2), ioctl_fs(2); kernel Documentation/filesystems/quota.rst). */
export function limitProgram(path: string, limit: TreeLimit): SyscallProgram {
  return syscallProgram((p) => {
    const fd = p.register()
    p.call(`open ${path}`, 'openat', [AT.FDCWD, p.text(path), O.RDONLY | O.DIRECTORY | O.CLOEXEC, 0], { to: fd })
    if (limit.kind === 'subvolume') {
      const [control, qgroup] = [Buffer.alloc(16), Buffer.alloc(48)]
      control.writeBigUInt64LE(BTRFS.ENABLE)
      qgroup.writeBigUInt64LE(BTRFS.LIMIT_MAX_RFER, 8)
      qgroup.writeBigUInt64LE(BigInt(limit.bytes), 16)
      p.call('count bytes of subvolumes', 'ioctl', [fd, BTRFS.QUOTA_CTL, p.bytes(control)])
      p.call(`limit the subvolume ${path}`, 'ioctl', [fd, BTRFS.QGROUP_LIMIT, p.bytes(qgroup)])
      return
    }
    const [attributes, block] = [Buffer.alloc(FSXATTR_BYTES), Buffer.alloc(DQBLK_BYTES)]
    attributes.writeUInt32LE(FS.XFLAG_PROJINHERIT, 0)
    attributes.writeUInt32LE(limit.project, 12)
    block.writeBigUInt64LE(BigInt(Math.ceil(limit.bytes / QUOTA.BLOCK)), 0)
    block.writeUInt32LE(QUOTA.VALID_BLOCKS, 64)
    // The limit comes first: where the file system keeps no quotas, it is refused and nothing has changed.
    p.call(`limit project ${limit.project}`, 'quotactl_fd', [fd, QUOTA.SETQUOTA * 256 + QUOTA.PROJECT, limit.project, p.bytes(block)])
    p.call(`make ${path} that project`, 'ioctl', [fd, FS.SETXATTR, p.bytes(attributes)])
  })
}
