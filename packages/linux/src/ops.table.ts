/**
 * The op table: the one source of the helper's instruction set. `tools/generate-ops.ts` writes `native/ops.h` from it,
 * and `tools/tidy.test.ts` holds the two together.
 */
export const PROGRAM_MAGIC = 0x59525447
export const PROGRAM_VERSION = 1
export const INSTRUCTION_BYTES = 64
export const HEADER_BYTES = 64
export const REGISTERS = 64
/** The last registers have fixed meanings from one program of a shim to the next. */
export const KEPT_REGISTERS = 4
/** Descriptors that the launcher keeps for the daemon across programs (owner sockets, reserved ports). */
export const KEPT_SLOTS = 16384

/** One line per op: what it does, and the names of its arguments, for the listing. */
export const OPS = {
  end: { code: 0, args: [], note: 'ends the program with success' },
  jump: { code: 1, args: ['label'], note: 'goes on at another instruction' },
  jumpIfZero: { code: 2, args: ['reg', 'label'], note: 'goes on elsewhere when a register is 0' },
  move: { code: 3, args: ['value'], note: 'sets a register' },
  store: { code: 4, args: ['blob', 'value', 'width'], note: 'writes a register into the blob (4 or 8 bytes)' },
  load: { code: 5, args: ['blob', 'width'], note: 'reads a register from the blob (4 or 8 bytes)' },
  format: { code: 6, args: ['blob', 'capacity', 'prefix', 'number', 'suffix'], note: 'writes prefix + decimal + suffix + NUL' },
  onFail: { code: 7, args: ['label'], note: 'where a failure continues' },
  syscall: { code: 8, args: ['a', 'b', 'c', 'd', 'e', 'f'], note: 'any system call, number in nr' },
  clone: { code: 9, args: ['cloneArgs', 'size', 'label'], note: 'clone3; the child goes on at label' },
  exec: { code: 10, args: ['paths', 'pathCount', 'argv', 'argc', 'envp', 'envc'], note: 'execve of the first candidate that is there' },
  syncWrite: { code: 11, args: ['fd'], note: 'lets the other side of a pipe go on' },
  syncRead: { code: 12, args: ['fd'], note: 'waits for the other side; its end is a failure' },
  awaitExec: { code: 13, args: ['fd'], note: 'waits until the child has executed or failed' },
  writeFile: { code: 14, args: ['dir', 'path', 'data', 'length', 'flags'], note: 'open + write + close' },
  readFile: { code: 15, args: ['dir', 'path', 'blob', 'capacity'], note: 'open + read + close; gives the length' },
  openIn: { code: 16, args: ['root', 'path', 'want', 'mode'], note: 'resolves inside a root (openat2), creating what lacks' },
  fsMount: { code: 17, args: ['type', 'options', 'count', 'attributes'], note: 'fsopen + fsconfig + fsmount' },
  expect: { code: 18, args: ['blob', 'other', 'length'], note: 'fails with ESTALE where two pieces of data differ' },
  bindFd: { code: 19, args: ['dir', 'path', 'flags', 'attributes', 'size'], note: 'open_tree + mount_setattr' },
  attach: { code: 20, args: ['mount', 'target'], note: 'move_mount of a descriptor onto a descriptor' },
  mask: { code: 21, args: ['path', 'null'], note: 'hides a path; one that is missing is skipped' },
  readOnly: { code: 22, args: ['path'], note: 'makes a path read-only; one that is missing is skipped' },
  pivot: { code: 23, args: ['root'], note: 'pivot_root and detach of the old root' },
  netlink: { code: 24, args: ['socket', 'message', 'length', 'acks'], note: 'sends a batch and collects its acks' },
  seccomp: { code: 25, args: ['filter', 'count', 'flags'], note: 'loads a BPF filter' },
  checkCwd: { code: 26, args: [], note: 'fails when the working directory lies outside the root' },
  out: { code: 27, args: ['blob', 'length'], note: 'adds bytes to the answer' },
  report: { code: 28, args: ['pid'], note: 'tells the daemon that the process runs' },
  shim: { code: 29, args: ['table'], note: 'stays as the shim' },
  init: { code: 31, args: [], note: 'stays as pid 1: forks, the child goes on, the parent reaps' },
  keep: { code: 32, args: ['slot', 'fd'], note: 'keeps a descriptor in the launcher; -1 drops it' },
  kept: { code: 33, args: ['slot'], note: 'gives a kept descriptor' },
  treeRead: { code: 34, args: ['dir', 'path', 'out', 'flags'], note: 'streams a file tree as entries' },
  treeWrite: { code: 35, args: ['in', 'flags'], note: 'writes a stream of entries below the working directory' },
  removeTree: { code: 36, args: ['dir', 'path'], note: 'removes a tree without following links' },
  addProcess: { code: 37, args: ['table'], note: 'hands an exec process to the shim' },
  netlinkDump: { code: 38, args: ['socket', 'message', 'length'], note: 'sends a request and adds the answers to the reply' },
  fork: { code: 40, args: ['label'], note: 'a plain child, without clone3; it goes on at label' },
  fail: { code: 41, args: ['errno'], note: 'ends the program with this error' },
  parse: { code: 42, args: ['blob'], note: 'reads a decimal number' },
  receiveFd: { code: 43, args: ['socket'], note: 'takes a descriptor that comes over a unix socket' },
  sendFd: { code: 39, args: ['socket', 'fd', 'text', 'length'], note: 'sends a descriptor over a unix socket, with a text' },
} as const

export type OpName = keyof typeof OPS

/** How an argument is read. */
export const KINDS = { immediate: 0, register: 1, blob: 2, registerAddress: 3 } as const
/** Instruction flags. */
export const FLAGS = { ignore: 1 } as const
/** What `openIn` wants at the end of the path. */
export const WANT = { any: 0, directory: 1, file: 2, existing: 3 } as const
/** `treeRead` flags. */
export const TREE = { noData: 1, oneFilesystem: 2, single: 4 } as const

/** Message kinds from the daemon to the launcher and to a shim. */
export const REQUESTS = {
  inline: 1, fork: 2, launch: 3,
  exec: 16, signal: 17, resize: 18, attach: 19, subscribe: 20,
} as const
/** Message kinds back. */
export const REPLIES = {
  done: 1, failed: 2, forked: 3, started: 4, exited: 5, clean: 6, gone: 7, ack: 8, state: 9, lacking: 10,
} as const
/** Most output of one program, bytes. */
export const OUTPUT_BYTES = 262144
/** Streams that are attached to one shim at once, and exec processes in it. */
export const SHIM_LIMITS = { connections: 96, processes: 128, controls: 8 } as const
