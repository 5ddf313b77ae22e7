/* Carries out one program: a flat list of operations, each stamped with the time it ended. */
#include <linux/sched.h>
#include "helper.h"

i64 regs[REGISTERS];
i64 kept[KEPT_SLOTS];
u8 out_bytes[OUTPUT_BYTES];
u32 out_length;

i64 program_map(const struct program *head, u32 length, struct program **out) {
  if (length < sizeof *head || head->magic != PROGRAM_MAGIC || head->version != PROGRAM_VERSION) return -EINVAL;
  u64 body = sizeof *head + (u64)head->count * sizeof(struct instruction) + head->blob_length;
  if (head->count == 0 || head->count > 65536 || body != length) return -EINVAL;
  u64 stamps_at = (body + 7) & ~7ull;
  u64 mapped = stamps_at + (u64)head->count * 8;
  i64 at = sys6(__NR_mmap, 0, mapped, PROT_RW, MAP_SHARED_ANON, (u64)-1, 0);
  if (at < 0) return at;
  struct program *p = (struct program *)at;
  *p = *head;
  p->stamps_at = (u32)stamps_at;
  p->mapped = (u32)mapped;
  p->failed_at = p->failed_errno = 0;
  p->on_fail = 0;
  p->began = now_mono();
  *out = p;
  return 0;
}

void program_free(struct program *p) { sys2(__NR_munmap, p, p->mapped); }

static int has_label(u8 op) {
  return op == OP_JUMP || op == OP_JUMP_IF_ZERO || op == OP_ON_FAIL || op == OP_CLONE || op == OP_FORK;
}

static u64 label_of(const struct instruction *i) {
  return i->op == OP_CLONE ? i->arg[2] : i->op == OP_JUMP_IF_ZERO ? i->arg[1] : i->arg[0];
}

i64 program_check(struct program *p) {
  struct instruction *code = program_code(p);
  for (u32 n = 0; n < p->count; n++) {
    struct instruction *i = &code[n];
    if (i->dst >= REGISTERS) return -EINVAL;
    if (has_label(i->op) && label_of(i) >= p->count) return -EINVAL;
    for (int a = 0; a < 6; a++) {
      if ((i->kind[a] == KIND_REGISTER || i->kind[a] == KIND_REGISTER_ADDRESS) && i->arg[a] >= REGISTERS) return -EINVAL;
      if (i->kind[a] == KIND_BLOB && i->arg[a] > p->blob_length) return -EINVAL;
      if (i->kind[a] > KIND_REGISTER_ADDRESS) return -EINVAL;
    }
  }
  return 0;
}

static u64 value_of(struct program *p, const struct instruction *i, int a) {
  switch (i->kind[a]) {
    case KIND_REGISTER: return (u64)regs[i->arg[a]];
    case KIND_BLOB: return (u64)(program_blob(p) + i->arg[a]);
    case KIND_REGISTER_ADDRESS: return (u64)&regs[i->arg[a]];
    default: return i->arg[a];
  }
}

static i64 write_file(int dir, const char *path, const void *data, u64 length, u32 flags) {
  i64 fd = sys_openat(dir, path, flags | O_WRONLY | O_CLOEXEC | O_NOCTTY, 0644);
  if (fd < 0) return fd;
  i64 put = sys3(__NR_write, fd, data, length);
  sys_close((int)fd);
  return put < 0 ? put : 0;
}

static i64 read_file(int dir, const char *path, void *into, u64 capacity) {
  i64 fd = sys_openat(dir, path, O_RDONLY | O_CLOEXEC | O_NOCTTY, 0);
  if (fd < 0) return fd;
  u64 length = 0;
  i64 got;
  while (length < capacity && (got = sys3(__NR_read, fd, (u8 *)into + length, capacity - length)) > 0) length += (u64)got;
  sys_close((int)fd);
  return (i64)length;
}

static i64 sync_read(int fd) {
  u8 byte;
  for (;;) {
    i64 got = sys3(__NR_read, fd, &byte, 1);
    if (got == -EINTR) continue;
    if (got < 0) return got;
    return got == 1 ? 0 : -EPIPE;
  }
}

/* The child holds the write end close-on-exec: end of file means that it has executed, or that it is gone. */
static i64 await_exec(struct program *p, int fd) {
  i64 got = sync_read(fd);
  if (p->failed_errno) return -(i64)p->failed_errno;
  return got == -EPIPE ? 0 : got;
}

