import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import type { TestDaemon } from './harness.ts'

/** What of a daemon is on the host: every list is empty once all containers are removed. */
export interface Census {
  readonly mounts: readonly string[]
  readonly cgroups: readonly string[]
  readonly links: readonly string[]
  readonly elements: readonly string[]
  readonly processes: readonly string[]
  readonly files: readonly string[]
}

function mounts(daemon: TestDaemon): readonly string[] {
  const own = readFileSync('/proc/self/mountinfo', 'utf8').split('\n')
  return own.filter((line) => line.includes(` ${daemon.home}/`))
}

function cgroups(daemon: TestDaemon): readonly string[] {
  const points = readFileSync('/proc/self/mountinfo', 'utf8').split('\n').filter((line) => / - cgroup2? /.test(line)).map((line) => line.split(' ')[4] ?? '')
  return points.flatMap((point) => {
    const directory = `${point}${daemon.cgroupParent}`
    return existsSync(directory) ? readdirSync(directory, { withFileTypes: true }).filter((entry) => entry.isDirectory()).map((entry) => `${directory}/${entry.name}`) : []
  })
}

/** Shims are told by their control socket, which lies below the daemon's exec root, and by nothing else. */
function processes(daemon: TestDaemon): readonly string[] {
  const sockets = new Set(readFileSync('/proc/net/unix', 'utf8').split('\n').filter((line) => line.includes(`${daemon.home}/x/c/`)).map((line) => `socket:[${line.trim().split(/\s+/)[6]}]`))
  return readdirSync('/proc').filter((name) => /^\d+$/.test(name) && Number(name) !== daemon.pid() && holds(name, sockets))
}

function holds(pid: string, sockets: ReadonlySet<string>): boolean {
  try {
    if (readFileSync(`/proc/${pid}/comm`, 'utf8').trim() !== 'gantry-shim') return false
    return readdirSync(`/proc/${pid}/fd`).some((fd) => sockets.has(readlinkSync(`/proc/${pid}/fd/${fd}`)))
  } catch (error) {
    if (['ENOENT', 'ESRCH'].includes(String((error as NodeJS.ErrnoException).code))) return false
    throw error
  }
}

async function links(daemon: TestDaemon): Promise<readonly string[]> {
  const lines = (await daemon.inside('/bin/busybox', 'ip', '-o', 'link')).split('\n')
  return lines.map((line) => /^\d+: ([^:@]+)/.exec(line)?.[1] ?? '').filter((name) => name.startsWith('gv'))
}

async function elements(daemon: TestDaemon): Promise<readonly string[]> {
  if (!existsSync('/usr/sbin/nft')) return []
  const text = await daemon.inside('/usr/sbin/nft', 'list', 'ruleset')
  return [...text.matchAll(/map (?:any4|pub4) \{[^}]*elements = \{([^}]*)\}/g)].map((match) => (match[1] ?? '').trim())
}

function files(daemon: TestDaemon): readonly string[] {
  const below = (directory: string): readonly string[] => (existsSync(directory) ? readdirSync(directory).map((name) => `${directory}/${name}`) : [])
  return [...below(`${daemon.home}/x/c`), ...below(`${daemon.home}/x/etc`), ...below(`${daemon.home}/data/containers`)]
}

/** Counts what is there. */
export async function census(daemon: TestDaemon): Promise<Census> {
  return { mounts: mounts(daemon), cgroups: cgroups(daemon), links: await links(daemon), elements: await elements(daemon), processes: processes(daemon), files: files(daemon) }
}

export const NOTHING: Census = { mounts: [], cgroups: [], links: [], elements: [], processes: [], files: [] }

/** Waits until nothing is left; links go with their namespaces, some tens of milliseconds later. Gives what stays. */
export async function settledCensus(daemon: TestDaemon, ms = 5000): Promise<Census> {
  let found = await census(daemon)
  for (const end = Date.now() + ms; Date.now() < end && JSON.stringify(found) !== JSON.stringify(NOTHING); found = await census(daemon)) await new Promise((resolve) => setTimeout(resolve, 50))
  return found
}

/** Ends a daemon, removes every trace of it, and fails when its containers had left anything on the host before. */
export async function disposeClean(daemon: TestDaemon): Promise<void> {
  const left = await settledCensus(daemon)
  await daemon.dispose()
  assert.deepEqual(left, NOTHING)
}
