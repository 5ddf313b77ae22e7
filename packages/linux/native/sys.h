/* System calls and the few bytes of libc that the helper needs. No heap, no libc: the helper is freestanding. */
#ifndef GANTRY_SYS_H
#define GANTRY_SYS_H
#include <stddef.h>
#include <stdint.h>
#include <asm/unistd.h>
#include <linux/errno.h>
#include <linux/fcntl.h>
#include <linux/stat.h>
#include <linux/time_types.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int64_t i64;

#if defined(__x86_64__)
static inline i64 sys6(i64 nr, u64 a, u64 b, u64 c, u64 d, u64 e, u64 f) {
  i64 ret;
  register u64 r10 __asm__("r10") = d;
  register u64 r8 __asm__("r8") = e;
  register u64 r9 __asm__("r9") = f;
  __asm__ volatile("syscall" : "=a"(ret) : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9) : "rcx", "r11", "memory");
  return ret;
}
#elif defined(__aarch64__)
static inline i64 sys6(i64 nr, u64 a, u64 b, u64 c, u64 d, u64 e, u64 f) {
  register u64 x8 __asm__("x8") = (u64)nr;
  register u64 x0 __asm__("x0") = a;
  register u64 x1 __asm__("x1") = b;
  register u64 x2 __asm__("x2") = c;
  register u64 x3 __asm__("x3") = d;
  register u64 x4 __asm__("x4") = e;
  register u64 x5 __asm__("x5") = f;
  __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
  return (i64)x0;
}
#else
#error "gantry's helper knows x86-64 and arm64"
#endif

#define U(x) ((u64)(x))
#define sys1(n, a) sys6(n, U(a), 0, 0, 0, 0, 0)
#define sys2(n, a, b) sys6(n, U(a), U(b), 0, 0, 0, 0)
#define sys3(n, a, b, c) sys6(n, U(a), U(b), U(c), 0, 0, 0)
#define sys4(n, a, b, c, d) sys6(n, U(a), U(b), U(c), U(d), 0, 0)
#define sys5(n, a, b, c, d, e) sys6(n, U(a), U(b), U(c), U(d), U(e), 0)

#define SIGHUP 1
#define SIGINT 2
#define SIGKILL 9
#define SIGPIPE 13
#define SIGTERM 15
#define SIGCHLD 17
#define SIG_BLOCK 0
#define SIG_SETMASK 2
#define WNOHANG 1
#define POLLIN 1
#define POLLOUT 4
#define POLLERR 8
#define POLLHUP 16
#define POLLRDHUP 0x2000
#define PROT_RW 3
#define MAP_SHARED_ANON 0x21
#define MSG_DONTWAIT 0x40
#define MSG_NOSIGNAL 0x4000
#define AF_UNIX 1
#define SOCK_STREAM 1

struct pollfd { int fd; short events; short revents; };
struct iovec { void *base; u64 len; };

void *memcpy(void *to, const void *from, size_t n);
void *memset(void *to, int c, size_t n);
int memcmp(const void *a, const void *b, size_t n);
void *memmove(void *to, const void *from, size_t n);
size_t str_len(const char *s);
int str_equal(const char *a, const char *b);

/* Appends to a bounded buffer; returns the new length, never past `cap`. */
u32 put_str(char *buf, u32 at, u32 cap, const char *s);
u32 put_u64(char *buf, u32 at, u32 cap, u64 value, int width);

u64 now_mono(void);
u64 now_real(void);
/* Whole-buffer transfers over blocking descriptors: 0, or -errno. EPIPE for an early end of file. */
i64 read_full(int fd, void *buf, u64 n);
i64 write_full(int fd, const void *buf, u64 n);
i64 sys_close(int fd);
i64 sys_openat(int dir, const char *path, u32 flags, u32 mode);
_Noreturn void sys_exit(int code);
#endif
