/**
 * Images side by side in one run: Gantry, dockerd and Podman pull from one registry on loopback, each trial on a fresh journaled ext4.
 *
 *   npm run bench:images -- [--peers DIR] [--rounds N] [--only a-gzip,…] [--ops] [--slow] [--many]
 *
 * --ops adds save, load, rmi, commit and push (zstd images go out as zstd where the engine can: ours); --slow adds a link of
 * 320 Mbit/s; --many times `images` with 500 images.
 */
import { execFile, execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { parseArgs, promisify } from 'node:util'
import { ENGINES, type ImageEngine, inside } from './image-engines.ts'
import { prepareImages } from './image-fixtures.ts'
import { median } from './timing.ts'

const { values } = parseArgs({ options: { peers: { type: 'string', default: '' }, rounds: { type: 'string', default: '3' }, only: { type: 'string', default: 'a-gzip,b-gzip,c-gzip,a-zstd,b-zstd,c-zstd' }, engines: { type: 'string', default: 'gantry,dockerd,podman' }, ops: { type: 'boolean' }, slow: { type: 'boolean' }, many: { type: 'boolean' }, driver: { type: 'string', default: '' } } })
const run = promisify(execFile)
const root = new URL('..', import.meta.url).pathname.replace(/\/$/, '')
const cache = `${process.env['GANTRY_CACHE'] ?? '/var/cache/gantry-tests'}/bench-images`
const work = `/tmp/gbi-${process.pid}`
const namespace = `gbi${process.pid}`
const PORT = 5999
const DISK_BYTES = 6e9
const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

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

async function client(engine: ImageEngine, ...args: readonly string[]): Promise<number> {
  const began = performance.now()
  await run('nsenter', [...inside(namespace, 'docker', '-H', `unix://${engine.socket}`, ...args)], { maxBuffer: 64 << 20, env: { ...process.env, DOCKER_CONFIG: `${work}/client` } })
  return performance.now() - began
}

/** The same without a disk, whose writing the client waits for. */
async function savedToNowhere(engine: ImageEngine, reference: string): Promise<number> {
  const began = performance.now()
  await run('nsenter', [...inside(namespace, 'sh', '-c', `docker -H unix://${engine.socket} save ${reference} >/dev/null`)], { env: { ...process.env, DOCKER_CONFIG: `${work}/client` } })
  return performance.now() - began
}

const memoryOf = (pid: number): number => (existsSync(`/proc/${pid}/smaps_rollup`) ? Number(/^Rss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1] ?? 0) * 1024 : 0)

/** A process and all that came of it. */
function family(pid: number): readonly number[] {
  const path = `/proc/${pid}/task/${pid}/children`
  const children = existsSync(path) ? readFileSync(path, 'utf8').trim().split(' ').filter((text) => text !== '').map(Number) : []
  return [pid, ...children.flatMap(family)]
}

/** Peaks of the daemon's memory, and of all of its processes together, while something is done. */
async function withPeaks(engine: ImageEngine, work: () => Promise<number>): Promise<{ readonly ms: number; readonly daemonMb: number; readonly allMb: number }> {
  const all = (): number => family(engine.pid).reduce((sum, pid) => sum + memoryOf(pid), 0)
  const before = memoryOf(engine.pid)
  let [daemon, together] = [before, all()]
  const watch = setInterval(() => {
    daemon = Math.max(daemon, memoryOf(engine.pid))
    together = Math.max(together, all())
  }, 40)
  try {
    const ms = await work()
    return { ms, daemonMb: (daemon - before) / 1e6, allMb: together / 1e6 }
  } finally {
    clearInterval(watch)
  }
}

/** Files that somebody wrote in a container: 4,000 of 12 kB each in 40 folders. */
function writtenFiles(): string {
  const home = `${work}/written`
  if (existsSync(home)) return home
  for (let folder = 0; folder < 40; folder++) {
    mkdirSync(`${home}/${folder}`, { recursive: true })
    for (let file = 0; file < 100; file++) writeFileSync(`${home}/${folder}/${file}`, randomBytes(6000).toString('hex'))
  }
  return home
}

type Figures = Record<string, number>

const start = (name: string, home: string, image: string): Promise<ImageEngine> => (ENGINES[name] ?? (() => Promise.reject(new Error(`no engine ${name}`))))(home, { peers: values.peers, namespace, ports: [PORT, PORT + 1], flags: [...(image.endsWith('zstd') ? ['--push-compression', 'zstd'] : []), ...(values.driver === '' ? [] : ['--storage-driver', values.driver])] })

