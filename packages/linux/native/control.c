/* What the daemon may ask of a shim: run an exec program, signal, resize, attach, subscribe. */
#include <linux/un.h>
#include "shim.h"

#define TIOCSWINSZ 0x5414

static void control_close(struct control *c) {
  if (c->fd >= 0) sys_close(c->fd);
  if (c->program) program_free(c->program);
  memset(c, 0, sizeof *c);
  c->fd = -1;
}

void control_accept(int listener) {
  i64 fd = sys4(__NR_accept4, listener, 0, 0, O_CLOEXEC);
  if (fd < 0) return;
  for (int n = 0; n < MAX_CONTROLS; n++) {
    if (controls[n].fd >= 0) continue;
    memset(&controls[n], 0, sizeof controls[n]);
    controls[n].fd = (int)fd;
    return;
  }
  sys_close((int)fd);
}

static struct process *find(u64 id) {
  for (int n = 0; n < MAX_PROCESSES; n++)
    if (processes[n].used && !processes[n].reported && processes[n].id == id) return &processes[n];
  return 0;
}

static i64 signal_process(const u64 *args) {
  struct process *p = find(args[0]);
  if (!p || p->ended) return -ESRCH;
  return sys2(__NR_kill, p->pid, args[1]);
}

static i64 resize(const u64 *args) {
  struct process *p = find(args[0]);
  if (!p || !p->tty || p->in < 0) return -ESRCH;
  u16 size[4] = {(u16)args[1], (u16)args[2], 0, 0};
  return sys3(__NR_ioctl, p->in, TIOCSWINSZ, size);
}

/* {process, flags, token[32], path}: dials the daemon and shows the token. */
static i64 attach(const u8 *body, u32 length) {
  u64 args[2];
  struct sockaddr_un to = {AF_UNIX, ""};
  if (length < 49 || length - 48 > sizeof to.sun_path) return -EINVAL;
  memcpy(args, body, 16);
  struct process *p = find(args[0]);
  if (!p) return -ESRCH;
  memcpy(to.sun_path, body + 48, length - 48);
  i64 fd = sys3(__NR_socket, AF_UNIX, SOCK_STREAM | O_CLOEXEC, 0);
  if (fd < 0) return fd;
  i64 got = sys3(__NR_connect, fd, &to, sizeof to);
  if (got >= 0) got = write_full((int)fd, body + 16, 32);
  if (got < 0) {
    sys_close((int)fd);
    return got;
  }
  return connection_add((int)fd, (int)(p - processes), (u32)args[1]) < 0 ? -EAGAIN : 0;
}

static i64 state(struct control *c) {
  struct process *p = &processes[0];
  u64 body[4] = {(u64)p->pid, (u64)p->reported, (u64)(u32)p->status, shim_program_id()};
  c->subscribed = 1;
  return send_frame(c->fd, REPLY_STATE, c->frame.id, body, sizeof body);
}

static void answer(struct control *c, i64 result) {
  u64 body = (u64)(result < 0 ? -result : 0);
  if (send_frame(c->fd, REPLY_ACK, c->frame.id, &body, 8) < 0) control_close(c);
}

static void carry_out(struct control *c) {
  const u64 *args = (u64 *)c->small;
  switch (c->frame.kind) {
    case REQUEST_EXEC: {
      struct program *p = c->program;
      c->program = 0;
      /* What an earlier program left in a register must not be closed when this one fails. */
      for (int n = 1; n < REGISTERS - KEPT_REGISTERS; n++) regs[n] = -1;
      i64 got = program_check(p);
      if (got >= 0) got = program_run(p, 0);
      p->id = c->frame.id;
      send_result(c->fd, p, got);
      program_free(p);
      break;
    }
    case REQUEST_SIGNAL: answer(c, c->frame.length < 16 ? -EINVAL : signal_process(args)); break;
    case REQUEST_RESIZE: answer(c, c->frame.length < 24 ? -EINVAL : resize(args)); break;
    case REQUEST_ATTACH: answer(c, attach(c->small, c->frame.length)); break;
    case REQUEST_SUBSCRIBE: if (state(c) < 0) control_close(c); break;
    default: answer(c, -ENOSYS); break;
  }
  if (c->fd >= 0) c->have = 0;
}

/* Takes what is there; a request that is whole is carried out. */
void control_read(struct control *c) {
  u8 *into;
  u64 room;
  if (c->have < sizeof c->frame) into = (u8 *)&c->frame + c->have, room = sizeof c->frame - c->have;
  else {
    u32 at = c->have - (u32)sizeof c->frame;
    if (c->frame.kind == REQUEST_EXEC && at >= HEADER_BYTES) into = (u8 *)c->program + at;
    else into = c->small + at;
    room = (c->frame.kind == REQUEST_EXEC && at < HEADER_BYTES ? HEADER_BYTES : c->frame.length) - at;
  }
  i64 got = sys3(__NR_read, c->fd, into, room);
  if (got == -EINTR || got == -EAGAIN) return;
  if (got <= 0) {
    control_close(c);
    return;
  }
  c->have += (u32)got;
  if (c->have < sizeof c->frame) return;
  u32 at = c->have - (u32)sizeof c->frame;
  int exec = c->frame.kind == REQUEST_EXEC;
  if ((!exec && c->frame.length > sizeof c->small) || (exec && c->frame.length < HEADER_BYTES)) {
    control_close(c);
    return;
  }
  if (exec && at == HEADER_BYTES && !c->program) {
    struct program *p;
    if (program_map((struct program *)c->small, c->frame.length, &p) < 0) {
      control_close(c);
      return;
    }
    c->program = p;
  }
  if (at == c->frame.length) carry_out(c);
}
