/** The layering table: who may import whom. Data; `tidy.test.ts` holds the tree against it. */
export const FLOORS: Readonly<Record<string, readonly string[]>> = {
  std: [],
  api: ['std'],
  registry: ['std'],
  linux: ['std'],
  libcontainer: ['linux', 'std'],
  libnetwork: ['linux', 'std'],
  graph: ['linux', 'std'],
  builder: ['graph', 'std'],
  runtime: ['libcontainer', 'linux', 'std'],
  buildkit: ['std'],
  daemon: ['runtime', 'builder', 'buildkit', 'libnetwork', 'graph', 'registry', 'api', 'std'],
  cli: ['api', 'registry', 'std'],
}

/**
 * Rooms of the daemon and the rooms that each may name. `daemon.ts`, `restore.ts` and `main.ts` see all. A ratchet: it lists
 * what is there; an edge that is taken away stays away.
 */
export const DAEMON_ROOMS: Readonly<Record<string, readonly string[]>> = {
  engine: [],
  jobs: ['engine', 'containers', 'images', 'logging', 'server'],
  containers: ['engine', 'jobs', 'images', 'logging', 'server', 'volumes'],
  images: ['engine', 'jobs', 'containers', 'server'],
  system: ['engine', 'jobs', 'containers', 'server', 'volumes'],
  volumes: ['plugins'],
  plugins: [],
  networks: ['engine', 'jobs', 'containers', 'server'],
  build: ['engine', 'jobs', 'containers', 'images'],
  logging: [],
  server: ['jobs', 'plugins', 'containers', 'images', 'system', 'logging'],
}

/** The only files that start programs, and why. */
export const STARTS_PROGRAMS: Readonly<Record<string, string>> = {
  'packages/linux/src/launcher.ts': 'the launcher, once',
  'packages/daemon/src/main.ts': 'systemd-notify, once, under systemd only',
  'packages/daemon/src/containers/top.ts': 'the host’s ps',
  'packages/daemon/src/images/bundled.ts': 'busybox --list-full, once for an empty store',
  'packages/daemon/src/images/process/client.ts': 'the image process, on demand',
  'packages/graph/src/compression.ts': 'bzip2 and xz, for archives that are packed so',
  'packages/daemon/src/build/git.ts': 'git, for builds from repositories',
  'packages/runtime/src/apparmor.ts': 'apparmor_parser, once at boot, where the host has AppArmor',
  'packages/runtime/src/oci/hooks.ts': 'hooks of a bundle, which are programs',
  'packages/api/src/client/ssh.ts': 'ssh to the daemon of another host, in the client',
  'packages/cli/src/daemon.ts': 'the daemon in the background',
  'packages/cli/src/plugins.ts': 'plugins of the client',
  'packages/cli/src/credentials.ts': 'the user’s credential helpers, in the client',
  'packages/cli/src/commands/copy.ts': 'the host’s tar, in the client',
}

/** Folders of one package hold at most so many files, files at most so many lines. */
export const LIMITS = { filesInFolder: 24, linesInFile: 400, ownImports: 12, decisionLines: 40 } as const

/** Files that may import more of the house: those that see all of it. */
export const SEES_ALL: readonly string[] = ['packages/daemon/src/daemon.ts', 'packages/daemon/src/containers/handlers.ts', 'packages/daemon/src/containers/create.ts', 'packages/graph/src/graph.ts', 'packages/cli/src/commands/all.ts']
