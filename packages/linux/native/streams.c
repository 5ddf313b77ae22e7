/* Output to the log and to whoever is attached; input into the process. A slow reader holds the container back. */
#include "shim.h"

int connection_add(int fd, int process, u32 flags) {
  if (fd < 0) return -1;
  for (int n = 0; n < MAX_CONNECTIONS; n++) {
    struct connection *c = &connections[n];
    if (c->fd >= 0) continue;
    i64 status = sys3(__NR_fcntl, fd, F_GETFL, 0);
    if (status >= 0) sys3(__NR_fcntl, fd, F_SETFL, status | O_NONBLOCK);
    c->fd = fd;
    c->process = process;
    c->flags = flags;
    c->current = -1;
    c->sent = c->held = c->held_at = 0;
    c->stalled = c->at_end = 0;
    c->stalled_since = 0;
    /* A chunk that is already on its way to others began before this reader came. */
    c->done = 0;
    for (int s = 0; s < 2; s++)
      if (processes[process].out[s].busy) c->done |= (u8)(1 << s);
    return n;
  }
  sys_close(fd);
  return -1;
}

void connection_close(struct connection *c) {
  if (c->fd >= 0) sys_close(c->fd);
  c->fd = -1;
  c->held = 0;
}

static int wants(const struct connection *c, int stream) { return (c->flags & (stream ? ATTACH_STDERR : ATTACH_STDOUT)) != 0; }

/* Sends what it can of the current chunks. Frames are never mixed. */
void connection_write(struct connection *c) {
  struct process *p = &processes[c->process];
  c->stalled = 0;
  for (;;) {
    if (c->current < 0) {
      for (int s = 0; s < 2 && c->current < 0; s++)
        if (p->out[s].busy && wants(c, s) && !(c->done & (1 << s))) c->current = s, c->sent = p->tty ? 8 : 0;
      if (c->current < 0) break;
    }
    struct output *o = &p->out[c->current];
    u32 total = 8 + o->length;
    i64 put = sys6(__NR_sendto, c->fd, U(o->head + c->sent), total - c->sent, MSG_NOSIGNAL | MSG_DONTWAIT, 0, 0);
    if (put == -EINTR) continue;
    if (put == -EAGAIN) {
      c->stalled = 1;
      if (!c->stalled_since) c->stalled_since = now_mono();
      return;
    }
    if (put < 0) {
      connection_close(c);
      break;
    }
    c->sent += (u32)put;
    c->stalled_since = 0;
    if (c->sent < total) continue;
    c->done |= (u8)(1 << c->current);
    c->current = -1;
  }
  output_settle(c->process);
}

#define PATIENCE_NS 5000000000ull

/* One reader alone may hold its container back for as long as it likes; with others beside it, it has to take something now and then. */
int connections_judge(void) {
  int watched = 0;
  for (int n = 0; n < MAX_CONNECTIONS; n++) {
    struct connection *c = &connections[n];
    if (c->fd < 0 || !c->stalled_since) continue;
    int others = 0;
    for (int m = 0; m < MAX_CONNECTIONS; m++) others |= m != n && connections[m].fd >= 0 && connections[m].process == c->process && !connections[m].stalled_since && (connections[m].flags & (ATTACH_STDOUT | ATTACH_STDERR));
    if (!others) continue;
    watched = 1;
    if (now_mono() - c->stalled_since < PATIENCE_NS) continue;
    int process = c->process;
    connection_close(c);
    output_settle(process);
  }
  return watched;
}

/* A chunk that every reader has had makes room for the next. */
void output_settle(int process) {
  struct process *p = &processes[process];
  for (int s = 0; s < 2; s++) {
    if (!p->out[s].busy) continue;
    int waiting = 0;
    for (int n = 0; n < MAX_CONNECTIONS; n++)
      if (connections[n].fd >= 0 && connections[n].process == process && wants(&connections[n], s) && !(connections[n].done & (1 << s))) waiting = 1;
    if (waiting) continue;
    p->out[s].busy = 0;
    for (int n = 0; n < MAX_CONNECTIONS; n++)
      if (connections[n].process == process) connections[n].done &= (u8)~(1 << s);
  }
}

