/*
 * The container's log. Format 0: one JSON object a line, {"log","stream","time"}, as Docker's json-file driver writes it.
 * Format 1, the journal: {u32 magic, u32 length, u64 nanoseconds, u8 stream, u8[7]} message {u32 length}, so that it can be read
 * from either end, and past a record that a crash has cut off. What cannot be written is kept, and nothing more is taken.
 */
#include "shim.h"

#define LINE 16384
static char log_path[1024];
static int log_fd = -1;
static u64 log_bytes, log_limit, log_files;
static u8 line[2][LINE];
static u32 line_length[2];
/* Bits of the format: the journal instead of JSON; lines may be lost. */
#define LOG_JOURNAL 1
#define LOG_LOSSY 2
#define JOURNAL_MAGIC 0x314a5247u /* GRJ1 */
/* One entry at its longest: six bytes of JSON for each of the line's, and what stands around them. */
#define ATTRIBUTES 4096
#define ENTRY (LINE * 6 + 256 + ATTRIBUTES)
#define FLUSH_AT 32768
static char text[FLUSH_AT + ENTRY];
static u32 text_length, text_written;
static u64 log_format;
/* What a full disk does not take is thrown away instead of held back. */
static int log_lossy;
/* A JSON object that stands in every line, or nothing. */
static char log_attributes[ATTRIBUTES];
int log_stuck;

int log_holds_back(void) { return log_stuck && !log_lossy; }

void log_open(const char *path, u64 max_bytes, u64 max_files, u64 format, const char *attributes) {
  log_format = format & LOG_JOURNAL;
  log_lossy = (format & LOG_LOSSY) != 0;
  put_str(log_attributes, 0, sizeof log_attributes - 1, attributes);
  put_str(log_path, 0, sizeof log_path - 16, path);
  log_limit = max_bytes;
  log_files = max_files;
}

static void rotated_name(char *into, u64 n) {
  u32 at = put_str(into, 0, 1030, log_path);
  if (n) {
    at = put_str(into, at, 1030, ".");
    at = put_u64(into, at, 1030, n, 0);
  }
  into[at] = 0;
}

static void rotate(void) {
  char from[1048], to[1048];
  sys_close(log_fd);
  log_fd = -1;
  for (u64 n = log_files; n > 1; n--) {
    rotated_name(from, n - 2);
    rotated_name(to, n - 1);
    sys4(__NR_renameat, -100, from, -100, to);
  }
  if (log_files <= 1) sys3(__NR_unlinkat, -100, log_path, 0);
}

/* Writes what there is; what the disk does not take now stays, and the next try goes on behind it. */
static void flush_text(void) {
  if (!text_length) return;
  if (log_fd < 0) {
    log_fd = (int)sys_openat(-100, log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
    i64 size = log_fd < 0 ? 0 : sys3(__NR_lseek, log_fd, 0, 2);
    log_bytes = size > 0 ? (u64)size : 0;
  }
  log_stuck = log_fd < 0;
  while (!log_stuck && text_written < text_length) {
    i64 put = sys3(__NR_write, log_fd, text + text_written, text_length - text_written);
    if (put == -EINTR) continue;
    if (put <= 0) log_stuck = 1;
    else text_written += (u32)put, log_bytes += (u64)put;
  }
  if (log_stuck) return;
  text_length = text_written = 0;
  if (log_limit && log_bytes >= log_limit) rotate();
}

/* RFC 3339 in UTC with nanoseconds. Days to civil date by the usual 400-year cycles. */
static u32 put_time(char *buf, u32 at, u32 cap, u64 ns) {
  u64 seconds = ns / 1000000000ull, days = seconds / 86400, rest = seconds % 86400;
  u64 z = days + 719468, era = z / 146097, doe = z - era * 146097;
  u64 yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
  u64 doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153;
  u64 day = doy - (153 * mp + 2) / 5 + 1, month = mp < 10 ? mp + 3 : mp - 9, year = yoe + era * 400 + (month <= 2);
  at = put_u64(buf, at, cap, year, 4);
  at = put_str(buf, at, cap, "-");
  at = put_u64(buf, at, cap, month, 2);
  at = put_str(buf, at, cap, "-");
  at = put_u64(buf, at, cap, day, 2);
  at = put_str(buf, at, cap, "T");
  at = put_u64(buf, at, cap, rest / 3600, 2);
  at = put_str(buf, at, cap, ":");
  at = put_u64(buf, at, cap, rest / 60 % 60, 2);
  at = put_str(buf, at, cap, ":");
  at = put_u64(buf, at, cap, rest % 60, 2);
  at = put_str(buf, at, cap, ".");
  at = put_u64(buf, at, cap, ns % 1000000000ull, 9);
  return put_str(buf, at, cap, "Z");
}

/* Bytes of a well-formed UTF-8 sequence at `s`, or 0. */
static u32 utf8_length(const u8 *s, u32 left) {
  u32 n = s[0] < 0x80 ? 1 : s[0] >= 0xc2 && s[0] < 0xe0 ? 2 : s[0] >= 0xe0 && s[0] < 0xf0 ? 3 : s[0] >= 0xf0 && s[0] < 0xf5 ? 4 : 0;
  if (!n || n > left) return 0;
  for (u32 i = 1; i < n; i++)
    if ((s[i] & 0xc0) != 0x80) return 0;
  if (n == 3 && ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f))) return 0;
  if (n == 4 && ((s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))) return 0;
  return n;
}

