/**
 * The supervisor's gRPC interface, `gantry.supervisor.v1.Supervisor`, as data: one source for server, client and the `.proto` text
 * that other languages want (`gantry supervisor --proto`). Field numbers are the places in the lists: add at the end.
 */
export type Scalar = 'string' | 'bytes' | 'bool' | 'uint32' | 'int32' | 'uint64' | 'double'
/** A scalar or the name of a message; `repeated` in front for lists. */
export type FieldType = string

export const PACKAGE = 'gantry.supervisor.v1'

export const MESSAGES: Readonly<Record<string, readonly (readonly [name: string, type: FieldType])[]>> = {
  Empty: [],
  Container: [['id', 'string'], ['runtime', 'string'], ['cgroups_path', 'string']],
  /** What a root stands on: mounted before it, on `target` below the root's directory. */
  Lower: [['type', 'string'], ['source', 'string'], ['data', 'string'], ['target', 'string']],
  Root: [['type', 'string'], ['source', 'string'], ['data', 'string'], ['directory', 'string'], ['lower', 'Lower']],
  /** Netlink messages, and where the pid of the new network namespace is written into them. */
  Batch: [['what', 'string'], ['bytes', 'bytes'], ['acks', 'uint32'], ['pid_at', 'repeated uint32']],
  Setting: [['path', 'string'], ['value', 'string']],
  /** The shim dials the socket and shows the token. */
  Stream: [['socket_path', 'string'], ['token', 'string'], ['stdin', 'bool'], ['stdout', 'bool'], ['stderr', 'bool']],
  Stdio: [['open_stdin', 'bool'], ['stdin_once', 'bool'], ['streams', 'repeated Stream']],
  Log: [['path', 'string'], ['max_bytes', 'double'], ['max_files', 'uint32'], ['format', 'string'], ['attributes', 'string'], ['lossy', 'bool']],
  /** `spec` is JSON in the shape of an OCI configuration. */
  Bundle: [['id', 'string'], ['runtime', 'string'], ['spec', 'bytes'], ['root', 'Root'], ['host', 'repeated Batch'], ['inside', 'repeated Batch'], ['sysctls', 'repeated Setting'], ['stdio', 'Stdio'], ['log', 'Log'], ['init', 'bool'], ['restore_from', 'string']],
  Step: [['phase', 'string'], ['what', 'string'], ['side', 'string'], ['ended_at', 'double']],
  Started: [['pid', 'uint32'], ['shim_pid', 'uint32'], ['steps', 'repeated Step']],
  Exit: [['code', 'uint32'], ['oom_killed', 'bool'], ['at', 'uint64']],
  /** status: running, ended, lost. */
  Adopted: [['status', 'string'], ['pid', 'uint32'], ['exit', 'Exit']],
  ExecRequest: [['id', 'string'], ['process', 'bytes'], ['spec', 'bytes'], ['stdio', 'Stdio'], ['key', 'string']],
  /** `key` names an exec; empty: the container's first process. */
  SignalRequest: [['id', 'string'], ['key', 'string'], ['signal', 'uint32']],
  ResizeRequest: [['id', 'string'], ['key', 'string'], ['rows', 'uint32'], ['columns', 'uint32']],
  AttachRequest: [['id', 'string'], ['stream', 'Stream']],
  PauseRequest: [['container', 'Container'], ['paused', 'bool']],
  UpdateRequest: [['container', 'Container'], ['resources', 'bytes']],
  CheckpointRequest: [['container', 'Container'], ['pid', 'uint32'], ['spec', 'bytes'], ['directory', 'string'], ['leave_running', 'bool']],
  Pids: [['pids', 'repeated uint32']],
  Text: [['text', 'string']],
  Json: [['json', 'bytes']],
  Tasks: [['ids', 'repeated string']],
  EventsRequest: [['from_sequence', 'uint64']],
  Event: [['sequence', 'uint64'], ['at', 'double'], ['type', 'string'], ['id', 'string'], ['pid', 'uint32'], ['code', 'uint32'], ['message', 'string']],
  /** What a client that has started or adopted something waits for: exit, clean, oom. */
  Notice: [['kind', 'string'], ['id', 'string'], ['key', 'string'], ['pid', 'uint32'], ['exit', 'Exit']],
}

export interface Method {
  readonly name: string
  readonly input: string
  readonly output: string
  readonly stream?: true
}

export const METHODS: readonly Method[] = [
  { name: 'Start', input: 'Bundle', output: 'Started' },
  { name: 'Explain', input: 'Bundle', output: 'Text' },
  { name: 'Adopt', input: 'Container', output: 'Adopted' },
  { name: 'Exec', input: 'ExecRequest', output: 'Started' },
  { name: 'Signal', input: 'SignalRequest', output: 'Empty' },
  { name: 'Resize', input: 'ResizeRequest', output: 'Empty' },
  { name: 'Attach', input: 'AttachRequest', output: 'Empty' },
  { name: 'Pause', input: 'PauseRequest', output: 'Empty' },
  { name: 'Update', input: 'UpdateRequest', output: 'Empty' },
  { name: 'Forget', input: 'Container', output: 'Empty' },
  { name: 'Processes', input: 'Container', output: 'Pids' },
  { name: 'Stats', input: 'Container', output: 'Json' },
  { name: 'Tasks', input: 'Empty', output: 'Tasks' },
  { name: 'Metrics', input: 'Empty', output: 'Json' },
  { name: 'Events', input: 'EventsRequest', output: 'Event', stream: true },
  { name: 'Checkpoint', input: 'CheckpointRequest', output: 'Empty' },
  { name: 'Watch', input: 'Empty', output: 'Notice', stream: true },
]
