/* Operations that hold a loop, a verification or a fallback, and so must not be split across data. */
#include <linux/mount.h>
#include <linux/netlink.h>
#include <linux/openat2.h>
#include "helper.h"

#define AT_EMPTY_PATH 0x1000
#define OPEN_TREE_CLONE 1
#define MNT_DETACH 2

static i64 stat_fd(int fd, u32 *mode) {
  struct statx s;
  i64 got = sys5(__NR_statx, fd, "", AT_EMPTY_PATH, 0x7ff, &s);
  if (got < 0) return got;
  *mode = s.stx_mode;
  return 0;
}

static i64 open_how(int dir, const char *path, u64 flags, u64 mode, u64 resolve) {
  struct open_how how = {flags | O_CLOEXEC, mode, resolve};
  return sys4(__NR_openat2, dir, path, &how, sizeof how);
}

#define IN_ROOT (RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)

/* Makes the directories of `path` below `root`, one by one, each resolved inside the root. */
static i64 make_directories(int root, const char *path, int whole, u32 mode) {
  char part[4096];
  u32 length = (u32)str_len(path);
  if (length >= sizeof part) return -ENAMETOOLONG;
  for (u32 at = 1; at <= length; at++) {
    if (path[at] != '/' && path[at] != 0) continue;
    if (path[at] == 0 && !whole) break;
    memcpy(part, path, at);
    part[at] = 0;
    i64 there = open_how(root, part, O_PATH | O_DIRECTORY, 0, IN_ROOT);
    if (there >= 0) { sys_close((int)there); continue; }
    if (there != -ENOENT) return there;
    u32 slash = at;
    while (slash > 0 && part[slash - 1] != '/') slash--;
    char name[256];
    if (at - slash >= sizeof name) return -ENAMETOOLONG;
    memcpy(name, part + slash, at - slash);
    name[at - slash] = 0;
    part[slash] = 0;
    i64 parent = open_how(root, slash ? part : ".", O_PATH | O_DIRECTORY, 0, IN_ROOT);
    if (parent < 0) return parent;
    i64 made = sys3(__NR_mkdirat, parent, name, mode);
    sys_close((int)parent);
    if (made < 0 && made != -EEXIST) return made;
  }
  return 0;
}

i64 op_open_in(int root, const char *path, u32 want, u32 mode) {
  u64 flags = want == WANT_DIRECTORY ? O_PATH | O_DIRECTORY : O_PATH;
  i64 fd = open_how(root, path, flags, 0, IN_ROOT);
  if (fd != -ENOENT || want == WANT_EXISTING || want == WANT_ANY) return fd;
  i64 made = make_directories(root, path, want == WANT_DIRECTORY, want == WANT_DIRECTORY ? mode : 0755);
  if (made < 0) return made;
  if (want == WANT_FILE) {
    i64 file = open_how(root, path, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW, mode, IN_ROOT);
    if (file < 0 && file != -EEXIST) return file;
    if (file >= 0) sys_close((int)file);
  }
  return open_how(root, path, flags, 0, IN_ROOT);
}

i64 op_fs_mount(const char *type, const char *options, u32 count, u64 attributes) {
  i64 fs = sys2(__NR_fsopen, type, 1);
  if (fs < 0) return fs;
  i64 got = 0;
  for (u32 n = 0; n < count && got >= 0; n++) {
    const char *key = options;
    const char *value = key + str_len(key) + 1;
    options = value + str_len(value) + 1;
    got = *value ? sys5(__NR_fsconfig, fs, FSCONFIG_SET_STRING, key, value, 0) : sys5(__NR_fsconfig, fs, FSCONFIG_SET_FLAG, key, 0, 0);
  }
  if (got >= 0) got = sys5(__NR_fsconfig, fs, FSCONFIG_CMD_CREATE, 0, 0, 0);
  if (got >= 0) got = sys3(__NR_fsmount, fs, 1, attributes);
  sys_close((int)fs);
  return got;
}

i64 op_bind_fd(int dir, const char *path, u32 flags, const void *attributes, u64 size) {
  i64 fd = sys3(__NR_open_tree, dir, path, flags | OPEN_TREE_CLONE | O_CLOEXEC);
  if (fd < 0 || !size) return fd;
  i64 got = sys5(__NR_mount_setattr, fd, "", AT_EMPTY_PATH | (flags & 0x8000), attributes, size);
  if (got >= 0) return fd;
  sys_close((int)fd);
  return got;
}

static i64 attach_at(i64 mount, i64 target) { return sys5(__NR_move_mount, mount, "", target, "", 0x44); }

