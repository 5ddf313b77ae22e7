import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createTransport, type Transport } from '../packages/api/src/index.ts'

/** An engine under measurement: a daemon of its own, with its own state and network namespace. */
export interface Engine {
  readonly name: string
  readonly socket: string
  readonly api: Transport
  /** Name of its network namespace. */
  readonly space: string
  /** Resident memory of the daemon's own processes, bytes. */
  memory(): number
  stop(): Promise<void>
}

const READY_MS = 30_000
const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

async function ready(api: Transport, name: string): Promise<void> {
  for (const until = Date.now() + READY_MS; Date.now() < until; await sleep(50)) {
    try {
      ;(await api.send('GET', '/_ping')).resume()
      return
    } catch {
      continue
    }
  }
  throw new Error(`${name} does not answer`)
}

function residentBytes(pid: number): number {
  const text = existsSync(`/proc/${pid}/smaps_rollup`) ? readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8') : ''
  return Number(/^Pss:\s+(\d+)/m.exec(text)?.[1] ?? 0) * 1024
}

function childrenOf(pid: number): readonly number[] {
  try {
    return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter((word) => word !== '').map(Number)
  } catch {
    return []
  }
}

async function stopChild(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null) return
  const gone = new Promise((resolve) => child.once('exit', resolve))
  child.kill('SIGTERM')
  await Promise.race([gone, sleep(20_000)])
}

/** The engine of this checkout. */
export async function startGantry(root: string, work: string): Promise<Engine> {
  const home = `${work}/gantry`
  mkdirSync(home, { recursive: true })
  execFileSync('ip', ['netns', 'add', 'gbench-gantry'])
  execFileSync('ip', ['-n', 'gbench-gantry', 'link', 'set', 'lo', 'up'])
  const socket = `${home}/g.sock`
  const child = spawn('nsenter', ['--net=/run/netns/gbench-gantry', 'sh', `${root}/tools/gantryd.sh`, '-H', `unix://${socket}`, '--data-root', `${home}/data`, '--exec-root', `${home}/x`, '--pidfile', `${home}/pid`, '--cgroup-parent', '/gbench', '--bridge', 'gbench0'], { stdio: ['ignore', 'ignore', 'inherit'] })
  const api = createTransport({ host: `unix://${socket}` })
  await ready(api, 'gantry')
  const pid = child.pid ?? 0
  return {
    name: 'gantry', socket, api, space: 'gbench-gantry',
    memory: () => residentBytes(pid) + childrenOf(pid).reduce((sum, one) => sum + residentBytes(one), 0),
    async stop() {
      await stopChild(child)
      execFileSync('ip', ['netns', 'del', 'gbench-gantry'])
    },
  }
}

/** What an engine that ended has left mounted below a folder, taken away. */
function unmountBelow(folder: string): void {
  const left = readFileSync('/proc/self/mountinfo', 'utf8').split('\n').map((line) => line.split(' ')[4] ?? '').filter((path) => path.startsWith(`${folder}/`))
  for (const path of left.reverse()) execFileSync('umount', ['-l', path])
}

/** dockerd out of a folder of peers (`tools/peers.sh`), its state in `work`/docker: `root`, `exec`. */
export async function startDockerd(peers: string, work: string, name = 'gbench'): Promise<Engine> {
  const home = `${work}/docker`
  const space = `${name}-docker`
  mkdirSync(home, { recursive: true })
  execFileSync('ip', ['netns', 'add', space])
  execFileSync('ip', ['-n', space, 'link', 'set', 'lo', 'up'])
  const socket = `${home}/docker.sock`
  const child = spawn('nsenter', [`--net=/run/netns/${space}`, `${peers}/bin/dockerd`, '--data-root', `${home}/root`, '--exec-root', `${home}/exec`, '--pidfile', `${home}/pid`, '-H', `unix://${socket}`, '--storage-driver', 'overlay2', '--insecure-registry', '127.0.0.0/8'], { stdio: ['ignore', 'ignore', 'ignore'], env: { ...process.env, PATH: `${peers}/bin:${process.env['PATH']}:/usr/sbin` } })
  const stop = async (): Promise<void> => {
    await stopChild(child)
    execFileSync('ip', ['netns', 'del', space])
    unmountBelow(home)
  }
  const api = createTransport({ host: `unix://${socket}` })
  try {
    await ready(api, 'dockerd')
  } catch (error) {
    await stop()
    throw error
  }
  const pid = child.pid ?? 0
  return { name: 'dockerd', socket, api, space, memory: () => residentBytes(pid) + childrenOf(pid).reduce((sum, one) => sum + residentBytes(one), 0), stop }
}

/** Podman's Docker-compatible service, over runc: its crun refuses a host with both cgroup versions. */
export async function startPodman(peers: string, work: string): Promise<Engine> {
  const home = `${work}/podman`
  mkdirSync(`${home}/run`, { recursive: true })
  const netavark = `${peers}/root/usr/lib/podman`
  const policy = `${home}/policy.json`
  writeFileSync(policy, '{"default":[{"type":"insecureAcceptAnything"}]}')
  writeFileSync(`${home}/containers.conf`, `[engine]\nhelper_binaries_dir=["${peers}/bin","${netavark}"]\nconmon_path=["${peers}/bin/conmon"]\nruntime="runc"\ncgroup_manager="cgroupfs"\nevents_logger="file"\n[engine.runtimes]\nrunc=["${peers}/bin/runc"]\n[network]\nfirewall_driver="none"\n`)
  const socket = `${home}/podman.sock`
  execFileSync('ip', ['netns', 'add', 'gbench-podman'])
  execFileSync('ip', ['-n', 'gbench-podman', 'link', 'set', 'lo', 'up'])
  const child = spawn('nsenter', ['--net=/run/netns/gbench-podman', `${peers}/bin/podman`, '--root', `${home}/root`, '--runroot', `${home}/run`, 'system', 'service', '--time=0', `unix://${socket}`], { stdio: ['ignore', 'ignore', 'ignore'], env: { ...process.env, PATH: `${peers}/bin:${process.env['PATH']}`, CONTAINERS_CONF: `${home}/containers.conf`, CONTAINERS_POLICY: policy } })
  const api = createTransport({ host: `unix://${socket}` })
  try {
    await ready(api, 'podman')
  } catch (error) {
    await stopChild(child)
    execFileSync('ip', ['netns', 'del', 'gbench-podman'])
    throw error
  }
  const pid = child.pid ?? 0
  return {
    name: 'podman', socket, api, space: 'gbench-podman',
    memory: () => residentBytes(pid),
    async stop() {
      await stopChild(child)
      execFileSync('ip', ['netns', 'del', 'gbench-podman'])
    },
  }
}

/** Removes what a run leaves in its folder. */
export function clean(work: string): void {
  rmSync(work, { recursive: true, force: true })
}
