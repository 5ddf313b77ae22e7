/*
 * The helper's two faces. `launcher`: started once by the daemon, from a sealed copy of itself; takes programs on
 * descriptor 3, forks one child for each. The child of a launch stays as the container's shim.
 */
#include <linux/memfd.h>
#include "helper.h"

#define CHANNEL 3
#define HANDLES 4 /* Node's IPC channel: descriptors for the daemon go here, where there is one */
#define SEALS 0xf /* F_SEAL_SEAL | SHRINK | GROW | WRITE */

int channel = CHANNEL;
int handles = -1;

/* CVE-2019-5736: what runs inside a container must not be a file that could be overwritten. */
static void seal(char **argv, char **envp) {
  i64 self = sys_openat(-100, "/proc/self/exe", O_RDONLY | O_CLOEXEC, 0);
  i64 copy = sys2(__NR_memfd_create, "gantry-helper", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (self < 0 || copy < 0) sys_exit(120);
  static u8 block[65536];
  i64 got;
  while ((got = sys3(__NR_read, self, block, sizeof block)) > 0)
    if (write_full((int)copy, block, (u64)got) < 0) sys_exit(121);
  if (sys3(__NR_fcntl, copy, 1033, SEALS) < 0) sys_exit(122);
  argv[1] = "sealed";
  sys5(__NR_execveat, copy, "", argv, envp, 0x1000);
  sys_exit(123);
}

static void reap_children(void) {
  int status;
  i64 pid;
  while ((pid = sys4(__NR_wait4, -1, &status, WNOHANG, 0)) > 0) {
    u64 body = (u64)(u32)pid | (u64)(u32)status << 32;
    send_frame(CHANNEL, REPLY_GONE, 0, &body, 8);
  }
}

static void run_child(struct program *p, u32 kind, int signals) {
  u64 pipe = 1ull << (SIGPIPE - 1); /* a process inside sets its own mask */
  sys4(__NR_rt_sigprocmask, SIG_SETMASK, &pipe, 0, 8);
  sys_close(signals);
  sys1(__NR_setsid, 0);
  for (int n = 0; n < KEPT_SLOTS; n++)
    if (kept[n] > 0) sys_close((int)kept[n]), kept[n] = 0; /* a port must not stay bound after it was given back */
  if (kind == REQUEST_LAUNCH) {
    sys5(__NR_prctl, 36, 1, 0, 0, 0); /* PR_SET_CHILD_SUBREAPER */
    sys5(__NR_prctl, 15, "gantry-shim", 0, 0, 0);
  }
  i64 got = program_run(p, 0);
  send_result(CHANNEL, p, got);
  sys_exit(got < 0 ? 1 : 0);
}

static void request(int signals) {
  struct frame f;
  struct program head, *p = 0;
  if (read_full(CHANNEL, &f, sizeof f) < 0) sys_exit(0);
  if (f.length < sizeof head || read_full(CHANNEL, &head, sizeof head) < 0) sys_exit(124);
  if (program_map(&head, f.length, &p) < 0) sys_exit(125);
  if (read_full(CHANNEL, p + 1, f.length - sizeof head) < 0) sys_exit(0);
  p->id = f.id;
  i64 got = program_check(p);
  if (got < 0 || f.kind == REQUEST_INLINE) {
    if (got >= 0) got = program_run(p, 0);
    send_result(CHANNEL, p, got);
  } else {
    i64 pid = sys5(__NR_clone, SIGCHLD, 0, 0, 0, 0);
    if (pid == 0) run_child(p, f.kind, signals);
    if (pid < 0) {
      p->failed_errno = (u32)-pid;
      send_result(CHANNEL, p, pid);
    } else {
      send_frame(CHANNEL, REPLY_FORKED, f.id, &pid, 8);
    }
  }
  program_free(p);
}

/* The daemon confirms each descriptor with a line that nobody needs. */
static void drain_handles(void) {
  static u8 lines[4096];
  i64 got = sys6(__NR_recvfrom, (u64)handles, (u64)lines, sizeof lines, 0x40 /* MSG_DONTWAIT */, 0, 0);
  if (got > 0 || got == -EINTR || got == -EAGAIN) return;
  sys_close(handles);
  handles = -1;
}

static _Noreturn void launcher(char **envp) {
  u64 blocked = 1ull << (SIGCHLD - 1) | 1ull << (SIGPIPE - 1) | 1ull << (SIGINT - 1) | 1ull << (SIGTERM - 1) | 1ull << (SIGHUP - 1);
  u64 child = 1ull << (SIGCHLD - 1);
  sys4(__NR_rt_sigprocmask, SIG_SETMASK, &blocked, 0, 8);
  sys5(__NR_prctl, 15, "gantry-launcher", 0, 0, 0);
  sys5(__NR_prctl, 4, 0, 0, 0, 0); /* PR_SET_DUMPABLE 0 */
  sys1(__NR_umask, 022);
  sys1(__NR_chdir, "/");
  sys3(__NR_fcntl, CHANNEL, F_SETFD, FD_CLOEXEC);
  for (char **e = envp; *e; e++)
    if (!memcmp(*e, "NODE_CHANNEL_FD=4", 18)) handles = HANDLES;
  if (handles >= 0) sys3(__NR_fcntl, handles, F_SETFD, FD_CLOEXEC);
  int signals = (int)sys4(__NR_signalfd4, -1, &child, 8, O_CLOEXEC | O_NONBLOCK);
  i64 pid = sys1(__NR_getpid, 0);
  send_frame(CHANNEL, REPLY_DONE, 0, &pid, 8);
  for (;;) {
    struct pollfd p[3] = {{CHANNEL, POLLIN, 0}, {signals, POLLIN, 0}, {handles, POLLIN, 0}};
    i64 got = sys5(__NR_ppoll, p, 3, 0, 0, 0);
    if (got < 0 && got != -EINTR) sys_exit(127);
    if (p[1].revents) {
      u8 info[128];
      sys3(__NR_read, signals, info, sizeof info);
      reap_children();
    }
    if (p[2].revents) drain_handles();
    if (p[0].revents) request(signals);
  }
}

/* Becomes a program, looked up as a shell does; ends with a shell's codes where that fails. */
static _Noreturn void become(char **argv, char **envp) {
  i64 got = -ENOENT;
  const char *path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", *name = argv[0];
  for (char **e = envp; *e; e++)
    if (!memcmp(*e, "PATH=", 5)) path = *e + 5;
  int plain = 0;
  for (const char *c = name; *c; c++) plain |= *c == '/';
  if (plain) got = sys3(__NR_execve, name, argv, envp);
  while (!plain && *path) {
    char whole[4096];
    u32 at = 0;
    while (*path && *path != ':' && at < 4000) whole[at++] = *path++;
    if (*path == ':') path++;
    at = put_str(whole, at, 4094, "/");
    whole[put_str(whole, at, 4094, name)] = 0;
    i64 result = sys3(__NR_execve, whole, argv, envp);
    if (result != -ENOENT) got = result;
  }
  static const char words[] = "exec: cannot be executed: ";
  write_full(2, words, sizeof words - 1);
  write_full(2, name, str_len(name));
  write_full(2, "\n", 1);
  sys_exit(got == -ENOENT ? 127 : 126);
}

/* `--init` of containers that another runtime builds: this file is their pid 1. */
static _Noreturn void init_of(char **argv, char **envp) {
  if (op_init() < 0) sys_exit(255);
  become(argv, envp);
}

/* First process of a container that LXC has built: says that it is there (argv[1], a FIFO) and waits at the gate (argv[0])
 * until the host's side is ready. */
static _Noreturn void wait_at_gate(char **argv, char **envp) {
  u8 byte;
  i64 gate = sys_openat(-100, argv[0], O_RDONLY | O_CLOEXEC, 0);
  i64 there = sys_openat(-100, argv[1], O_WRONLY | O_CLOEXEC, 0);
  if (there < 0 || write_full((int)there, "r", 1) < 0) sys_exit(255);
  sys_close((int)there);
  if (gate < 0 || sys3(__NR_read, gate, &byte, 1) != 1) sys_exit(255);
  sys_close((int)gate);
  sys1(__NR_setsid, 0);
  sys3(__NR_ioctl, 0, 0x540e, 0); /* TIOCSCTTY; no terminal, no matter */
  become(argv + 2, envp);
}

__attribute__((used)) static _Noreturn void start(u64 *stack) {
  u64 argc = stack[0];
  char **argv = (char **)(stack + 1);
  char **envp = argv + argc + 1;
  if (argc == 2 && str_equal(argv[1], "launcher")) seal(argv, envp);
  if (argc == 2 && str_equal(argv[1], "sealed")) launcher(envp);
  if (argc >= 3 && str_equal(argv[1], "init")) init_of(argv + 2, envp);
  if (argc >= 5 && str_equal(argv[1], "gate")) wait_at_gate(argv + 2, envp);
  static const char usage[] = "gantry-helper is started by the daemon\n";
  write_full(2, usage, sizeof usage - 1);
  sys_exit(2);
}

#if defined(__x86_64__)
__asm__(".globl _start\n_start:\n  xor %ebp,%ebp\n  mov %rsp,%rdi\n  and $-16,%rsp\n  call start\n");
#else
__asm__(".globl _start\n_start:\n  mov x29,#0\n  mov x0,sp\n  bl start\n");
#endif