int process_wants_output(struct process *p, int stream) {
  struct output *o = &p->out[stream];
  return o->fd >= 0 && !o->busy && o->logged == o->length && !(log_holds_back() && p == processes);
}

/* Tries the log again, then hands it what it had no room for. */
void output_retry(void) {
  log_retry();
  for (int s = 0; s < 2 && !log_stuck; s++) {
    struct output *o = &processes[0].out[s];
    if (o->logged < o->length) o->logged += log_add(s, o->bytes + o->logged, o->length - o->logged);
  }
}

void output_read(struct process *p, int stream) {
  struct output *o = &p->out[stream];
  if (o->fd < 0 || o->busy || o->logged < o->length) return;
  i64 got = sys3(__NR_read, o->fd, o->bytes, CHUNK);
  if (got == -EAGAIN || got == -EINTR) return;
  int index = (int)(p - processes);
  if (got <= 0) {
    /* The terminal's master answers EIO once nobody holds the other side. */
    if (index == 0) log_end(stream);
    if (!p->tty || got != -EIO || p->ended) {
      if (!p->tty) sys_close(o->fd);
      o->fd = -1;
    } else {
      o->fd = -1;
    }
    return;
  }
  o->length = (u32)got;
  memset(o->head, 0, 8);
  o->head[0] = (u8)(stream + 1);
  for (int n = 0; n < 4; n++) o->head[4 + n] = (u8)(o->length >> (24 - 8 * n));
  o->logged = index == 0 ? log_add(stream, o->bytes, o->length) : o->length;
  o->busy = 1;
  for (int n = 0; n < MAX_CONNECTIONS; n++)
    if (connections[n].fd >= 0 && connections[n].process == index) connections[n].done &= (u8)~(1 << stream);
  for (int n = 0; n < MAX_CONNECTIONS; n++)
    if (connections[n].fd >= 0 && connections[n].process == index && wants(&connections[n], stream)) connection_write(&connections[n]);
  output_settle(index);
}

static void close_stdin(struct process *p) {
  if (p->in >= 0 && !p->tty) {
    sys_close(p->in);
    p->in = -1;
  }
}

void process_stdin_flush(struct process *p) {
  int index = (int)(p - processes);
  for (int n = 0; n < MAX_CONNECTIONS; n++) {
    struct connection *c = &connections[n];
    if (c->fd < 0 || c->process != index || !c->held) continue;
    if (p->in < 0) {
      c->held = 0;
      continue;
    }
    i64 put = sys3(__NR_write, p->in, c->hold + c->held_at, c->held);
    if (put == -EAGAIN || put == -EINTR) return;
    if (put < 0) {
      c->held = 0;
      close_stdin(p);
      return;
    }
    c->held -= (u32)put;
    c->held_at += (u32)put;
    if (!c->held && c->at_end && (c->flags & ATTACH_CLOSES_STDIN)) close_stdin(p);
  }
}

void connection_read(struct connection *c) {
  struct process *p = &processes[c->process];
  i64 got = sys3(__NR_read, c->fd, c->hold, sizeof c->hold);
  if (got == -EAGAIN || got == -EINTR) return;
  if (got < 0) {
    if (c->flags & ATTACH_CLOSES_STDIN) close_stdin(p);
    connection_close(c);
    return;
  }
  if (got == 0) {
    c->at_end = 1;
    if (!c->held && (c->flags & ATTACH_STDIN) && (c->flags & ATTACH_CLOSES_STDIN)) close_stdin(p);
    if (!(c->flags & (ATTACH_STDOUT | ATTACH_STDERR))) connection_close(c);
    return;
  }
  if (!(c->flags & ATTACH_STDIN) || p->in < 0) return;
  c->held = (u32)got;
  c->held_at = 0;
  process_stdin_flush(p);
}
