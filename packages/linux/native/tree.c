/*
 * File trees as streams of entries. TypeScript translates entries from and to tar; here they only meet the kernel.
 * An entry: struct entry, path, link target, extended attributes, data. The stream ends with an entry of mode 0 and
 * no path.
 */
#include "helper.h"

#define AT_SYMLINK_NOFOLLOW 0x100
#define ENTRY_MAGIC 0x45455254u
#define ENTRY_DELETE 1u
#define ENTRY_CLEAR 2u
#define ENTRY_META 4u
#define ENTRY_HARDLINK 8u
#define ENTRY_XATTRS 16u
#define WRITE_STRICT 1u
#define DEPTH_LIMIT 1024

struct entry {
  u32 magic, mode, uid, gid;
  u64 size, mtime_sec;
  u32 mtime_nsec, rdev_major, rdev_minor, nlink;
  u32 path_length, link_length, xattr_length, flags;
  u64 ino, dev;
};
_Static_assert(sizeof(struct entry) == 80, "entry layout");

static char path_buffer[8192];
static u8 xattr_buffer[131072];
static u8 data_buffer[262144];
static u32 data_length;

static i64 flush(int fd) {
  i64 put = write_full(fd, data_buffer, data_length);
  data_length = 0;
  return put;
}

static i64 emit(int fd, const void *bytes, u64 length) {
  if (length > sizeof data_buffer - data_length) {
    i64 put = flush(fd);
    if (put < 0) return put;
    if (length > sizeof data_buffer) return write_full(fd, bytes, length);
  }
  memcpy(data_buffer + data_length, bytes, length);
  data_length += (u32)length;
  return 0;
}

/* Collects the attributes of a path as records {u16 name, u32 value, bytes}: the length, or -errno. */
static i64 read_xattrs(const char *name_here) {
  static char names[65536];
  i64 length = sys3(__NR_llistxattr, name_here, names, sizeof names);
  if (length == -EOPNOTSUPP) return 0;
  if (length < 0) return length;
  u32 at = 0;
  for (i64 n = 0; n < length;) {
    u16 name = (u16)str_len(names + n);
    if (at + 6u + name > sizeof xattr_buffer) return -E2BIG;
    i64 value = sys4(__NR_lgetxattr, name_here, names + n, xattr_buffer + at + 6 + name, sizeof xattr_buffer - at - 6 - name);
    if (value >= 0) {
      u32 size = (u32)value;
      memcpy(xattr_buffer + at, &name, 2);
      memcpy(xattr_buffer + at + 2, &size, 4);
      memcpy(xattr_buffer + at + 6, names + n, name);
      at += 6u + name + size;
    } else if (value != -ENODATA) {
      return value;
    }
    n += name + 1;
  }
  return at;
}

static i64 emit_data(int out, int fd, u64 size) {
  static u8 block[65536];
  while (size) {
    i64 got = sys3(__NR_read, fd, block, size < sizeof block ? size : sizeof block);
    if (got == -EINTR) continue;
    if (got < 0) return got;
    if (got == 0) memset(block, 0, sizeof block), got = (i64)(size < sizeof block ? size : sizeof block);
    i64 put = emit(out, block, (u64)got);
    if (put < 0) return put;
    size -= (u64)got;
  }
  return 0;
}

