/* The shim's loop: reaps, pumps, logs, answers the daemon when there is one, and goes on when there is none. */
#include "shim.h"

struct process processes[MAX_PROCESSES];
struct connection connections[MAX_CONNECTIONS];
struct control controls[MAX_CONTROLS];
static struct pollfd polls[3 + MAX_CONTROLS + MAX_CONNECTIONS * 2 + MAX_PROCESSES * 3];
static struct { u8 type; int index, stream; } owners[sizeof polls / sizeof polls[0]];
enum { OWN_SIGNAL, OWN_LISTENER, OWN_LACKING, OWN_CONTROL, OWN_CONNECTION, OWN_OUTPUT, OWN_STDIN };
#define DRAIN_NS 2000000000ull

static struct program *own_program;
static struct shim_table own;

void shim_tell(u32 kind, u64 id, const void *body, u32 length) {
  int told = 0;
  for (int n = 0; n < MAX_CONTROLS; n++) {
    if (controls[n].fd < 0 || !controls[n].subscribed) continue;
    if (send_frame(controls[n].fd, kind, id, body, length) >= 0) told = 1;
  }
  if (!told && channel >= 0 && send_frame(channel, kind, id, body, length) < 0) {
    sys_close(channel);
    channel = -1;
  }
}

u64 shim_program_id(void) { return own_program->id; }

static void set_nonblocking(int fd) {
  i64 flags = sys3(__NR_fcntl, fd, F_GETFL, 0);
  if (flags >= 0) sys3(__NR_fcntl, fd, F_SETFL, flags | O_NONBLOCK);
}

static int process_add(const struct process_table *t) {
  for (int n = 0; n < MAX_PROCESSES; n++) {
    struct process *p = &processes[n];
    if (p->used) continue;
    p->used = 1;
    p->id = t->id;
    p->pid = (int)t->pid;
    p->in = (int)t->in;
    p->tty = (int)t->tty;
    p->stdin_once = (int)t->stdin_once;
    p->ended = p->reported = p->status = 0;
    for (int s = 0; s < 2; s++) {
      p->out[s].fd = (int)(s ? t->err : t->out);
      p->out[s].length = p->out[s].logged = 0;
      p->out[s].busy = 0;
      if (p->out[s].fd >= 0) set_nonblocking(p->out[s].fd);
    }
    if (p->in >= 0) set_nonblocking(p->in);
    for (u64 c = 0; c < t->connections && c < 8; c++) connection_add((int)t->connection[c], n, (u32)t->flags[c]);
    return n;
  }
  return -1;
}

static void load_process_table(struct program *p, struct process_table *t) {
  (void)p;
  u64 *words = (u64 *)t;
  /* A word with bit 63 set names a register. */
  for (u32 n = 0; n < sizeof *t / 8; n++)
    if (words[n] >> 63 && words[n] != ~0ull) words[n] = (u64)regs[words[n] & (REGISTERS - 1)];
}

i64 shim_add_process(struct program *p, const u64 *table) {
  struct process_table t;
  memcpy(&t, table, sizeof t);
  load_process_table(p, &t);
  return process_add(&t) < 0 ? -EAGAIN : 0;
}

static int process_done(struct process *p) {
  if (!p->ended) return 0;
  if (now_mono() - p->ended_mono > DRAIN_NS) return 1;
  for (int s = 0; s < 2; s++)
    if (p->out[s].fd >= 0 || p->out[s].busy) return 0;
  return 1;
}

static int settle_connections(int index);

