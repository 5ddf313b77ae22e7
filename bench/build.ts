/**
 * Builds beside dockerd's classic builder and BuildKit, in one run, through the genuine client (and ours):
 *   npm run bench:build -- --peers DIR [--rounds N]
 */
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, symlinkSync, writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { clean, type Engine, startDockerd, startGantry } from './engines.ts'
import { median } from './timing.ts'

const { values } = parseArgs({ options: { peers: { type: 'string', default: '' }, rounds: { type: 'string', default: '5' } } })
const root = new URL('..', import.meta.url).pathname.replace(/\/$/, '')
const rounds = Number(values.rounds)
const FILES = 12_000
const FILE_BYTES = 5_000

interface Contender {
  readonly name: string
  readonly words: readonly string[]
  /** Forgets all that earlier builds came to. */
  readonly forget: readonly string[]
  readonly env: NodeJS.ProcessEnv
}

const STEPS = Array.from({ length: 8 }, (_, index) => `RUN echo ${index} >/step${index}`).join('\n')
const STAGES = ['a', 'b', 'c'].map((name) => `FROM busybox AS ${name}\nRUN sleep 2; echo ${name} >/${name}`).join('\n')
const CONTEXTS: Readonly<Record<string, string>> = {
  small: `FROM busybox\nCOPY small /small\n${STEPS}\n`,
  large: `FROM busybox\nCOPY . /all\n${STEPS}\n`,
  stages: `${STAGES}\nFROM busybox\nCOPY --from=a /a /\nCOPY --from=b /b /\nCOPY --from=c /c /\n`,
}

function writeContexts(work: string): void {
  for (const [name, dockerfile] of Object.entries(CONTEXTS)) {
    mkdirSync(`${work}/${name}`, { recursive: true })
    writeFileSync(`${work}/${name}/Dockerfile`, dockerfile)
    writeFileSync(`${work}/${name}/small`, 'small')
  }
  for (let index = 0; index < FILES; index++) {
    const folder = `${work}/large/d${index % 120}`
    if (index < 120) mkdirSync(folder)
    writeFileSync(`${folder}/f${index}`, Buffer.alloc(FILE_BYTES, `${index} `))
  }
}

function timed({ words: [program = '', ...rest], env }: Contender, ...more: readonly string[]): number {
  const began = performance.now()
  execFileSync(program, [...rest, ...more], { env: { ...process.env, ...env }, stdio: ['ignore', 'ignore', 'ignore'] })
  return performance.now() - began
}

/** Milliseconds by case. */
function measure(contender: Contender, work: string): ReadonlyMap<string, number> {
  const of = (what: () => number, count = rounds): number => median(Array.from({ length: count }, what))
  const figures = new Map<string, number>()
  process.stderr.write(`${contender.name}: small\n`)
  timed({ ...contender, words: contender.forget })
  timed(contender, '-t', 'small', `${work}/small`)
  figures.set('nothing to do, small context', of(() => timed(contender, '-t', 'small', `${work}/small`)))
  figures.set('ten steps without the cache', of(() => timed(contender, '--no-cache', '-t', 'small', `${work}/small`)))
  process.stderr.write(`${contender.name}: ${FILES} files\n`)
  figures.set(`cold, ${FILES} files`, timed(contender, '-t', 'large', `${work}/large`))
  figures.set(`nothing to do, ${FILES} files`, of(() => timed(contender, '-t', 'large', `${work}/large`)))
  let nth = 0
  figures.set(`one of ${FILES} files changed`, of(() => {
    writeFileSync(`${work}/large/d0/f0`, `${contender.name} ${nth++}`)
    return timed(contender, '-t', 'large', `${work}/large`)
  }))
  process.stderr.write(`${contender.name}: stages\n`)
  figures.set('three stages of 2 s', of(() => timed(contender, '--no-cache', '-t', 'stages', `${work}/stages`), 2))
  return figures
}

const work = mkdtempSync('/tmp/gbench-build-')
const engines: Engine[] = []
try {
  writeContexts(work)
  const gantry = await startGantry(root, work)
  engines.push(gantry)
  const docker = (execFileSync('sh', ['-c', 'command -v docker || true'], { encoding: 'utf8' }).trim() || `${values.peers}/bin/docker`)
  mkdirSync(`${work}/config/cli-plugins`, { recursive: true })
  const env = { DOCKER_BUILDKIT: '0', DOCKER_CONFIG: `${work}/config` }
  const buildx = { ...env, DOCKER_BUILDKIT: '1' }
  const of = (engine: Engine): Pick<Contender, 'words' | 'forget'> => ({ words: [docker, '-H', `unix://${engine.socket}`, 'build'], forget: [docker, '-H', `unix://${engine.socket}`, 'builder', 'prune', '-af'] })
  const contenders: Contender[] = [
    { name: 'ours, classic', ...of(gantry), env },
    { name: 'our client', words: [`${root}/build/node`, '--', `${root}/build/gantry.cjs`, '-H', `unix://${gantry.socket}`, 'build'], forget: of(gantry).forget, env: { ...env, NODE_COMPILE_CACHE: `${root}/build/cache` } },
  ]
  if (values.peers !== '') {
    const dockerd = await startDockerd(values.peers, work)
    engines.push(dockerd)
    symlinkSync(`${values.peers}/bin/docker-buildx`, `${work}/config/cli-plugins/docker-buildx`)
    execFileSync(docker, ['-H', `unix://${gantry.socket}`, 'save', '-o', `${work}/busybox.tar`, 'busybox'])
    execFileSync(docker, ['-H', `unix://${dockerd.socket}`, 'load', '-i', `${work}/busybox.tar`])
    contenders.push({ name: 'ours, buildx', ...of(gantry), env: buildx }, { name: 'classic', ...of(dockerd), env }, { name: 'BuildKit', ...of(dockerd), env: buildx })
  }
  const results = new Map(contenders.map((contender) => [contender.name, measure(contender, work)]))
  const ratios = [['ours, classic', 'classic'], ['ours, buildx', 'BuildKit']].filter(([, theirs = '']) => results.has(theirs))
  process.stdout.write(`\n${'median, ms'.padEnd(34)}${[...results.keys()].map((name) => name.padStart(15)).join('')}${ratios.map(([, theirs]) => `of ${theirs}`.padStart(13)).join('')}\n`)
  for (const what of results.get('our client')?.keys() ?? []) {
    const ms = (name = ''): number => results.get(name)?.get(what) ?? Number.NaN
    process.stdout.write(`${what.padEnd(34)}${[...results.keys()].map((name) => ms(name).toFixed(0).padStart(15)).join('')}${ratios.map(([ours, theirs]) => (ms(ours) / ms(theirs)).toFixed(2).padStart(13)).join('')}\n`)
  }
} finally {
  for (const engine of engines.reverse()) await engine.stop()
  clean(work)
}