static i64 emit_entry(int out, int dir, const char *name, u32 path_length, const struct statx *s, u32 flags) {
  static char link[4096];
  struct entry e = {ENTRY_MAGIC, s->stx_mode, s->stx_uid, s->stx_gid, 0, (u64)s->stx_mtime.tv_sec, s->stx_mtime.tv_nsec,
    s->stx_rdev_major, s->stx_rdev_minor, s->stx_nlink, path_length, 0, 0, 0, s->stx_ino, (u64)s->stx_dev_major << 32 | s->stx_dev_minor};
  i64 fd = -1, got = 0;
  if ((e.mode & S_IFMT) == S_IFLNK) {
    got = sys4(__NR_readlinkat, dir, name, link, sizeof link);
    if (got < 0) return got;
    e.link_length = (u32)got;
  } else if ((e.mode & S_IFMT) == S_IFREG) {
    e.size = s->stx_size;
    if (!(flags & TREE_NO_DATA) && e.size) {
      fd = sys_openat(dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0);
      if (fd < 0) return fd;
    }
  }
  got = sys1(__NR_fchdir, dir); /* there is no call for attributes below a descriptor, and perhaps no /proc */
  if (got >= 0) got = read_xattrs(name);
  if (got >= 0) {
    e.xattr_length = (u32)got;
    got = emit(out, &e, sizeof e);
  }
  if (got >= 0) got = emit(out, path_buffer, path_length);
  if (got >= 0) got = emit(out, link, e.link_length);
  if (got >= 0) got = emit(out, xattr_buffer, e.xattr_length);
  if (got >= 0 && fd >= 0) got = emit_data(out, (int)fd, e.size);
  if (fd >= 0) sys_close((int)fd);
  return got;
}

static i64 read_directory(int out, int dir, u32 path_length, u32 flags, u32 depth, const struct statx *top) {
  u8 names[8192];
  if (depth > DEPTH_LIMIT) return -ELOOP;
  for (;;) {
    i64 length = sys3(__NR_getdents64, dir, names, sizeof names);
    if (length <= 0) return length;
    for (i64 n = 0; n < length;) {
      const char *name = (char *)names + n + 19;
      n += *(u16 *)(names + n + 16);
      if (str_equal(name, ".") || str_equal(name, "..")) continue;
      u32 room = (u32)str_len(name);
      if (path_length + room + 1 >= sizeof path_buffer) return -ENAMETOOLONG;
      u32 at = path_length;
      if (at) path_buffer[at++] = '/';
      memcpy(path_buffer + at, name, room);
      struct statx s;
      i64 got = sys5(__NR_statx, dir, name, AT_SYMLINK_NOFOLLOW, 0x7ff, &s);
      if (got == -ENOENT) continue;
      if (got < 0) return got;
      if ((flags & TREE_ONE_FILESYSTEM) && (s.stx_dev_major != top->stx_dev_major || s.stx_dev_minor != top->stx_dev_minor)) continue;
      got = emit_entry(out, dir, name, at + room, &s, flags);
      if (got == -ENOENT) continue;
      if (got < 0) return got;
      if ((s.stx_mode & S_IFMT) != S_IFDIR) continue;
      i64 below = sys_openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
      if (below < 0) return below;
      got = read_directory(out, (int)below, at + room, flags, depth + 1, top);
      sys_close((int)below);
      if (got < 0) return got;
    }
  }
}