/* CVE-2025-31133: what covers a file is a descriptor that was checked, never a path of the container. */
i64 op_mask(const char *path, int null_fd) {
  i64 target = open_how(-100, path, O_PATH | O_NOFOLLOW, 0, RESOLVE_NO_SYMLINKS);
  if (target < 0) return target == -ENOENT || target == -ENOTDIR ? 0 : target;
  u32 mode = 0;
  i64 got = stat_fd((int)target, &mode);
  i64 cover = got;
  if (got >= 0) {
    if ((mode & S_IFMT) == S_IFDIR) {
      static const char options[] = "nr_inodes\0" "1\0" "size\0" "0\0";
      cover = op_fs_mount("tmpfs", options, 1, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
    } else {
      cover = sys3(__NR_open_tree, null_fd, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | O_CLOEXEC);
    }
  }
  if (cover >= 0) {
    got = attach_at(cover, target);
    sys_close((int)cover);
  } else {
    got = cover;
  }
  sys_close((int)target);
  return got;
}

i64 op_read_only(const char *path) {
  i64 target = open_how(-100, path, O_PATH | O_NOFOLLOW, 0, RESOLVE_NO_SYMLINKS);
  if (target < 0) return target == -ENOENT || target == -ENOTDIR ? 0 : target;
  struct mount_attr attributes = {MOUNT_ATTR_RDONLY, 0, 0, 0};
  i64 copy = op_bind_fd((int)target, "", AT_EMPTY_PATH | 0x8000, &attributes, sizeof attributes);
  i64 got = copy < 0 ? copy : attach_at(copy, target);
  if (copy >= 0) sys_close((int)copy);
  sys_close((int)target);
  return got;
}

i64 op_pivot(int root) {
  i64 old = sys_openat(-100, "/", O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
  if (old < 0) return old;
  i64 got = sys1(__NR_fchdir, root);
  if (got >= 0) got = sys2(__NR_pivot_root, ".", ".");
  if (got >= 0) got = sys1(__NR_fchdir, old);
  if (got >= 0) got = sys5(__NR_mount, "", ".", "", MS_SLAVE | MS_REC, "");
  if (got >= 0) got = sys2(__NR_umount2, ".", MNT_DETACH);
  if (got >= 0) got = sys1(__NR_chdir, "/");
  sys_close((int)old);
  return got;
}

static u8 netlink_buffer[65536];

static i64 netlink_send(int fd, const void *message, u32 length) {
  i64 put = sys6(__NR_sendto, fd, U(message), length, 0, 0, 0);
  return put < 0 ? put : 0;
}

/* The kernel's own text for a refusal lies behind the echoed header (NLMSGERR_ATTR_MSG = 1). */
static void keep_reason(const struct nlmsghdr *m) {
  const struct nlmsgerr *e = (const void *)(m + 1);
  u32 skip = sizeof *m + sizeof *e;
  if (!(m->nlmsg_flags & 0x100)) skip += (e->msg.nlmsg_len - sizeof e->msg + 3) & ~3u;
  while (skip + 4 <= m->nlmsg_len) {
    const u16 *a = (const u16 *)((const u8 *)m + skip);
    if (a[0] < 4 || skip + a[0] > m->nlmsg_len) return;
    if ((a[1] & 0x3fff) == 1 && a[0] - 4u <= OUTPUT_BYTES - out_length) {
      memcpy(out_bytes + out_length, a + 2, a[0] - 4u);
      out_length += a[0] - 4u;
      return;
    }
    skip += (a[0] + 3u) & ~3u;
  }
}

i64 op_netlink(int fd, const void *message, u32 length, u32 acks) {
  i64 got = netlink_send(fd, message, length);
  if (got < 0) return got;
  i64 first = 0;
  u32 flags = 0;
  for (u32 seen = 0; seen < acks;) {
    got = sys6(__NR_recvfrom, fd, U(netlink_buffer), sizeof netlink_buffer, flags, 0, 0);
    if (got == -EINTR) continue;
    if (got == -EAGAIN && first) break;
    if (got < 0) return first ? first : got;
    for (u32 at = 0; at + sizeof(struct nlmsghdr) <= (u32)got;) {
      struct nlmsghdr *m = (void *)(netlink_buffer + at);
      if (m->nlmsg_len < sizeof *m || at + m->nlmsg_len > (u32)got) break;
      if (m->nlmsg_type == NLMSG_ERROR) {
        int error = *(int *)(m + 1);
        seen++;
        if (error && !first) first = error, keep_reason(m), flags = MSG_DONTWAIT, acks = ~0u;
      }
      at += (m->nlmsg_len + 3) & ~3u;
    }
  }
  return first;
}

i64 op_netlink_dump(int fd, const void *message, u32 length) {
  i64 got = netlink_send(fd, message, length);
  if (got < 0) return got;
  for (;;) {
    got = sys6(__NR_recvfrom, fd, U(netlink_buffer), sizeof netlink_buffer, 0, 0, 0);
    if (got == -EINTR) continue;
    if (got < 0) return got;
    for (u32 at = 0; at + sizeof(struct nlmsghdr) <= (u32)got;) {
      struct nlmsghdr *m = (void *)(netlink_buffer + at);
      if (m->nlmsg_len < sizeof *m || at + m->nlmsg_len > (u32)got) return -EPROTO;
      if (m->nlmsg_type == NLMSG_DONE) return 0;
      if (m->nlmsg_type == NLMSG_ERROR) return *(int *)(m + 1);
      u32 room = (m->nlmsg_len + 3) & ~3u;
      if (room > OUTPUT_BYTES - out_length) return -ENOBUFS;
      memcpy(out_bytes + out_length, m, m->nlmsg_len);
      out_length += room;
      at += room;
    }
  }
}

/* unix(7), SCM_RIGHTS: one descriptor. */
i64 op_send_fd(int socket, int fd, const void *text, u64 length) {
  struct iovec v = {(void *)text, length};
  struct { u64 length; int level, type; int fd; int padding; } control = {sizeof(u64) + 3 * sizeof(int), 1, 1, fd, 0};
  struct { void *name; u32 namelen; struct iovec *iov; u64 iovlen; void *control; u64 controllen; int flags; } m = {0, 0, &v, 1, &control, sizeof control, 0};
  i64 put = sys3(__NR_sendmsg, socket, &m, MSG_NOSIGNAL);
  return put < 0 ? put : 0;
}

/* One descriptor (SCM_RIGHTS); more than one or none is an error. */
i64 op_receive_fd(int socket) {
  char text[256];
  struct iovec v = {text, sizeof text};
  struct { u64 length; int level, type; int fd; int padding; } control = {0, 0, 0, -1, 0};
  struct { void *name; u32 namelen; struct iovec *iov; u64 iovlen; void *control; u64 controllen; int flags; } m = {0, 0, &v, 1, &control, sizeof control, 0};
  i64 got;
  do got = sys3(__NR_recvmsg, socket, &m, 0x40000000 /* MSG_CMSG_CLOEXEC */);
  while (got == -EINTR);
  if (got < 0) return got;
  return control.length == sizeof(u64) + 3 * sizeof(int) && control.level == 1 && control.type == 1 && control.fd >= 0 ? control.fd : -EBADMSG;
}

/* Fills a pointer list whose strings lie behind it. */
static void fill(u64 *list, u32 count) {
  char *at = (char *)(list + count + 1);
  for (u32 n = 0; n < count; n++) {
    list[n] = (u64)at;
    at += str_len(at) + 1;
  }
  list[count] = 0;
}

i64 op_exec(const char *paths, u32 path_count, u64 *argv, u32 argc, u64 *envp, u32 envc) {
  fill(argv, argc);
  fill(envp, envc);
  i64 kept_error = -ENOENT;
  for (u32 n = 0; n < path_count; n++) {
    i64 got = sys3(__NR_execve, paths, argv, envp);
    if (got == -EACCES) kept_error = got;
    else if (got != -ENOENT && got != -ENOTDIR) return got;
    paths += str_len(paths) + 1;
  }
  return kept_error;
}

/* pid 1 for --init: the child goes on with the program; the parent forwards signals and reaps until the child ends. */
i64 op_init(void) {
  u64 all = ~0ull, none = 0;
  sys4(__NR_rt_sigprocmask, SIG_SETMASK, &all, 0, 8);
  i64 child = sys5(__NR_clone, SIGCHLD, 0, 0, 0, 0);
  if (child < 0) return child;
  if (child == 0) {
    /* A process group of its own in the foreground, so that the terminal's signals reach it once. */
    u32 group = (u32)sys1(__NR_getpid, 0);
    sys2(__NR_setpgid, 0, 0);
    sys3(__NR_ioctl, 0, 0x5410, &group); /* TIOCSPGRP; no terminal, no matter */
    sys4(__NR_rt_sigprocmask, SIG_SETMASK, &none, 0, 8);
    return 0;
  }
  sys5(__NR_prctl, 15, "gantry-init", 0, 0, 0);
  sys3(__NR_close_range, 0, ~0u, 0);
  i64 signals = sys4(__NR_signalfd4, -1, &all, 8, 02000000);
  for (;;) {
    u8 info[128];
    i64 got = sys3(__NR_read, signals, info, sizeof info);
    if (got < 0 && got != -EINTR) sys_exit(255);
    if (got < 4) continue;
    u32 number = *(u32 *)info;
    if (number != SIGCHLD) {
      sys2(__NR_kill, child, number);
      continue;
    }
    int status = 0;
    i64 pid;
    while ((pid = sys4(__NR_wait4, -1, &status, WNOHANG, 0)) > 0)
      if (pid == child) sys_exit((status & 0x7f) ? 128 + (status & 0x7f) : (status >> 8) & 0xff);
  }
}
