/**
 * Images side by side in one run: Gantry, dockerd and Podman pull from one registry on loopback, each trial on a fresh journaled ext4.
 *
 *   npm run bench:images -- [--peers DIR] [--rounds N] [--only a-gzip,…] [--ops] [--slow]
 *
 * --ops adds save, load, rmi, commit and push; --slow adds a link of 320 Mbit/s.
 */
import { execFile, execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { parseArgs, promisify } from 'node:util'
import { createTransport, type Transport } from '../packages/api/src/index.ts'
import { prepareImages } from './image-fixtures.ts'
import { median } from './timing.ts'

const { values } = parseArgs({ options: { peers: { type: 'string', default: '' }, rounds: { type: 'string', default: '3' }, only: { type: 'string', default: 'a-gzip,b-gzip,c-gzip,a-zstd,b-zstd,c-zstd' }, engines: { type: 'string', default: 'gantry,dockerd,podman' }, ops: { type: 'boolean' }, slow: { type: 'boolean' }, driver: { type: 'string', default: '' } } })
const run = promisify(execFile)
const root = new URL('..', import.meta.url).pathname.replace(/\/$/, '')
const cache = `${process.env['GANTRY_CACHE'] ?? '/var/cache/gantry-tests'}/bench-images`
const work = `/tmp/gbi-${process.pid}`
const namespace = `gbi${process.pid}`
const PORT = 5999
const DISK_BYTES = 6e9
const READY_MS = 30_000
const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

/** An engine of one trial. */
interface Engine {
  readonly socket: string
  readonly api: Transport
  readonly pid: number
  stop(): Promise<void>
}

const inside = (...words: readonly string[]): readonly string[] => [`--net=/run/netns/${namespace}`, ...words]

async function started(child: ChildProcess, socket: string, name: string): Promise<Engine> {
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

const STARTERS: Readonly<Record<string, (home: string) => Promise<Engine>>> = {
  gantry(home) {
    const socket = `${home}/g.sock`
    return started(spawn('nsenter', inside('sh', `${root}/tools/gantryd.sh`, '-H', `unix://${socket}`, '--data-root', `${home}/data`, '--exec-root', `${home}/x`, '--pidfile', `${home}/pid`, '--cgroup-parent', '/gbi', '--bridge', 'none', ...(values.driver === '' ? [] : ['--storage-driver', values.driver])), { stdio: ['ignore', 'ignore', 'ignore'], env: { ...process.env, GANTRY_BUSYBOX: '' } }), socket, 'gantry')
  },
  dockerd(home) {
    const socket = `${home}/d.sock`
    return started(spawn('nsenter', inside(`${values.peers}/bin/dockerd`, '--data-root', `${home}/data`, '--exec-root', `${home}/x`, '--pidfile', `${home}/pid`, '-H', `unix://${socket}`, '--storage-driver', 'overlay2', '--bridge', 'none', '--iptables=false', '--ip6tables=false'), { stdio: ['ignore', 'ignore', 'ignore'], env: { ...process.env, PATH: `${values.peers}/bin:${process.env['PATH']}` } }), socket, 'dockerd')
  },
  podman(home) {
    const socket = `${home}/p.sock`
    const [policy, registries] = [`${home}/policy.json`, `${home}/registries.conf`]
    mkdirSync(`${home}/run`, { recursive: true })
    writeFileSync(policy, '{"default":[{"type":"insecureAcceptAnything"}]}')
    writeFileSync(registries, [PORT, PORT + 1].map((port) => `[[registry]]\nlocation="127.0.0.1:${port}"\ninsecure=true\n`).join(''))
    writeFileSync(`${home}/containers.conf`, `[engine]\nhelper_binaries_dir=["${values.peers}/bin","${values.peers}/root/usr/lib/podman"]\nruntime="runc"\ncgroup_manager="cgroupfs"\nevents_logger="file"\n`)
    return started(spawn('nsenter', inside(`${values.peers}/bin/podman`, '--root', `${home}/data`, '--runroot', `${home}/run`, 'system', 'service', '--time=0', `unix://${socket}`), { stdio: ['ignore', 'ignore', 'ignore'], env: { ...process.env, PATH: `${values.peers}/bin:${process.env['PATH']}`, CONTAINERS_CONF: `${home}/containers.conf`, CONTAINERS_POLICY: policy, CONTAINERS_REGISTRIES_CONF: registries } }), socket, 'podman')
  },
}

/** Share of the machine that others used in half a second. */
async function foreignLoad(): Promise<number> {
  const read = (): readonly number[] => (readFileSync('/proc/stat', 'utf8').split('\n')[0] ?? '').trim().split(/\s+/).slice(1).map(Number)
  const before = read()
  await sleep(500)
  const spent = read().map((value, index) => value - (before[index] ?? 0))
  return 1 - ((spent[3] ?? 0) + (spent[4] ?? 0)) / spent.reduce((sum, value) => sum + value, 0)
}

/** A disk of its own for one trial. */
async function onFreshDisk<T>(use: (home: string) => Promise<T>): Promise<T> {
  for (let turn = 0; turn < 20 && (await foreignLoad()) > 0.25; turn++) await sleep(500)
  const [image, home] = [`${work}/disk`, `${work}/fs`]
  mkdirSync(home, { recursive: true })
  rmSync(image, { force: true })
  writeFileSync(image, '')
  truncateSync(image, DISK_BYTES)
  execFileSync('mkfs.ext4', ['-q', '-F', '-E', 'lazy_itable_init=0', image])
  execFileSync('mount', ['-o', 'loop', image, home])
  try {
    return await use(home)
  } finally {
    for (let turn = 0; ; turn++) {
      try {
        execFileSync('umount', [home], { stdio: 'ignore' })
        break
      } catch (error) {
        if (turn > 50) throw error
        await sleep(100)
      }
    }
    rmSync(image)
  }
}

async function client(engine: Engine, ...args: readonly string[]): Promise<number> {
  const began = performance.now()
  await run('nsenter', [...inside('docker', '-H', `unix://${engine.socket}`, ...args)], { maxBuffer: 64 << 20, env: { ...process.env, DOCKER_CONFIG: `${work}/client` } })
  return performance.now() - began
}

/** The same without a disk, whose writing the client waits for. */
async function savedToNowhere(engine: Engine, reference: string): Promise<number> {
  const began = performance.now()
  await run('nsenter', [...inside('sh', '-c', `docker -H unix://${engine.socket} save ${reference} >/dev/null`)], { env: { ...process.env, DOCKER_CONFIG: `${work}/client` } })
  return performance.now() - began
}

const memoryOf = (pid: number): number => (existsSync(`/proc/${pid}/smaps_rollup`) ? Number(/^Rss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1] ?? 0) * 1024 : 0)

type Figures = Record<string, number>

async function trial(name: string, image: string, withOps: boolean): Promise<Figures> {
  return onFreshDisk(async (home) => {
    const engine = await (STARTERS[name] ?? STARTERS['gantry'] ?? (() => Promise.reject(new Error(`no engine ${name}`))))(home)
    const reference = `127.0.0.1:${PORT}/${image}:latest`
    try {
      const before = memoryOf(engine.pid)
      let peak = before
      const watch = setInterval(() => {
        peak = Math.max(peak, memoryOf(engine.pid))
      }, 20)
      const figures: Figures = { pull: await client(engine, 'pull', '-q', reference) }
      clearInterval(watch)
      figures['daemon grows by MB'] = (peak - before) / 1e6
      if (!withOps) return figures
      figures['save'] = await savedToNowhere(engine, reference)
      figures['save to a file'] = await client(engine, 'save', '-o', `${home}/saved.tar`, reference)
      figures['MB saved'] = statSync(`${home}/saved.tar`).size / 1e6
      execFileSync('sync')
      figures['push'] = await client(engine, 'tag', reference, `127.0.0.1:${PORT + 1}/${image}:latest`).then(() => client(engine, 'push', '-q', `127.0.0.1:${PORT + 1}/${image}:latest`))
      await client(engine, 'rmi', `127.0.0.1:${PORT + 1}/${image}:latest`)
      figures['rmi'] = await client(engine, 'rmi', reference)
      figures['load'] = await client(engine, 'load', '-q', '-i', `${home}/saved.tar`)
      return figures
    } finally {
      await engine.stop()
    }
  })
}

async function main(): Promise<void> {
  prepareImages(cache)
  mkdirSync(work, { recursive: true })
  execFileSync('ip', ['netns', 'add', namespace])
  execFileSync('ip', ['-n', namespace, 'link', 'set', 'lo', 'up'])
  const serve = (port: number, folder: string): ChildProcess => spawn('nsenter', inside(`${root}/build/node`, `${root}/build/gantry-registry.cjs`, 'serve', '-l', `127.0.0.1:${port}`, '--root', folder), { stdio: 'ignore' })
  const registries = [serve(PORT, `${cache}/registry`), serve(PORT + 1, `${work}/pushed`)]
  const engines = values.engines.split(',').filter((name) => name === 'gantry' || existsSync(`${values.peers}/bin/${name}`))
  try {
    await sleep(500)
    for (const slow of values.slow === true ? [false, true] : [false]) {
      if (slow) execFileSync('tc', ['-n', namespace, 'qdisc', 'add', 'dev', 'lo', 'root', 'tbf', 'rate', '320mbit', 'burst', '256k', 'latency', '50ms'])
      for (const image of values.only.split(',')) {
        const all = new Map(engines.map((name) => [name, [] as Figures[]]))
        for (let round = 0; round < Number(values.rounds); round++) {
          for (const name of [...engines].sort(() => Math.random() - 0.5)) {
            try {
              all.get(name)?.push(await trial(name, image, values.ops === true && !slow))
            } catch (error) {
              process.stderr.write(`${name} ${image}: ${String(error).slice(0, 300)}\n`)
            }
            rmSync(`${work}/pushed`, { recursive: true, force: true })
            for (const directory of ['blobs/sha256', 'uploads', 'repositories']) mkdirSync(`${work}/pushed/${directory}`, { recursive: true })
          }
        }
        const middle = (name: string, key: string): number => median((all.get(name) ?? []).flatMap((one) => (one[key] === undefined ? [] : [one[key]])))
        for (const key of Object.keys(all.get('gantry')?.[0] ?? {})) {
          const own = middle('gantry', key)
          const inSeconds = !key.includes('MB')
          const shown = engines.map((name) => `${name} ${inSeconds ? `${(middle(name, key) / 1000).toFixed(2)} s` : middle(name, key).toFixed(0)}`).join(', ')
          const ratios = engines.filter((name) => name !== 'gantry').map((name) => `${(own / middle(name, key)).toFixed(2)} of ${name}`).join(', ')
          process.stdout.write(`${image}${slow ? ' at 320 Mbit/s' : ''} ${key}: ${shown}${ratios === '' || !inSeconds ? '' : ` (${ratios})`}\n`)
        }
      }
    }
  } finally {
    for (const registry of registries) registry.kill('SIGTERM')
    await sleep(300)
    execFileSync('ip', ['netns', 'del', namespace])
    rmSync(work, { recursive: true, force: true })
  }
}

await main()
