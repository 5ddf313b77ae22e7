/* What the helper's files share. The helper carries out programs; it decides nothing. */
#ifndef GANTRY_HELPER_H
#define GANTRY_HELPER_H
#include "ops.h"
#include "sys.h"

struct instruction {
  u8 op, dst, flags, pad;
  u16 nr, ok;
  u8 kind[8];
  u64 arg[6];
};
_Static_assert(sizeof(struct instruction) == INSTRUCTION_BYTES, "instruction layout");

/* Lies in memory that parent and child share, so that the child's failures and time stamps reach the parent. */
struct program {
  u32 magic, version, count, blob_length;
  u64 id;
  volatile u32 failed_at, failed_errno;
  u32 stamps_at, mapped;
  u32 on_fail, pad0;
  u64 began;
  u64 pad;
};
_Static_assert(sizeof(struct program) == HEADER_BYTES, "program header layout");

struct frame { u32 length, kind; u64 id; };

extern i64 regs[REGISTERS];
extern i64 kept[KEPT_SLOTS];
extern u8 out_bytes[OUTPUT_BYTES];
extern u32 out_length;
extern int handles; /* where descriptors for the daemon go, or -1 */
extern int channel; /* the daemon's end of the launcher, or -1 */

static inline struct instruction *program_code(struct program *p) { return (struct instruction *)(p + 1); }
static inline u8 *program_blob(struct program *p) { return (u8 *)(program_code(p) + p->count); }
static inline u64 *program_stamps(struct program *p) { return (u64 *)((u8 *)p + p->stamps_at); }

/* Maps room for a program of `length` bytes whose first HEADER_BYTES are `head`: 0 or -errno. */
i64 program_map(const struct program *head, u32 length, struct program **out);
/* Checks that every label, register and blob offset lies inside: 0 or -EINVAL. */
i64 program_check(struct program *p);
/* Runs from instruction `at`: 0 or -errno, with failed_at and failed_errno set. */
i64 program_run(struct program *p, u32 at);
void program_free(struct program *p);

i64 send_frame(int fd, u32 kind, u64 id, const void *body, u32 length);
/* Answers DONE or FAILED with the output and the stamps. */
void send_result(int fd, struct program *p, i64 result);

i64 op_fs_mount(const char *type, const char *options, u32 count, u64 attributes);
i64 op_open_in(int root, const char *path, u32 want, u32 mode);
i64 op_bind_fd(int dir, const char *path, u32 flags, const void *attributes, u64 size);
i64 op_mask(const char *path, int null_fd);
i64 op_read_only(const char *path);
i64 op_pivot(int root);
i64 op_netlink(int fd, const void *message, u32 length, u32 acks);
i64 op_send_fd(int socket, int fd, const void *text, u64 length);
i64 op_receive_fd(int socket);
i64 op_netlink_dump(int fd, const void *message, u32 length);
i64 op_exec(const char *paths, u32 path_count, u64 *argv, u32 argc, u64 *envp, u32 envc);
i64 op_init(void);
i64 op_tree_read(int dir, const char *path, int out, u32 flags);
i64 op_tree_write(int in, u32 flags);
i64 op_remove_tree(int dir, const char *path);

/* Never returns. */
i64 shim_enter(struct program *p, const u64 *table);
i64 shim_add_process(struct program *p, const u64 *table);
#endif