static i64 format(char *into, u64 capacity, const char *prefix, u64 number, const char *suffix) {
  if (capacity < 2) return -EINVAL;
  u32 cap = (u32)capacity - 1;
  u32 at = put_str(into, 0, cap, prefix);
  at = put_u64(into, at, cap, number, 0);
  at = put_str(into, at, cap, suffix);
  into[at] = 0;
  return at;
}

static i64 parse(const char *text) {
  i64 value = 0;
  int digits = 0;
  while (text[digits] >= '0' && text[digits] <= '9' && digits < 18) value = value * 10 + (text[digits++] - '0');
  return digits ? value : -EINVAL;
}

static i64 add_out(const void *bytes, u64 length) {
  if (length > OUTPUT_BYTES - out_length) return -ENOBUFS;
  memcpy(out_bytes + out_length, bytes, length);
  out_length += (u32)length;
  return 0;
}

static i64 keep(u64 slot, i64 fd) {
  if (slot >= KEPT_SLOTS) return -EINVAL;
  if (kept[slot] > 0) sys_close((int)kept[slot]);
  kept[slot] = fd < 0 ? 0 : fd;
  return 0;
}

static i64 report_started(struct program *p, i64 pid) {
  static u8 body[16 + 8 * 4096];
  i64 own = sys1(__NR_getpid, 0);
  u64 head[2] = {(u64)(u32)pid | (u64)own << 32, p->began};
  u32 stamps = p->count > 4096 ? 4096 : p->count;
  memcpy(body, head, 16);
  memcpy(body + 16, program_stamps(p), stamps * 8);
  return send_frame(channel, REPLY_STARTED, p->id, body, 16 + stamps * 8);
}

static i64 step(struct program *p, struct instruction *i, u32 *next) {
#define A(n) value_of(p, i, n)
  switch (i->op) {
    case OP_JUMP: *next = (u32)i->arg[0]; return 0;
    case OP_JUMP_IF_ZERO: if (A(0) == 0) *next = (u32)i->arg[1]; return 0;
    case OP_MOVE: return (i64)A(0);
    case OP_STORE: memcpy((void *)A(0), &(u64){A(1)}, A(2) == 8 ? 8 : 4); return 0;
    case OP_LOAD: { u64 v = 0; memcpy(&v, (void *)A(0), A(1) == 8 ? 8 : 4); return (i64)v; }
    case OP_FORMAT: return format((char *)A(0), A(1), (char *)A(2), A(3), (char *)A(4));
    case OP_ON_FAIL: p->on_fail = (u32)i->arg[0]; return 0;
    case OP_SYSCALL: return sys6(i->nr, A(0), A(1), A(2), A(3), A(4), A(5));
    case OP_CLONE: {
      i64 pid = sys2(__NR_clone3, A(0), A(1));
      if (pid == 0) *next = (u32)i->arg[2];
      return pid;
    }
    case OP_FORK: {
      i64 pid = sys5(__NR_clone, SIGCHLD, 0, 0, 0, 0);
      if (pid == 0) *next = (u32)i->arg[0];
      return pid;
    }
    case OP_FAIL: return -(i64)A(0);
    case OP_PARSE: return parse((char *)A(0));
    case OP_RECEIVE_FD: return op_receive_fd((int)A(0));
    case OP_EXEC: return op_exec((char *)A(0), (u32)A(1), (u64 *)A(2), (u32)A(3), (u64 *)A(4), (u32)A(5));
    case OP_SYNC_WRITE: return write_full((int)A(0), "g", 1);
    case OP_SYNC_READ: return sync_read((int)A(0));
    case OP_AWAIT_EXEC: return await_exec(p, (int)A(0));
    case OP_WRITE_FILE: return write_file((int)A(0), (char *)A(1), (void *)A(2), A(3), (u32)A(4));
    case OP_READ_FILE: return read_file((int)A(0), (char *)A(1), (void *)A(2), A(3));
    case OP_OPEN_IN: return op_open_in((int)A(0), (char *)A(1), (u32)A(2), (u32)A(3));
    case OP_FS_MOUNT: return op_fs_mount((char *)A(0), (char *)A(1), (u32)A(2), A(3));
    case OP_EXPECT: return memcmp((void *)A(0), (void *)A(1), A(2)) ? -ESTALE : 0;
    case OP_BIND_FD: return op_bind_fd((int)A(0), (char *)A(1), (u32)A(2), (void *)A(3), A(4));
    case OP_ATTACH: return sys5(__NR_move_mount, A(0), "", A(1), "", 0x44);
    case OP_MASK: return op_mask((char *)A(0), (int)A(1));
    case OP_READ_ONLY: return op_read_only((char *)A(0));
    case OP_PIVOT: return op_pivot((int)A(0));
    case OP_NETLINK: return op_netlink((int)A(0), (void *)A(1), (u32)A(2), (u32)A(3));
    case OP_NETLINK_DUMP: return op_netlink_dump((int)A(0), (void *)A(1), (u32)A(2));
    case OP_SEND_FD: return op_send_fd((int)A(0), (int)A(1), (void *)A(2), A(3));
    case OP_SECCOMP: {
      struct { u16 count; u64 *filter; } f = {(u16)A(1), (u64 *)A(0)};
      return sys3(__NR_seccomp, 1, A(2), &f);
    }
    case OP_CHECK_CWD: {
      char cwd[4096];
      i64 got = sys2(__NR_getcwd, cwd, sizeof cwd);
      return got < 0 ? got : cwd[0] == '/' ? 0 : -EXDEV;
    }
    case OP_OUT: return add_out((void *)A(0), A(1));
    case OP_REPORT: return report_started(p, (i64)A(0));
    case OP_SHIM: return shim_enter(p, (u64 *)A(0));
    case OP_ADD_PROCESS: return shim_add_process(p, (u64 *)A(0));
    case OP_INIT: return op_init();
    case OP_KEEP: return keep(A(0), (i64)A(1));
    case OP_KEPT: return A(0) < KEPT_SLOTS && kept[A(0)] > 0 ? kept[A(0)] : -EBADF;
    case OP_TREE_READ: return op_tree_read((int)A(0), (char *)A(1), (int)A(2), (u32)A(3));
    case OP_TREE_WRITE: return op_tree_write((int)A(0), (u32)A(1));
    case OP_REMOVE_TREE: return op_remove_tree((int)A(0), (char *)A(1));
    default: return -ENOSYS;
  }
#undef A
}