static void put_escaped(const u8 *s, u32 length) {
  static const char hex[] = "0123456789abcdef";
  for (u32 i = 0; i < length;) {
    u8 c = s[i];
    if (c >= 0x20 && c < 0x7f && c != '"' && c != '\\') {
      text[text_length++] = (char)c, i++;
      continue;
    }
    if (c < 0x20 || c == '"' || c == '\\' || c == 0x7f) {
      text[text_length++] = '\\';
      if (c == '"' || c == '\\') text[text_length++] = (char)c;
      else if (c == '\n') text[text_length++] = 'n';
      else if (c == '\r') text[text_length++] = 'r';
      else if (c == '\t') text[text_length++] = 't';
      else {
        text_length = put_str(text, text_length, sizeof text, "u00");
        text[text_length++] = hex[c >> 4];
        text[text_length++] = hex[c & 15];
      }
      i++;
      continue;
    }
    u32 n = utf8_length(s + i, length - i);
    if (n) {
      memcpy(text + text_length, s + i, n);
      text_length += n, i += n;
    } else {
      text_length = put_str(text, text_length, sizeof text, "\\ufffd");
      i++;
    }
  }
}

static void put_json(int stream, u64 when) {
  text_length = put_str(text, text_length, sizeof text, "{\"log\":\"");
  put_escaped(line[stream], line_length[stream]);
  text_length = put_str(text, text_length, sizeof text, stream ? "\",\"stream\":\"stderr\"" : "\",\"stream\":\"stdout\"");
  if (log_attributes[0]) {
    text_length = put_str(text, text_length, sizeof text, ",\"attrs\":");
    text_length = put_str(text, text_length, sizeof text, log_attributes);
  }
  text_length = put_str(text, text_length, sizeof text, ",\"time\":\"");
  text_length = put_time(text, text_length, sizeof text, when);
  text_length = put_str(text, text_length, sizeof text, "\"}\n");
}

static void put_record(int stream, u64 when) {
  struct { u32 magic, length; u64 time; u8 stream, pad[7]; } head = {JOURNAL_MAGIC, line_length[stream], when, (u8)(stream + 1), {0}};
  memcpy(text + text_length, &head, sizeof head);
  memcpy(text + text_length + sizeof head, line[stream], head.length);
  memcpy(text + text_length + sizeof head + head.length, &head.length, 4);
  text_length += (u32)sizeof head + head.length + 4;
}

/* One entry is one write, or part of one. False: there is no room for it now. */
static int put_line(int stream, u64 when) {
  if (text_length > FLUSH_AT) flush_text();
  if (text_length > FLUSH_AT) return 0;
  if (log_format) put_record(stream, when);
  else put_json(stream, when);
  line_length[stream] = 0;
  return 1;
}

u32 log_add(int stream, const u8 *bytes, u32 length) {
  if (!log_path[0]) return length;
  u64 when = now_real();
  for (u32 i = 0; i < length; i++) {
    line[stream][line_length[stream]++] = bytes[i];
    if ((bytes[i] == '\n' || line_length[stream] == LINE) && !put_line(stream, when)) {
      if (log_lossy) {
        line_length[stream] = 0;
        continue;
      }
      line_length[stream]--;
      return i;
    }
  }
  flush_text();
  return length;
}

void log_retry(void) { flush_text(); }

void log_end(int stream) {
  if (!log_path[0]) return;
  if (line_length[stream]) put_line(stream, now_real());
  flush_text();
}
