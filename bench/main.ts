/**
 * Side by side in one run on one machine: Gantry, dockerd and Podman, the same measurements through the same genuine client.
 *
 *   npm run bench -- [--peers DIR] [--rounds N] [--many N]
 *
 * DIR is a folder that tools/peers.sh has filled; without it only Gantry is measured.
 */
import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { parseArgs, promisify } from 'node:util'
import { cpuOfRun, median, timedRuns } from './timing.ts'
import { type Engine, clean, startDockerd, startGantry, startPodman } from './engines.ts'

const { values } = parseArgs({ options: { peers: { type: 'string', default: '' }, rounds: { type: 'string', default: '15' }, many: { type: 'string', default: '200' }, only: { type: 'string', default: '' } } })
const rounds = Number(values.rounds)
const many = Number(values.many)
const root = new URL('..', import.meta.url).pathname.replace(/\/$/, '')
const work = `/tmp/gbench-${process.pid}`
const run = promisify(execFile)
const docker = existsSync(`${values.peers}/bin/docker`) && !existsSync('/usr/local/bin/docker') ? `${values.peers}/bin/docker` : 'docker'

async function client(engine: Engine, ...args: readonly string[]): Promise<string> {
  return (await run(docker, ['-H', `unix://${engine.socket}`, ...args], { maxBuffer: 64 << 20 })).stdout
}

/** Milliseconds of each of `count` runs of the client. */
const timedClient = (engine: Engine, count: number, ...args: readonly string[]): Promise<readonly number[]> => timedRuns(count, [docker, '-H', `unix://${engine.socket}`, ...args])

/** Milliseconds of each of `count` runs. */
async function timed(count: number, work: (index: number) => Promise<unknown>): Promise<readonly number[]> {
  const list: number[] = []
  for (let index = 0; index < count; index++) {
    const began = performance.now()
    await work(index)
    list.push(performance.now() - began)
  }
  return list
}

interface Created {
  readonly Id: string
}

async function rawCycle(engine: Engine): Promise<void> {
  const { Id } = await engine.api.json<Created>('POST', '/containers/create', { json: { Image: 'busybox', Cmd: ['true'] } })
  await engine.api.send('POST', `/containers/${Id}/start`).then((response) => response.resume())
  await engine.api.json('POST', `/containers/${Id}/wait`)
  await engine.api.send('DELETE', `/containers/${Id}`).then((response) => response.resume())
}

type Figures = Map<string, { readonly value: number; readonly unit: string; readonly better: 'less' | 'more' }>

async function atOnce(engine: Engine, count: number): Promise<number> {
  const began = performance.now()
  await Promise.all(Array.from({ length: count }, () => rawCycle(engine)))
  return (count * 1000) / (performance.now() - began)
}

function shimBytes(kind: 'Rss' | 'Pss'): number {
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name) && comm(name) === 'gantry-shim')
  return median(pids.map((pid) => Number(new RegExp(`^${kind}:\\s+(\\d+)`, 'm').exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1] ?? 0) * 1024))
}

function comm(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'utf8').trim()
  } catch {
    return ''
  }
}

