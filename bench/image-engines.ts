/** Engines that work with images, each in a network namespace with its state in a folder of its own. */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { createTransport, type Transport } from '../packages/api/src/index.ts'

const root = new URL('..', import.meta.url).pathname.replace(/\/$/, '')
const READY_MS = 30_000
const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

/** An engine that pulls, pushes, saves and loads. */
export interface ImageEngine {
  readonly socket: string
  readonly api: Transport
  readonly pid: number
  stop(): Promise<void>
}

async function started(child: ChildProcess, socket: string, name: string): Promise<ImageEngine> {
  const api = createTransport({ host: `unix://${socket}` })
  for (const until = Date.now() + READY_MS; ; await sleep(30)) {
    if (Date.now() > until || child.exitCode !== null) throw new Error(`${name} does not answer`)
    const answered = await api.send('GET', '/_ping').then((response) => (response.resume(), true), () => false)
    if (answered) break
  }
  return {
    socket, api, pid: child.pid ?? 0,
    async stop() {
      const gone = new Promise((resolve) => child.once('exit', resolve))
      child.kill('SIGTERM')
      await gone
    },
  }
}

/** Where engines run and what they are made of. */
export interface Setting {
  /** Folder of the peers' programs; empty: none are there. */
  readonly peers: string
  /** Network namespace, by name. */
  readonly namespace: string
  /** Registries on loopback that answer without TLS. */
  readonly ports: readonly number[]
  /** Further flags for our daemon. */
  readonly flags: readonly string[]
}

/** Runs a program in the namespace. */
export const inside = (namespace: string, ...words: readonly string[]): readonly string[] => [`--net=/run/netns/${namespace}`, ...words]

/** Starts an engine with its state below `home`. */
export const ENGINES: Readonly<Record<string, (home: string, setting: Setting) => Promise<ImageEngine>>> = {
  gantry(home, { namespace, flags }) {
    const socket = `${home}/g.sock`
    return started(spawn('nsenter', inside(namespace, 'sh', `${root}/tools/gantryd.sh`, '-H', `unix://${socket}`, '--data-root', `${home}/data`, '--exec-root', `${home}/x`, '--pidfile', `${home}/pid`, '--cgroup-parent', '/gbi', '--bridge', 'none', ...flags), { stdio: ['ignore', 'ignore', 'ignore'], env: { ...process.env, GANTRY_BUSYBOX: '' } }), socket, 'gantry')
  },
  dockerd(home, { namespace, peers }) {
    const socket = `${home}/d.sock`
    return started(spawn('nsenter', inside(namespace, `${peers}/bin/dockerd`, '--data-root', `${home}/data`, '--exec-root', `${home}/x`, '--pidfile', `${home}/pid`, '-H', `unix://${socket}`, '--storage-driver', 'overlay2', '--bridge', 'none', '--iptables=false', '--ip6tables=false'), { stdio: ['ignore', 'ignore', 'ignore'], env: { ...process.env, PATH: `${peers}/bin:${process.env['PATH']}` } }), socket, 'dockerd')
  },
  podman(home, { namespace, peers, ports }) {
    const socket = `${home}/p.sock`
    const [policy, registries] = [`${home}/policy.json`, `${home}/registries.conf`]
    mkdirSync(`${home}/run`, { recursive: true })
    writeFileSync(policy, '{"default":[{"type":"insecureAcceptAnything"}]}')
    writeFileSync(registries, ports.map((port) => `[[registry]]\nlocation="127.0.0.1:${port}"\ninsecure=true\n`).join(''))
    writeFileSync(`${home}/containers.conf`, `[engine]\nhelper_binaries_dir=["${peers}/bin","${peers}/root/usr/lib/podman"]\nruntime="runc"\ncgroup_manager="cgroupfs"\nevents_logger="file"\n`)
    return started(spawn('nsenter', inside(namespace, `${peers}/bin/podman`, '--root', `${home}/data`, '--runroot', `${home}/run`, 'system', 'service', '--time=0', `unix://${socket}`), { stdio: ['ignore', 'ignore', 'ignore'], env: { ...process.env, PATH: `${peers}/bin:${process.env['PATH']}`, CONTAINERS_CONF: `${home}/containers.conf`, CONTAINERS_POLICY: policy, CONTAINERS_REGISTRIES_CONF: registries } }), socket, 'podman')
  },
}
