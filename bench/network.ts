/**
 * Networks side by side in one run: what published ports cost when many containers run, what ranges cost, and removal.
 *
 *   npm run bench:network -- [--peers DIR] [--many N]
 */
import { execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdirSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { collect } from '../packages/std/src/index.ts'
import { type Engine, clean, startDockerd, startGantry } from './engines.ts'
import { median } from './timing.ts'

const { values } = parseArgs({ options: { peers: { type: 'string', default: '' }, many: { type: 'string', default: '200' } } })
const many = Number(values.many)
const root = new URL('..', import.meta.url).pathname.replace(/\/$/, '')
const work = `/tmp/gbench-${process.pid}`
const WORKERS = 20
const ROUNDS = 15
/** Where ranges lie: beyond what is handed out by itself. */
const RANGE = { first: 20_000, count: 100 } as const

type Bindings = Readonly<Record<string, readonly { readonly HostPort: string }[]>>

const body = (bindings: Bindings): object => ({ Image: 'busybox', Cmd: ['sleep', '100000'], ExposedPorts: Object.fromEntries(Object.keys(bindings).map((key) => [key, {}])), HostConfig: { PortBindings: bindings } })

/** Creates and starts a container that sleeps; gives its id. */
async function run(engine: Engine, bindings: Bindings): Promise<string> {
  const { Id } = await engine.api.json<{ readonly Id: string }>('POST', '/containers/create', { json: body(bindings) })
  await engine.api.send('POST', `/containers/${Id}/start`).then((response) => response.resume())
  return Id
}
const remove = (engine: Engine, id: string): Promise<unknown> => engine.api.send('DELETE', `/containers/${id}`, { query: { force: true } }).then((response) => response.resume())

/** Milliseconds of a start alone, and of the removal. */
async function oneStart(engine: Engine, bindings: Bindings): Promise<{ readonly start: number; readonly removal: number }> {
  const { Id } = await engine.api.json<{ readonly Id: string }>('POST', '/containers/create', { json: body(bindings) })
  const began = performance.now()
  await engine.api.send('POST', `/containers/${Id}/start`).then((response) => response.resume())
  const started = performance.now()
  await remove(engine, Id)
  return { start: started - began, removal: performance.now() - started }
}

async function starts(engine: Engine, bindings: Bindings, rounds: number): Promise<{ readonly start: number; readonly removal: number }> {
  const all: { readonly start: number; readonly removal: number }[] = []
  for (let round = 0; round < rounds; round++) all.push(await oneStart(engine, bindings))
  return { start: median(all.map((one) => one.start)), removal: median(all.map((one) => one.removal)) }
}

/** Work by so many at a time. */
async function byWorkers<T, R>(items: readonly T[], count: number, each: (item: T) => Promise<R>): Promise<readonly R[]> {
  const results: R[] = []
  const queue = [...items]
  await Promise.all(Array.from({ length: count }, async () => {
    for (let item = queue.shift(); item !== undefined; item = queue.shift()) results.push(await each(item))
  }))
  return results
}

/** What becomes of the way in (a neighbour of the host connects to a published port) and of the way out (a container asks that neighbour) when somebody flushes all rules of nftables, in 2.5 s. */
async function flushOutage(engine: Engine): Promise<string> {
  if (!existsSync('/usr/sbin/nft')) return 'not measured: needs nft (Debian package nftables)'
  const ip = (...words: readonly string[]): string => execFileSync('ip', words, { encoding: 'utf8' })
  ip('netns', 'add', 'gbench-out')
  try {
    ip('-n', engine.space, 'link', 'add', 'gbo0', 'type', 'veth', 'peer', 'name', 'gbi0', 'netns', 'gbench-out')
    for (const [space, link, address] of [[engine.space, 'gbo0', '198.51.100.1/24'], ['gbench-out', 'gbi0', '198.51.100.2/24']] as const) {
      ip('-n', space, 'addr', 'add', address, 'dev', link)
      ip('-n', space, 'link', 'set', link, 'up')
    }
    const { Id } = await engine.api.json<{ readonly Id: string }>('POST', '/containers/create', { json: { ...body({ '80/tcp': [{ HostPort: '20999' }] }), Cmd: ['sh', '-c', 'httpd -p 80 -h /etc; while :; do timeout 1 wget -q -O /dev/null http://198.51.100.2:20998/; done'] } })
    await engine.api.send('POST', `/containers/${Id}/start`).then((response) => response.resume())
    const probe = spawn('nsenter', ['--net=/run/netns/gbench-out', process.execPath, '-e', PROBE], { stdio: ['ignore', 'pipe', 'inherit'] })
    const answer = collect(probe.stdout, 1024)
    await new Promise((resolve) => setTimeout(resolve, 1500))
    execFileSync('nsenter', [`--net=/run/netns/${engine.space}`, 'nft', 'flush', 'ruleset'])
    const text = (await answer).toString().trim()
    await remove(engine, Id)
    return text
  } finally {
    ip('netns', 'del', 'gbench-out')
  }
}

/** Connects every 2 ms; a try that has no answer within 50 ms has failed. */
const PROBE = `
const { connect } = require('node:net');
const began = performance.now(); let [good, bad, since, out] = [0, 0, 0, 0];
let [last, gap] = [0, 0];
require('node:http').createServer((_, answer) => { const now = performance.now(); if (last !== 0) gap = Math.max(gap, now - last); last = now; answer.end() }).listen(20998, '198.51.100.2');
const once = () => new Promise((done) => { const s = connect(20999, '198.51.100.1'); const end = (ok) => { clearTimeout(t); s.destroy(); done(ok) }; const t = setTimeout(end, 50, false); s.once('connect', () => end(true)); s.once('error', () => end(false)) });
(async () => { while (performance.now() - began < 4000) { const at = performance.now(); const ok = await once(); ok ? good++ : bad++; if (!ok && since === 0) since = at; if (ok && since !== 0) { if (good > 1) out += at - since; since = 0 } await new Promise((r) => setTimeout(r, 2)) }
const quiet = performance.now() - last;
console.log('in ' + (since !== 0 ? 'does not come back' : out.toFixed(0) + ' ms without an answer') + ', out ' + (last === 0 ? 'never was' : quiet > 1500 ? 'does not come back' : 'at most ' + gap.toFixed(0) + ' ms between two answers')); process.exit() })()`

async function measure(engine: Engine): Promise<ReadonlyMap<string, string>> {
  const figures = new Map<string, string>()
  const port: Bindings = { '80/tcp': [{ HostPort: '' }] }
  const range: Bindings = Object.fromEntries(Array.from({ length: RANGE.count }, (_, n) => [`${RANGE.first + n}/tcp`, [{ HostPort: String(RANGE.first + n) }]]))
  await starts(engine, port, 3)
  const plain = await starts(engine, {}, ROUNDS)
  const empty = await starts(engine, port, ROUNDS)
  const wide = await starts(engine, range, 3)
  figures.set('R26: range of 100 ports over a plain start', `${(wide.start - plain.start).toFixed(0)} ms, removal ${wide.removal.toFixed(0)} ms`)
  const numbers = Array.from({ length: 100 }, (_, n) => n)
  const began = performance.now()
  const ids = await byWorkers(numbers, WORKERS, () => run(engine, port))
  const ran = performance.now()
  const shown = await engine.api.json<readonly { readonly Ports: readonly { readonly PublicPort?: number; readonly IP?: string }[] }[]>('GET', '/containers/json')
  const ports = shown.flatMap((one) => one.Ports.filter((bound) => bound.PublicPort !== undefined && bound.IP === '0.0.0.0').map((bound) => bound.PublicPort))
  await byWorkers(ids, WORKERS, (id) => remove(engine, id))
  figures.set('R5: 100 with a port by 20 workers, removal', `${((ran - began) / 1000).toFixed(2)} s, ${((performance.now() - ran) / 1000).toFixed(2)} s, ${ports.length} ports, ${ports.length - new Set(ports).size} of them twice`)
  const crowd = await byWorkers(Array.from({ length: many }, (_, n) => n), 4, () => run(engine, port))
  const full = await starts(engine, port, ROUNDS)
  figures.set(`R25: start with a port, none and ${many} running`, `${empty.start.toFixed(1)} ms, ${full.start.toFixed(1)} ms (${(100 * (full.start / empty.start - 1)).toFixed(0)} %)`)
  const removing = performance.now()
  await byWorkers(crowd, WORKERS, (id) => remove(engine, id))
  figures.set(`removal of ${many}`, `${((performance.now() - removing) / 1000).toFixed(2)} s`)
  figures.set('R27: all rules of nftables flushed', await flushOutage(engine))
  return figures
}

async function main(): Promise<void> {
  mkdirSync(work, { recursive: true })
  const results = new Map<string, ReadonlyMap<string, string>>()
  const starters: readonly (readonly [string, () => Promise<Engine>])[] = [['gantry', () => startGantry(root, work)], ...(values.peers === '' ? [] : [['dockerd', () => startDockerd(values.peers, work)] as const])]
  let archive: Buffer = Buffer.alloc(0)
  try {
    for (const [name, start] of starters) {
      const engine = await start()
      try {
        // The peer gets the image that ours makes by itself.
        if (name === 'gantry') archive = await collect(await engine.api.send('GET', '/images/get', { query: { names: ['busybox'] } }), 64 << 20)
        else (await engine.api.send('POST', '/images/load', { body: archive, contentType: 'application/x-tar' })).resume()
        results.set(name, await measure(engine))
      } finally {
        await engine.stop()
      }
    }
  } finally {
    clean(work)
  }
  for (const what of results.get('gantry')?.keys() ?? []) process.stdout.write(`${what}: ${[...results].map(([name, figures]) => `${name} ${figures.get(what)}`).join('; ')}\n`)
}

await main()