static void write_exit_file(struct process *p, const char *oom, u32 oom_length) {
  const char *path = (char *)program_blob(own_program) + own.exit_path;
  char text[640], temporary[1100];
  u32 at = put_u64(text, 0, 600, (u64)p->status, 0);
  at = put_str(text, at, 600, " ");
  at = put_u64(text, at, 600, p->ended_at, 0);
  at = put_str(text, at, 600, "\n");
  for (u32 n = 0; n < oom_length && at < 600; n++) text[at++] = oom[n];
  u32 end = put_str(temporary, 0, 1090, path);
  temporary[put_str(temporary, end, 1094, ".new")] = 0;
  i64 fd = sys_openat(-100, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return;
  i64 put = write_full((int)fd, text, at);
  sys_close((int)fd);
  if (put >= 0) sys4(__NR_renameat, -100, temporary, -100, path);
}

static void report_init(struct process *p) {
  const char *oom = (char *)program_blob(own_program) + own.oom_text;
  if (own.on_exit) program_run(own_program, (u32)own.on_exit);
  u32 oom_length = 0;
  while (oom_length < own.oom_capacity && oom[oom_length]) oom_length++;
  write_exit_file(p, oom, oom_length);
  u8 body[16 + 512];
  u64 head[2] = {(u64)(u32)p->status, p->ended_at};
  memcpy(body, head, 16);
  if (oom_length > 512) oom_length = 512;
  memcpy(body + 16, oom, oom_length);
  shim_tell(REPLY_EXITED, own_program->id, body, 16 + oom_length);
  settle_connections(0); /* readers that have everything need not wait for the tidying */
  if (own.clean_up) program_run(own_program, (u32)own.clean_up);
  shim_tell(REPLY_CLEAN, own_program->id, 0, 0);
}

static void report_process(int index) {
  struct process *p = &processes[index];
  p->reported = 1;
  for (int s = 0; s < 2; s++) {
    if (p->out[s].fd >= 0 && !(s && p->tty)) sys_close(p->out[s].fd);
    p->out[s].fd = -1;
    if (index == 0) log_end(s);
  }
  if (p->in >= 0 && !p->tty) sys_close(p->in);
  p->in = -1;
  if (index == 0) {
    report_init(p);
  } else {
    u64 body[2] = {(u64)(u32)p->status, p->ended_at};
    shim_tell(REPLY_EXITED, p->id, body, sizeof body);
  }
}

/* Closes the readers of a process that has been reported once they have everything. True while one is still waiting. */
static int settle_connections(int index) {
  int waiting = 0;
  for (int n = 0; n < MAX_CONNECTIONS; n++) {
    struct connection *c = &connections[n];
    if (c->fd < 0 || c->process != index) continue;
    struct process *p = &processes[index];
    int pending = c->current >= 0;
    for (int s = 0; s < 2; s++)
      if (p->out[s].busy && !(c->done & (1 << s)) && (c->flags & (s ? ATTACH_STDERR : ATTACH_STDOUT))) pending = 1;
    if (pending) waiting = 1;
    else connection_close(c);
  }
  return waiting;
}

static void reap(void) {
  int status;
  i64 pid;
  while ((pid = sys4(__NR_wait4, -1, &status, WNOHANG, 0)) > 0)
    for (int n = 0; n < MAX_PROCESSES; n++) {
      struct process *p = &processes[n];
      if (!p->used || p->ended || p->pid != pid) continue;
      p->ended = 1;
      p->status = status;
      p->ended_at = now_real();
      p->ended_mono = now_mono();
      /* What still sits in the pipes: up to one chunk a time, the loop takes the rest. */
    }
}

/* True when everything is over and the shim may go. */
static int finish(void) {
  int alive = 0;
  for (int n = 0; n < MAX_PROCESSES; n++) {
    struct process *p = &processes[n];
    if (!p->used) continue;
    if (!p->reported && process_done(p)) report_process(n);
    if (!p->reported) {
      alive = 1;
      continue;
    }
    if (settle_connections(n)) alive = 1;
    else if (n) p->used = 0;
  }
  return !alive;
}

static int add_poll(int count, int fd, short events, u8 type, int index, int stream) {
  polls[count].fd = fd;
  polls[count].events = events;
  polls[count].revents = 0;
  owners[count].type = type;
  owners[count].index = index;
  owners[count].stream = stream;
  return count + 1;
}

static int collect(int signals) {
  int count = add_poll(0, signals, POLLIN, OWN_SIGNAL, 0, 0);
  if ((int)own.listener >= 0) count = add_poll(count, (int)own.listener, POLLIN, OWN_LISTENER, 0, 0);
  if ((int)own.lacking >= 0) count = add_poll(count, (int)own.lacking, POLLIN, OWN_LACKING, 0, 0);
  for (int n = 0; n < MAX_CONTROLS; n++)
    if (controls[n].fd >= 0) count = add_poll(count, controls[n].fd, POLLIN, OWN_CONTROL, n, 0);
  for (int n = 0; n < MAX_CONNECTIONS; n++) {
    struct connection *c = &connections[n];
    if (c->fd < 0) continue;
    short events = 0;
    if (!c->at_end && !c->held) events |= POLLIN;
    if (c->stalled) events |= POLLOUT;
    count = add_poll(count, c->fd, events, OWN_CONNECTION, n, 0);
    if (c->held && processes[c->process].in >= 0) count = add_poll(count, processes[c->process].in, POLLOUT, OWN_STDIN, n, 0);
  }
  for (int n = 0; n < MAX_PROCESSES; n++)
    for (int s = 0; s < 2; s++)
      if (processes[n].used && process_wants_output(&processes[n], s))
        count = add_poll(count, processes[n].out[s].fd, POLLIN, OWN_OUTPUT, n, s);
  return count;
}

static void serve(int count, int signals) {
  for (int n = 0; n < count; n++) {
    if (!polls[n].revents) continue;
    int index = owners[n].index;
    switch (owners[n].type) {
      case OWN_SIGNAL: {
        u8 info[128];
        sys3(__NR_read, signals, info, sizeof info);
        reap();
        break;
      }
      case OWN_LACKING: {
        /* What it says is read from the cgroup by whoever hears of it. */
        u8 what[512];
        if (sys3(__NR_read, (int)own.lacking, what, sizeof what) > 0) shim_tell(REPLY_LACKING, own_program->id, 0, 0);
        else sys_close((int)own.lacking), own.lacking = ~0ull;
        break;
      }
      case OWN_LISTENER: control_accept((int)own.listener); break;
      case OWN_CONTROL: control_read(&controls[index]); break;
      case OWN_CONNECTION:
        if (polls[n].revents & POLLOUT) connection_write(&connections[index]);
        if (connections[index].fd >= 0 && polls[n].revents & (POLLIN | POLLHUP | POLLERR)) {
          if (polls[n].revents & POLLHUP && !(polls[n].revents & POLLIN)) connection_close(&connections[index]);
          else connection_read(&connections[index]);
          output_settle(connections[index].process);
        }
        break;
      case OWN_STDIN: process_stdin_flush(&processes[connections[index].process]); break;
      default: output_read(&processes[index], owners[n].stream); break;
    }
  }
}

i64 shim_enter(struct program *p, const u64 *table) {
  memcpy(&own, table, sizeof own);
  own_program = p;
  if (handles >= 0) sys_close(handles), handles = -1;
  load_process_table(p, &own.init);
  if (own.lacking >> 63 && own.lacking != ~0ull) own.lacking = (u64)regs[own.lacking & (REGISTERS - 1)];
  if (own.listener >> 63 && own.listener != ~0ull) own.listener = (u64)regs[own.listener & (REGISTERS - 1)];
  for (int n = 0; n < MAX_CONNECTIONS; n++) connections[n].fd = -1;
  for (int n = 0; n < MAX_CONTROLS; n++) controls[n].fd = -1;
  if (own.log_path) log_open((char *)program_blob(p) + own.log_path, own.log_max_bytes, own.log_max_files, own.log_format, own.log_attributes ? (char *)program_blob(p) + own.log_attributes : "");
  process_add(&own.init);
  u64 child = 1ull << (SIGCHLD - 1), blocked = child | 1ull << (SIGPIPE - 1);
  sys4(__NR_rt_sigprocmask, SIG_BLOCK, &blocked, 0, 8);
  int signals = (int)sys4(__NR_signalfd4, -1, &child, 8, O_CLOEXEC | O_NONBLOCK);
  for (;;) {
    reap();
    if (finish()) break;
    int count = collect(signals);
    struct __kernel_timespec wait = {0, 100000000};
    int ended = log_stuck | connections_judge();
    for (int n = 0; n < MAX_PROCESSES; n++) ended |= processes[n].used && processes[n].ended && !processes[n].reported;
    i64 got = sys5(__NR_ppoll, polls, count, ended ? &wait : 0, 0, 0);
    if (got > 0) serve(count, signals);
    if (log_stuck) output_retry();
  }
  sys_exit(0);
}
