/* Makes a filter with libseccomp from lines on standard input and writes it to standard output; names that it does not know go to standard error. */
#include <seccomp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static uint32_t action_of(const char *name, unsigned value) {
  if (!strcmp(name, "ALLOW")) return SCMP_ACT_ALLOW;
  if (!strcmp(name, "ERRNO")) return SCMP_ACT_ERRNO(value);
  if (!strcmp(name, "KILL_PROCESS")) return SCMP_ACT_KILL_PROCESS;
  if (!strcmp(name, "TRAP")) return SCMP_ACT_TRAP;
  if (!strcmp(name, "LOG")) return SCMP_ACT_LOG;
  return SCMP_ACT_TRACE(value);
}

int main(void) {
  scmp_filter_ctx filter = NULL;
  char kind[16], name[64], action[32];
  unsigned value, count;
  while (scanf("%15s", kind) == 1) {
    if (!strcmp(kind, "default")) {
      if (scanf("%31s %u", action, &value) != 2 || !(filter = seccomp_init(action_of(action, value)))) return 2;
    } else if (!strcmp(kind, "arch")) {
      if (scanf("%63s", name) != 1) return 3;
      uint32_t arch = seccomp_arch_resolve_name(name);
      int got = arch == seccomp_arch_native() ? 0 : seccomp_arch_add(filter, arch);
      if (got < 0 && got != -17) return 4;
    } else {
      struct scmp_arg_cmp args[6];
      if (scanf("%31s %u %63s %u", action, &value, name, &count) != 4 || count > 6) return 5;
      for (unsigned n = 0; n < count; n++) {
        unsigned index, op;
        unsigned long long a, b;
        if (scanf("%u %u %llu %llu", &index, &op, &a, &b) != 4) return 6;
        args[n] = SCMP_CMP64(index, (enum scmp_compare)op, a, b);
      }
      int nr = seccomp_syscall_resolve_name(name);
      if (nr == __NR_SCMP_ERROR) {
        fprintf(stderr, "%s\n", name);
        continue;
      }
      /* A rule that is the default, or that is there already, is none. */
      int got = seccomp_rule_add_array(filter, action_of(action, value), nr, count, args);
      if (got < 0 && got != -17 && got != -13) return 7;
    }
  }
  return seccomp_export_bpf(filter, 1) < 0 ? 8 : 0;
}
