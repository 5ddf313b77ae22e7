/** A bundle in a directory of its own and the runtime over it, for tests of `gantry-runtime`. */
import assert from 'node:assert/strict'
import { chmodSync, copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { exec, type Ran, root } from './harness.ts'

/** Another runtime, as a control: OCI_RUNTIME=/path/to/runc. */
export const BINARY = process.env['OCI_RUNTIME'] ?? `${root}/gantry-runtime`

export interface Config {
  process: { args: string[]; env: string[]; cwd: string; terminal: boolean; user: { uid: number; gid: number }; noNewPrivileges: boolean; oomScoreAdj?: number; rlimits: unknown[]; capabilities: Record<string, string[]> }
  root: { path: string; readonly: boolean }
  hostname: string
  mounts: { destination: string; type: string; source: string; options?: string[] }[]
  linux: { resources: Record<string, unknown>; namespaces: { type: string; path?: string }[]; maskedPaths: string[]; readonlyPaths: string[]; sysctl?: Record<string, string>; cgroupsPath?: string; seccomp?: unknown }
  hooks?: Record<string, { path: string; args: string[] }[]>
}

/** What a test does with a bundle. */
export interface OciBundle {
  /** The configuration that others begin with. */
  base(): Config
  runtime(...args: readonly string[]): Promise<Ran>
  leaving(...args: readonly string[]): Promise<Ran>
  ok(...args: readonly string[]): Promise<string>
  configure(change: (config: Config) => void): void
  script(text: string, change?: (config: Config) => void): void
  run(text: string, change?: (config: Config) => void): Promise<Ran>
  /** Gives its directory. */
  setUp(): Promise<string>
  tearDown(): Promise<void>
}

/** Makes one; nothing is there before `setUp`. */
export function ociBundle(): OciBundle {
  let home = ''
  let base: Config
  const runtime = (...args: readonly string[]): Promise<Ran> => exec(BINARY, ['--root', `${home}/state`, '--log', `${home}/log`, '--log-format', 'json', ...args])
  /** For what leaves a process behind: it keeps the standard streams, so they must not be this test's pipes. */
  const leaving = async (...args: readonly string[]): Promise<Ran> => {
    const { code } = await exec('sh', ['-c', `exec "$0" "$@" < /dev/null > ${home}/out 2> ${home}/err`, BINARY, '--root', `${home}/state`, '--log', `${home}/log`, '--log-format', 'json', ...args])
    return { code, out: readFileSync(`${home}/out`, 'utf8'), err: readFileSync(`${home}/err`, 'utf8') }
  }
  const leaves = (args: readonly string[]): boolean => args[0] === 'create' || args.includes('--detach')
  const ok = async (...args: readonly string[]): Promise<string> => {
    const ran = await (leaves(args) ? leaving : runtime)(...args)
    assert.equal(ran.code, 0, `${args.join(' ')}: ${ran.err}`)
    return ran.out.trimEnd()
  }
  const configure = (change: (config: Config) => void): void => {
    const config = structuredClone(base)
    config.linux.cgroupsPath = `/gtest-oci-${process.pid}/box`
    change(config)
    writeFileSync(`${home}/config.json`, JSON.stringify(config))
  }
  const script = (text: string, change: (config: Config) => void = () => undefined): void => configure((config) => {
    config.process.args = ['sh', '-c', text]
    change(config)
  })
  const run = async (text: string, change?: (config: Config) => void): Promise<Ran> => {
    script(text, change)
    return runtime('run', '--bundle', home, 'box')
  }
  const cgroupsLeft = (): readonly string[] => readdirSync('/sys/fs/cgroup').filter((name) => existsSync(`/sys/fs/cgroup/${name}/gtest-oci-${process.pid}`) || name === `gtest-oci-${process.pid}`)

  const setUp = async (): Promise<string> => {
    home = mkdtempSync('/tmp/gtest-oci-')
    // Users of another namespace have to get to it.
    chmodSync(home, 0o755)
    mkdirSync(`${home}/rootfs/bin`, { recursive: true })
    copyFileSync('/bin/busybox', `${home}/rootfs/bin/busybox`)
    for (const name of ['sh', 'cat', 'echo', 'id', 'ls', 'sleep', 'mount', 'hostname', 'grep', 'true', 'tty', 'mkdir', 'readlink', 'stat', 'touch']) symlinkSync('busybox', `${home}/rootfs/bin/${name}`)
    await ok('spec', '--bundle', home)
    base = JSON.parse(readFileSync(`${home}/config.json`, 'utf8')) as Config
    base.root.readonly = false
    base.process.terminal = false
    return home
  }
  const tearDown = async (): Promise<void> => {
    for (const id of (await ok('list', '-q')).split('\n').filter((one) => one !== '')) await runtime('delete', '--force', id)
    rmSync(home, { recursive: true, force: true })
    // A parent that was named belongs to who named it, as with runc.
    for (const name of readdirSync('/sys/fs/cgroup')) await exec('rmdir', [`/sys/fs/cgroup/${name}/gtest-oci-${process.pid}`])
    await exec('rmdir', [`/sys/fs/cgroup/gtest-oci-${process.pid}`])
    assert.deepEqual(cgroupsLeft(), [])
  }
  return { base: () => base, runtime, leaving, ok, configure, script, run, setUp, tearDown }
}
