/* What the shim's files share. One shim per container: it keeps stdio open, writes the log, keeps the exit status. */
#ifndef GANTRY_SHIM_H
#define GANTRY_SHIM_H
#include "helper.h"

#define CHUNK 16384
#define ATTACH_STDIN 1u
#define ATTACH_STDOUT 2u
#define ATTACH_STDERR 4u
#define ATTACH_CLOSES_STDIN 8u

/* What a program tells the shim about a process; all registers or numbers. Mirrors shim-table.ts. */
struct process_table {
  u64 id, pid, in, out, err, tty;
  u64 stdin_once, connections, connection[8], flags[8];
};

struct shim_table {
  struct process_table init;
  u64 listener, log_path, exit_path, on_exit, clean_up, oom_text, oom_capacity, log_max_bytes, log_max_files, lacking, log_format, log_attributes;
};

struct output {
  int fd;          /* -1 once it has ended */
  u32 length;      /* bytes of the chunk, header excluded */
  u32 logged;      /* of which so many have gone to the log */
  u8 busy;         /* the chunk is still on its way to a reader */
  u8 head[8];
  u8 bytes[CHUNK];
};

struct process {
  int used, pid, in, tty, stdin_once, ended, reported;
  int status;
  u64 id, ended_at, ended_mono;
  struct output out[2];
};

struct connection {
  int fd;
  int process;
  u32 flags;
  u8 done;          /* bit per stream: this chunk has been sent */
  int current;      /* the stream whose frame is half sent, or -1 */
  u32 sent;
  u8 stalled, at_end;
  u64 stalled_since;
  u32 held, held_at; /* bytes on their way into the process */
  u8 hold[4096];
};

struct control {
  int fd, subscribed;
  struct frame frame;
  u32 have;
  struct program *program;
  u8 small[512];
};

extern struct process processes[MAX_PROCESSES];
extern struct connection connections[MAX_CONNECTIONS];
extern struct control controls[MAX_CONTROLS];

void log_open(const char *path, u64 max_bytes, u64 max_files, u64 format, const char *attributes);
/* Adds output of stream 0 (stdout) or 1 (stderr) to the log and gives how much of it was taken; `end` writes what lacks its line feed. */
u32 log_add(int stream, const u8 *bytes, u32 length);
void log_end(int stream);
/* The log cannot be written (a full disk): the container waits until a further try succeeds. */
extern int log_stuck;
/* Nothing more is taken from the container until the log takes it. */
int log_holds_back(void);
void log_retry(void);
void output_retry(void);

int connection_add(int fd, int process, u32 flags);
void connection_close(struct connection *c);
void connection_write(struct connection *c);
void connection_read(struct connection *c);
void process_stdin_flush(struct process *p);
int process_wants_output(struct process *p, int stream);
void output_read(struct process *p, int stream);
void output_settle(int process);
/* Lets go of readers that take nothing while others of the same process wait for them. True while one is being watched. */
int connections_judge(void);

void control_accept(int listener);
void control_read(struct control *c);
u64 shim_program_id(void);
void shim_tell(u32 kind, u64 id, const void *body, u32 length);
#endif