async function measure(engine: Engine): Promise<Figures> {
  const figures: Figures = new Map()
  const put = (what: string, value: number, unit = 'ms', better: 'less' | 'more' = 'less'): void => void figures.set(what, { value, unit, better })
  const say = (what: string): void => void process.stderr.write(`${engine.name}: ${what}\n`)
  say('warming up')
  await timed(3, () => client(engine, 'run', '--rm', 'busybox', 'true'))
  await timed(3, () => rawCycle(engine))
  say('client')
  put('docker version (the client’s own floor)', median(await timedClient(engine, rounds, 'version')))
  put('run --rm, bridge', median(await timedClient(engine, rounds, 'run', '--rm', 'busybox', 'true')))
  put('run --rm, no network', median(await timedClient(engine, rounds, 'run', '--rm', '--network', 'none', 'busybox', 'true')))
  await client(engine, 'run', '-d', '--name', 'execs', 'busybox', 'sleep', '10000')
  put('exec true', median(await timedClient(engine, rounds, 'exec', 'execs', 'true')))
  await client(engine, 'rm', '-f', 'execs')
  say('raw API')
  put('create+start+wait+rm, raw API', median(await timed(rounds, () => rawCycle(engine))))
  for (const count of [1, 8, 32]) put(`${count} at once, raw API`, median([await atOnce(engine, count), await atOnce(engine, count), await atOnce(engine, count)]), 'a second', 'more')
  say(`${many} containers`)
  put('ps, 1 container', median(await timedClient(engine, rounds, 'ps')))
  const before = engine.memory()
  for (let index = 0; index < many; index++) await client(engine, 'run', '-d', 'busybox', 'sleep', '10000')
  put(`ps, ${many} containers`, median(await timedClient(engine, rounds, 'ps')))
  // Each engine's own client: ours, and the genuine one.
  put('a client’s CPU for ps', await cpuOfRun(rounds, [engine.name === 'gantry' ? `${root}/gantry` : docker, '-H', `unix://${engine.socket}`, 'ps']))
  put(`daemon, ${many} containers`, engine.memory() / 1e6, 'MB')
  put('daemon, no container', before / 1e6, 'MB')
  if (engine.name === 'gantry') {
    put('shim of one container', shimBytes('Rss') / 1e6, 'MB')
    put('shim of one container, its share (PSS)', shimBytes('Pss') / 1e6, 'MB')
  }
  const ids = (await client(engine, 'ps', '-aq')).trim().split('\n')
  const began = performance.now()
  for (let at = 0; at < ids.length; at += 50) await client(engine, 'rm', '-f', ...ids.slice(at, at + 50))
  put(`rm -f of ${many}`, performance.now() - began)
  return figures
}

async function main(): Promise<void> {
  mkdirSync(work, { recursive: true })
  const results = new Map<string, Figures>()
  const starters: readonly (readonly [string, () => Promise<Engine>])[] = [
    ['gantry', () => startGantry(root, work)],
    ...(values.peers === '' ? [] : [['dockerd', () => startDockerd(values.peers, work)] as const, ['podman', () => startPodman(values.peers, work)] as const]),
  ]
  let archive = ''
  for (const [name, start] of starters) {
    if (values.only !== '' && !values.only.split(',').includes(name)) continue
    let engine: Engine | undefined
    try {
      engine = await start()
      if (name === 'gantry') {
        archive = `${work}/busybox.tar`
        await client(engine, 'save', '-o', archive, 'busybox')
      } else {
        await client(engine, 'load', '-i', archive)
        // Podman names what it loads after localhost.
        if (name === 'podman') await client(engine, 'tag', 'localhost/busybox', 'docker.io/library/busybox')
      }
      results.set(name, await measure(engine))
    } catch (error) {
      process.stderr.write(`${name}: not measured: ${error instanceof Error ? error.message : String(error)}\n`)
      if (name === 'gantry') throw error
    } finally {
      await engine?.stop()
    }
  }
  show(results)
  clean(work)
}

/** Medians, and how many times the peer's figure is ours. */
function show(results: ReadonlyMap<string, Figures>): void {
  const own: Figures = results.get("gantry") ?? results.values().next().value ?? new Map()
  const peers = [...results.keys()].filter((name) => name !== 'gantry')
  process.stdout.write(`\n${'median'.padEnd(42)}${['gantry', ...peers].map((name) => name.padStart(14)).join('')}${peers.map((name) => `${name} ratio`.padStart(16)).join('')}\n`)
  for (const [what, figure] of own as Figures) {
    const others = peers.map((name) => results.get(name)?.get(what)?.value)
    const cells = [figure.value, ...others].map((value) => (value === undefined ? '-' : value.toFixed(figure.unit === 'a second' ? 1 : 2)).padStart(14))
    const ratios = others.map((value) => (value === undefined ? '-' : `${(figure.better === 'less' ? value / figure.value : figure.value / value).toFixed(1)}x`).padStart(16))
    process.stdout.write(`${`${what} (${figure.unit})`.padEnd(42)}${cells.join('')}${ratios.join('')}\n`)
  }
}

await main()
