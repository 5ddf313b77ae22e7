/* The freestanding base: memory, text, clocks, whole reads and writes. */
#include "sys.h"

void *memcpy(void *to, const void *from, size_t n) {
  u8 *t = to;
  const u8 *f = from;
#if defined(__x86_64__)
  __asm__ volatile("rep movsb" : "+D"(t), "+S"(f), "+c"(n) : : "memory");
#else
  while (n--) *t++ = *f++;
#endif
  return to;
}

void *memmove(void *to, const void *from, size_t n) {
  u8 *t = to;
  const u8 *f = from;
  if (t <= f || t >= f + n) return memcpy(to, from, n);
  while (n--) t[n] = f[n];
  return to;
}

void *memset(void *to, int c, size_t n) {
  u8 *t = to;
#if defined(__x86_64__)
  __asm__ volatile("rep stosb" : "+D"(t), "+c"(n) : "a"(c) : "memory");
#else
  while (n--) *t++ = (u8)c;
#endif
  return to;
}

int memcmp(const void *a, const void *b, size_t n) {
  const u8 *x = a, *y = b;
  for (size_t i = 0; i < n; i++)
    if (x[i] != y[i]) return x[i] - y[i];
  return 0;
}

size_t str_len(const char *s) {
  size_t n = 0;
  while (s[n]) n++;
  return n;
}

int str_equal(const char *a, const char *b) {
  while (*a && *a == *b) a++, b++;
  return *a == *b;
}

u32 put_str(char *buf, u32 at, u32 cap, const char *s) {
  while (*s && at < cap) buf[at++] = *s++;
  return at;
}

u32 put_u64(char *buf, u32 at, u32 cap, u64 value, int width) {
  char digits[20];
  int n = 0;
  do digits[n++] = (char)('0' + value % 10), value /= 10;
  while (value);
  while (n < width && n < 20) digits[n++] = '0';
  while (n && at < cap) buf[at++] = digits[--n];
  return at;
}

static u64 now(int clock) {
  struct __kernel_timespec t = {0, 0};
  sys2(__NR_clock_gettime, clock, &t);
  return (u64)t.tv_sec * 1000000000ull + (u64)t.tv_nsec;
}

u64 now_mono(void) { return now(1); }
u64 now_real(void) { return now(0); }

i64 read_full(int fd, void *buf, u64 n) {
  u8 *at = buf;
  while (n) {
    i64 got = sys3(__NR_read, fd, at, n);
    if (got == -EINTR) continue;
    if (got < 0) return got;
    if (got == 0) return -EPIPE;
    at += got;
    n -= (u64)got;
  }
  return 0;
}

i64 write_full(int fd, const void *buf, u64 n) {
  const u8 *at = buf;
  while (n) {
    i64 put = sys3(__NR_write, fd, at, n);
    if (put == -EINTR) continue;
    if (put == -EAGAIN) {
      struct pollfd p = {fd, POLLOUT, 0};
      sys5(__NR_ppoll, &p, 1, 0, 0, 0);
      continue;
    }
    if (put < 0) return put;
    at += put;
    n -= (u64)put;
  }
  return 0;
}

i64 sys_close(int fd) { return sys1(__NR_close, fd); }

i64 sys_openat(int dir, const char *path, u32 flags, u32 mode) { return sys4(__NR_openat, dir, path, flags, mode); }

_Noreturn void sys_exit(int code) {
  for (;;) sys1(__NR_exit_group, code);
}