/* `dir` is an open directory, `path` a single name in it, or "." for the directory itself. */
i64 op_tree_read(int dir, const char *path, int out, u32 flags) {
  struct statx s;
  i64 got = sys5(__NR_statx, dir, path, AT_SYMLINK_NOFOLLOW, 0x7ff, &s);
  if (got < 0) return got;
  data_length = 0;
  u32 length = (u32)str_len(path);
  int self = str_equal(path, ".");
  memcpy(path_buffer, path, length);
  got = emit_entry(out, dir, path, length, &s, flags);
  if (got >= 0 && (s.stx_mode & S_IFMT) == S_IFDIR && !(flags & TREE_SINGLE)) {
    i64 fd = sys_openat(dir, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
    got = fd < 0 ? fd : read_directory(out, (int)fd, self ? 0 : length, flags, 0, &s);
    if (fd >= 0) sys_close((int)fd);
  }
  struct entry end;
  memset(&end, 0, sizeof end);
  end.magic = ENTRY_MAGIC;
  if (got >= 0) got = emit(out, &end, sizeof end);
  i64 put = flush(out);
  return got < 0 ? got : put;
}

i64 op_remove_tree(int dir, const char *path) {
  i64 got = sys3(__NR_unlinkat, dir, path, 0);
  if (got >= 0 || got == -ENOENT) return 0;
  if (got != -EISDIR && got != -EPERM) return got;
  i64 fd = sys_openat(dir, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
  if (fd < 0) return fd == -ENOENT ? 0 : fd;
  u8 names[4096];
  i64 length = 0;
  for (int again = 1; again && got != -ELOOP;) {
    again = 0;
    while ((length = sys3(__NR_getdents64, fd, names, sizeof names)) > 0) {
      for (i64 n = 0; n < length;) {
        const char *name = (char *)names + n + 19;
        n += *(u16 *)(names + n + 16);
        if (str_equal(name, ".") || str_equal(name, "..")) continue;
        i64 gone = op_remove_tree((int)fd, name);
        if (gone < 0) {
          sys_close((int)fd);
          return gone;
        }
        again = 1;
      }
    }
    if (again) sys3(__NR_lseek, fd, 0, 0);
  }
  sys_close((int)fd);
  return sys3(__NR_unlinkat, dir, path, 0x200);
}

static i64 clear_directory(const char *path) {
  i64 fd = sys_openat(-100, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
  if (fd < 0) return fd == -ENOENT ? 0 : fd;
  u8 names[4096];
  i64 length, got = 0;
  while (got >= 0 && (length = sys3(__NR_getdents64, fd, names, sizeof names)) > 0)
    for (i64 n = 0; n < length && got >= 0;) {
      const char *name = (char *)names + n + 19;
      n += *(u16 *)(names + n + 16);
      if (!str_equal(name, ".") && !str_equal(name, "..")) got = op_remove_tree((int)fd, name);
    }
  sys_close((int)fd);
  return got;
}

static i64 make_parents(char *path) {
  for (u32 n = 1; path[n]; n++) {
    if (path[n] != '/') continue;
    path[n] = 0;
    i64 got = sys3(__NR_mkdirat, -100, path, 0755);
    path[n] = '/';
    if (got < 0 && got != -EEXIST) return got;
  }
  return 0;
}

static i64 make_node(const struct entry *e, char *path, const char *link, int in) {
  u32 type = e->mode & S_IFMT;
  if (e->flags & ENTRY_HARDLINK) return sys5(__NR_linkat, -100, link, -100, path, 0);
  if (type == S_IFDIR) return sys3(__NR_mkdirat, -100, path, e->mode & 07777);
  if (type == S_IFLNK) return sys3(__NR_symlinkat, link, -100, path);
  if (type != S_IFREG) return sys4(__NR_mknodat, -100, path, e->mode, (e->rdev_minor & 0xff) | (e->rdev_major << 8) | ((u64)(e->rdev_minor & ~0xffu) << 12));
  i64 fd = sys_openat(-100, path, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, e->mode & 07777);
  (void)in;
  return fd;
}

static i64 copy_in(int in, int fd, u64 size) {
  static u8 block[262144];
  i64 failed = 0;
  while (size) {
    i64 got = sys3(__NR_read, in, block, size < sizeof block ? size : sizeof block);
    if (got == -EINTR) continue;
    if (got <= 0) return got < 0 ? got : -EPIPE;
    if (fd >= 0 && !failed) failed = write_full(fd, block, (u64)got);
    size -= (u64)got;
  }
  return failed;
}

static i64 set_xattrs(const struct entry *e, const char *path) {
  i64 got = 0;
  for (u32 at = 0; at + 6 <= e->xattr_length;) {
    u16 name;
    u32 value;
    static char text[256];
    memcpy(&name, xattr_buffer + at, 2);
    memcpy(&value, xattr_buffer + at + 2, 4);
    if (name >= sizeof text || value > e->xattr_length || at + 6u + name + value > e->xattr_length) return -EINVAL;
    memcpy(text, xattr_buffer + at + 6, name);
    text[name] = 0;
    got = sys5(__NR_lsetxattr, path, text, xattr_buffer + at + 6 + name, value, 0);
    if (got < 0 && got != -EOPNOTSUPP) return got;
    at += 6u + name + value;
  }
  return 0;
}

static i64 set_attributes(const struct entry *e, const char *path) {
  i64 got = sys5(__NR_fchownat, -100, path, e->uid, e->gid, AT_SYMLINK_NOFOLLOW);
  if (got < 0) return got;
  if ((e->mode & S_IFMT) != S_IFLNK && !(e->flags & ENTRY_HARDLINK)) {
    got = sys3(__NR_fchmodat, -100, path, e->mode & 07777);
    if (got < 0) return got;
  }
  got = set_xattrs(e, path);
  if (got < 0) return got;
  struct __kernel_timespec times[2] = {{0, 0x3ffffffe}, {(i64)e->mtime_sec, e->mtime_nsec}};
  return sys4(__NR_utimensat, -100, path, times, AT_SYMLINK_NOFOLLOW);
}

static i64 existing_type(const char *path, u32 *type) {
  struct statx s;
  i64 got = sys5(__NR_statx, -100, path, AT_SYMLINK_NOFOLLOW, 0x7ff, &s);
  if (got < 0) return got;
  *type = s.stx_mode & S_IFMT;
  return 0;
}

static i64 write_entry(int in, const struct entry *e, char *path, const char *link, u32 flags) {
  u32 type = e->mode & S_IFMT, there = 0;
  if (e->flags & ENTRY_DELETE) return op_remove_tree(-100, path);
  if (e->flags & ENTRY_CLEAR) return clear_directory(path);
  if (e->flags & ENTRY_META) return set_attributes(e, path);
  i64 got = make_parents(path);
  if (got < 0) return got;
  if (e->flags & ENTRY_XATTRS) {
    got = sys3(__NR_mkdirat, -100, path, 0755);
    return got < 0 && got != -EEXIST ? got : set_xattrs(e, path);
  }
  if (existing_type(path, &there) >= 0) {
    if (flags & WRITE_STRICT && (there == S_IFDIR) != (type == S_IFDIR)) return there == S_IFDIR ? -EISDIR : -ENOTDIR;
    if (there == S_IFDIR && type == S_IFDIR) return set_attributes(e, path);
    got = op_remove_tree(-100, path);
    if (got < 0) return got;
  }
  i64 fd = make_node(e, path, link, in);
  if (fd < 0) return fd;
  if (type == S_IFREG && !(e->flags & ENTRY_HARDLINK)) {
    got = copy_in(in, (int)fd, e->size);
    sys_close((int)fd);
    if (got < 0) return got;
  }
  return e->flags & ENTRY_HARDLINK ? 0 : set_attributes(e, path);
}

i64 op_tree_write(int in, u32 flags) {
  static char link[4097];
  sys1(__NR_umask, 0);
  for (;;) {
    struct entry e;
    i64 got = read_full(in, &e, sizeof e);
    if (got < 0) return got;
    if (e.magic != ENTRY_MAGIC || e.path_length >= sizeof path_buffer || e.link_length >= sizeof link || e.xattr_length > sizeof xattr_buffer) return -EINVAL;
    if (!e.path_length) return 0;
    if ((got = read_full(in, path_buffer, e.path_length)) < 0) return got;
    if ((got = read_full(in, link, e.link_length)) < 0) return got;
    if ((got = read_full(in, xattr_buffer, e.xattr_length)) < 0) return got;
    path_buffer[e.path_length] = 0;
    link[e.link_length] = 0;
    got = write_entry(in, &e, path_buffer, link, flags);
    if (got < 0) {
      out_length = 0;
      memcpy(out_bytes, path_buffer, e.path_length);
      out_length = e.path_length;
      return got;
    }
  }
}