i64 program_run(struct program *p, u32 at) {
  struct instruction *code = program_code(p);
  u64 *stamps = program_stamps(p);
  int in_child = 0, quiet = 0; /* a filter may refuse the clock */
  i64 failure = 0;
  while (at < p->count && code[at].op != OP_END) {
    struct instruction *i = &code[at];
    u32 next = at + 1;
    i64 result = step(p, i, &next);
    if (i->op == OP_SECCOMP && result >= 0) quiet = 1;
    if (!quiet) stamps[at] = now_mono();
    if ((i->op == OP_CLONE || i->op == OP_FORK) && result == 0) in_child = 1;
    if (result >= 0) {
      regs[i->dst] = result;
      at = next;
      continue;
    }
    if ((i->flags & FLAG_IGNORE) || (i->ok && (u64)-result == i->ok)) {
      if (i->dst) regs[i->dst] = result;
      at = next;
      continue;
    }
    if (!failure) failure = result;
    if (!p->failed_errno) p->failed_at = at, p->failed_errno = (u32)-result;
    if (in_child) sys_exit(1);
    if (!p->on_fail) return failure;
    at = p->on_fail;
    p->on_fail = 0;
  }
  if (in_child) sys_exit(0);
  return failure;
}

i64 send_frame(int fd, u32 kind, u64 id, const void *body, u32 length) {
  if (fd < 0) return -EPIPE;
  struct frame f = {length, kind, id};
  struct iovec v[2] = {{&f, sizeof f}, {(void *)body, length}};
  struct { void *name; u32 namelen; struct iovec *iov; u64 iovlen; void *control; u64 controllen; int flags; } m = {0, 0, v, 2, 0, 0, 0};
  u64 want = sizeof f + length, sent = 0;
  while (sent < want) {
    i64 put = sys3(__NR_sendmsg, fd, &m, MSG_NOSIGNAL);
    if (put == -EINTR) continue;
    if (put < 0) return put;
    sent += (u64)put;
    for (int n = 0; n < 2; n++) {
      u64 eat = (u64)put < v[n].len ? (u64)put : v[n].len;
      v[n].base = (u8 *)v[n].base + eat;
      v[n].len -= eat;
      put -= (i64)eat;
    }
  }
  return 0;
}

void send_result(int fd, struct program *p, i64 result) {
  static u8 body[24 + OUTPUT_BYTES];
  u32 head[6] = {p->failed_at, p->failed_errno ? p->failed_errno : (u32)(result < 0 ? -result : 0), out_length, 0, 0, 0};
  memcpy(&head[4], &regs[0], 8);
  memcpy(body, head, 24);
  memcpy(body + 24, out_bytes, out_length);
  send_frame(fd, result < 0 ? REPLY_FAILED : REPLY_DONE, p->id, body, 24 + out_length);
  out_length = 0;
}
