/**
 * OCI runtimes side by side in one run: `run` of an empty bundle, from fork to exit.
 *
 *   npm run bench:runtime -- [--peers DIR] [--rounds N]
 */
import { execFile, execFileSync } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { parseArgs, promisify } from 'node:util'
import { median, timedRuns } from './timing.ts'

const { values } = parseArgs({ options: { peers: { type: 'string', default: '' }, rounds: { type: 'string', default: '25' } } })
const root = new URL('..', import.meta.url).pathname.replace(/\/$/, '')
const work = mkdtempSync('/tmp/gbench-oci-')
const run = promisify(execFile)

function bundle(): string {
  mkdirSync(`${work}/rootfs/bin`, { recursive: true })
  copyFileSync('/bin/busybox', `${work}/rootfs/bin/busybox`)
  symlinkSync('busybox', `${work}/rootfs/bin/true`)
  execFileSync(`${root}/gantry-runtime`, ['spec', '--bundle', work])
  const config = JSON.parse(readFileSync(`${work}/config.json`, 'utf8')) as { process: { args: string[] }; linux: Record<string, unknown> }
  config.process.args = ['true']
  config.linux['cgroupsPath'] = `/gbench-oci-${process.pid}`
  writeFileSync(`${work}/config.json`, JSON.stringify(config))
  return work
}

async function main(): Promise<void> {
  const at = bundle()
  const runtimes: readonly (readonly [string, string])[] = [['gantry-runtime', `${root}/gantry-runtime`], ...['runc', 'crun'].map((name) => [name, `${values.peers}/bin/${name}`] as const).filter(([, path]) => existsSync(path))]
  const figures = new Map<string, number>()
  for (const [name, path] of runtimes) {
    // crun refuses a host with both versions of cgroups: it gets a view of this one without the second.
    const view = name === 'crun' ? ['unshare', '--mount', 'sh', '-c', 'umount /sys/fs/cgroup/unified 2>/dev/null; exec "$0" "$@"'] : []
    const words = [...view, path, '--root', `${work}/state-${name}`, 'run', '--bundle', at, 'box']
    try {
      await run(words[0] ?? '', words.slice(1))
      figures.set(name, median(await timedRuns(Number(values.rounds), words)))
    } catch (error) {
      process.stderr.write(`${name}: not measured: ${error instanceof Error ? error.message.trim() : String(error)}\n`)
    }
  }
  const own = figures.get('gantry-runtime') ?? Number.NaN
  process.stdout.write(`\n${'run of an empty bundle, median'.padEnd(34)}${'ms'.padStart(8)}${'ratio'.padStart(8)}\n`)
  for (const [name, value] of figures) process.stdout.write(`${name.padEnd(34)}${value.toFixed(1).padStart(8)}${(value / own).toFixed(2).padStart(8)}\n`)
}

try {
  await main()
} finally {
  rmSync(work, { recursive: true, force: true })
}