/** `images` with 500 images. */
async function manyImages(name: string): Promise<Figures> {
  return onFreshDisk(async (home) => {
    const engine = await start(name, home, '')
    try {
      await run('sh', ['-c', `mkdir -p ${work}/one && for n in $(seq 500); do echo $n >${work}/one/file; tar -C ${work}/one -c file | nsenter ${inside(namespace, 'docker').join(' ')} -H unix://${engine.socket} import - many:$n >/dev/null || exit 1; done`], { env: { ...process.env, DOCKER_CONFIG: `${work}/client` } })
      await client(engine, 'images')
      const times: number[] = []
      for (let turn = 0; turn < 9; turn++) times.push(await client(engine, 'images'))
      return { 'images with 500 images': median(times), 'daemon then MB': memoryOf(engine.pid) / 1e6 }
    } finally {
      await engine.stop()
    }
  })
}

async function trial(name: string, image: string, withOps: boolean): Promise<Figures> {
  return onFreshDisk(async (home) => {
    const engine = await start(name, home, image)
    const reference = `127.0.0.1:${PORT}/${image}:latest`
    try {
      const { ms, daemonMb, allMb } = await withPeaks(engine, () => client(engine, 'pull', '-q', reference))
      const figures: Figures = { pull: ms, 'daemon grows by MB': daemonMb, 'all processes MB': allMb }
      if (!withOps) return figures
      figures['save'] = await savedToNowhere(engine, reference)
      figures['save to a file'] = await client(engine, 'save', '-o', `${home}/saved.tar`, reference)
      figures['MB saved'] = statSync(`${home}/saved.tar`).size / 1e6
      execFileSync('sync')
      figures['push'] = await client(engine, 'tag', reference, `127.0.0.1:${PORT + 1}/${image}:latest`).then(() => client(engine, 'push', '-q', `127.0.0.1:${PORT + 1}/${image}:latest`))
      await client(engine, 'rmi', `127.0.0.1:${PORT + 1}/${image}:latest`)
      await client(engine, 'create', '--name', 'one', reference, '/none')
      await client(engine, 'cp', writtenFiles(), 'one:/written')
      execFileSync('sync')
      figures['commit'] = await client(engine, 'commit', 'one', 'committed:1')
      await client(engine, 'rm', 'one')
      await client(engine, 'rmi', 'committed:1')
      figures['rmi'] = await client(engine, 'rmi', reference)
      figures['load'] = await client(engine, 'load', '-q', '-i', `${home}/saved.tar`)
      return figures
    } finally {
      await engine.stop()
    }
  })
}

/** A line a figure: medians, and our share of each peer's. */
function show(head: string, engines: readonly string[], all: ReadonlyMap<string, readonly Figures[]>): void {
  const middle = (name: string, key: string): number => median((all.get(name) ?? []).flatMap((one) => (one[key] === undefined ? [] : [one[key]])))
  for (const key of Object.keys(all.get('gantry')?.[0] ?? {})) {
    const own = middle('gantry', key)
    const inSeconds = !key.includes('MB')
    const shown = engines.map((name) => `${name} ${inSeconds ? `${(middle(name, key) / 1000).toFixed(3)} s` : middle(name, key).toFixed(0)}`).join(', ')
    const ratios = engines.filter((name) => name !== 'gantry').map((name) => `${(own / middle(name, key)).toFixed(2)} of ${name}`).join(', ')
    process.stdout.write(`${head}${key}: ${shown}${ratios === '' || !inSeconds ? '' : ` (${ratios})`}\n`)
  }
}

async function main(): Promise<void> {
  prepareImages(cache)
  mkdirSync(work, { recursive: true })
  execFileSync('ip', ['netns', 'add', namespace])
  execFileSync('ip', ['-n', namespace, 'link', 'set', 'lo', 'up'])
  const serve = (port: number, folder: string): ChildProcess => spawn('nsenter', inside(namespace, `${root}/build/node`, `${root}/build/gantry-registry.cjs`, 'serve', '-l', `127.0.0.1:${port}`, '--root', folder), { stdio: 'ignore' })
  const registries = [serve(PORT, `${cache}/registry`), serve(PORT + 1, `${work}/pushed`)]
  const engines = values.engines.split(',').filter((name) => name === 'gantry' || existsSync(`${values.peers}/bin/${name}`))
  try {
    await sleep(500)
    for (const slow of values.slow === true ? [false, true] : [false]) {
      if (slow) execFileSync('tc', ['-n', namespace, 'qdisc', 'add', 'dev', 'lo', 'root', 'tbf', 'rate', '320mbit', 'burst', '256k', 'latency', '50ms'])
      for (const image of values.only.split(',').filter((one) => one !== '')) {
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
        show(`${image}${slow ? ' at 320 Mbit/s' : ''} `, engines, all)
      }
    }
    if (values.many === true) {
      const all = new Map<string, Figures[]>()
      for (const name of engines) all.set(name, [await manyImages(name)])
      show('', engines, all)
    }
  } finally {
    for (const registry of registries) registry.kill('SIGTERM')
    await sleep(300)
    execFileSync('ip', ['netns', 'del', namespace])
    rmSync(work, { recursive: true, force: true })
  }
}

await main()
