/**
 * Dockerfiles at random, through BuildKit's door and through BuildKit, side by side:
 *   GANTRY_PEERS=DIR build/node tests/compat/build/fuzz.ts words|copy|ignore COUNT SEED
 * Prints what differs. What is known to differ is in `differences.table.ts`: --link through links, several files onto one name, names of volumes that are no paths.
 */
import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { startDockerd } from '../../../bench/engines.ts'
import { dockerClient, exec, peer, peers, root, testDaemon } from '../../harness.ts'
import { buildCase, type Builder, type BuildResult, writeContext } from './result.ts'

const [kind = 'words', count = '50', first = '1'] = process.argv.slice(2)
let seed = Number(first)

/** The next number below `end` of a row that the seed decides (a linear congruential generator). */
function below(end: number): number {
  seed = (Math.imul(seed, 1_103_515_245) + 12_345) & 0x7fff_ffff
  return Math.floor((seed / 0x8000_0000) * end)
}

const pick = (list: readonly string[]): string => list[below(list.length)] ?? ''
const several = (most: number, make: () => string): readonly string[] => Array.from({ length: 1 + below(most) }, make)

const TOKENS = ['a', 'b c', '$A', '${A}', '${A:-d}', '${A:+p}', '${N:-q}', '${N-q}', '${A+x}', '${A#x}', '${A##*y}', '${A%z}', '${A%%y*}', '${A/x/b}', '${A//x/b}', '\\', '"', "'", '\\$A', '\\"', '\\\\', ' ', '=', '#', '$', '$$', '${A:-${B}}', '${N:-$B}', '${N:-"q"}', 'é', '\\ ', '[', ']', '*', '~', ':', '/', ',', '$1', '${B}', '$AB', '"$A"', "'$A'", '"a b"', "'c d'", '\t', '{', '}', '%', '!', '@', '`', '|', '&', ';', '<', '>', '(', ')', '?']
const word = (): string => several(5, () => pick(TOKENS)).join('')
const LINES: readonly (() => string)[] = [
  () => `ENV V=${word()}`, () => `ENV V ${word()}`, () => `LABEL "k"=${word()} m=${word()}`, () => `ARG X=${word()}\nENV Y=$X`, () => `CMD ${word()}`, () => `ENTRYPOINT ["a", "${word()}"]`, () => `WORKDIR /w/${word()}`, () => `USER ${word()}`,
  () => `ENV P=${word()} Q=${word()}`, () => `HEALTHCHECK CMD ${word()}`,
]

const FILES = { a: '1', b: '2', c: '3', 'd/e/f.t': '4', 'd/e/g': '5', 'd/h.t': '6', 'd/l2': '->../a', l: '->a', dl: '->d', x1: '7', 'xd/i': '8', 'e2/': '', up: 'u' }
const STAGE = 'FROM busybox AS s\nWORKDIR /\nRUN mkdir -p d/e && echo 1 >a && echo 2 >b && echo 4 >d/e/f.t && echo 6 >d/h.t && ln -s a l && ln -s d dl && ln -s ../a d/l2 && chmod 700 d/e && chown 5:6 d/e/f.t'
const SETUP = 'FROM busybox\nRUN mkdir -p /ex/d/e /ex/f /real && echo o >/ex/g && chmod 1777 /ex/d && ln -s /real /ln && echo t >/target && ln -s target /lf && ln -s /nowhere/deep /bl && ln -s ex /ld\nWORKDIR /w'
const SOURCES = ['a', 'a/', './a', '/a', 'd', 'd/', 'd/.', 'd/e', 'd/e/', 'd/*', '*', 'd/e/*', '?', '[a-c]', 'd/../a', 'd/./e', 'l', 'dl', 'dl/', 'dl/e', '.', './', '/', 'd/**', 'd/**/*.t', '**/*.t', 'x*', 'd/l2', '"a"', 'd//e', '*/', 'd*/e', 'd/*/f.t', 'up/..', '../a', 'd/\\*']
const TARGETS = ['/', '.', './', '/t', '/t/', 't', 't/u', '/t/u/v/', '/tmp', '/tmp/', '/ln', '/ln/', '/ln/x', '/lf', '/bl', '/bl/', '/ld/x/', '../z', '/etc/../q/', '/ex/d', '/ex', '/ex/', '/ex/f']
const FLAGS = ['', '', '', '--chmod=640 ', '--chown=3:4 ', '--chown=7 ', '--chmod=u+x,go-r ', '--link ', '--from=s ', '--from=s ']

function copyLine(): string {
  const flags = pick(FLAGS)
  return `${below(6) === 0 && !flags.includes('from') ? 'ADD' : 'COPY'} ${flags}${several(below(4) === 0 ? 2 : 1, () => pick(SOURCES)).join(' ')} ${pick(TARGETS)}`
}

const IGNORED = ['*', '**', 'a', '/a', 'd', 'd/', 'd/e', '!d/e/f.t', '!a', '**/*.t', '*.t', 'd/*', '!d/e', '!d', '?', '[ab]', 'x*', '!x1', '*/e', '**/e/**', 'd/**', '!**/g', '.', '!.', '# c', '', '  b  ', 'd/../a', '\\a', '!', '*/*', '!*/h.t', 'xd/**', '**/i', 'e2', './c', '/**/f.t']

interface Case {
  /** What of it is random. */
  readonly shown: string
  readonly dockerfile: string
  readonly files: Readonly<Record<string, string>>
}

const KINDS: Readonly<Record<string, () => Case>> = {
  words() {
    const shown = several(2, () => (LINES[below(LINES.length)] ?? word)()).join('\n')
    return { shown, dockerfile: `FROM busybox\nENV A=xyzxyz B=two\n${shown}\n`, files: {} }
  },
  ignore() {
    const shown = several(5, () => pick(IGNORED)).join('\n')
    return { shown, dockerfile: 'FROM busybox\nCOPY . /c/\n', files: { ...FILES, '.dockerignore': `${shown}\n` } }
  },
  copy() {
    const shown = several(2, copyLine).join('\n')
    return { shown, dockerfile: `${STAGE}\n${SETUP}\n${shown}\n`, files: FILES }
  },
}

/** The last line that speaks of an error. */
const lastError = ({ said }: BuildResult): string => said.split('\n').filter((line) => /error/i.test(line)).at(-1) ?? said.slice(-200)

function differences(ours: BuildResult, theirs: BuildResult): readonly string[] {
  if (ours.failed || theirs.failed) return ours.failed === theirs.failed ? [] : [ours.failed ? `we fail: ${lastError(ours)}` : `they fail: ${lastError(theirs)}`]
  const text = (value: unknown): string => JSON.stringify(value) ?? 'nothing'
  const compare = (own: Readonly<Record<string, unknown>>, other: Readonly<Record<string, unknown>>): readonly string[] =>
    [...new Set([...Object.keys(own), ...Object.keys(other)])].filter((key) => text(own[key]) !== text(other[key])).map((key) => `${key}: ours ${text(own[key])}, theirs ${text(other[key])}`)
  return [...compare(ours.config, theirs.config), ...compare(ours.files, theirs.files)]
}

const make = KINDS[kind]
if (make === undefined || peers === undefined) throw new Error('usage: GANTRY_PEERS=DIR fuzz.ts words|copy|ignore COUNT SEED')
const work = mkdtempSync('/tmp/gtest-fuzz-')
const client = dockerClient() ?? ''
const daemon = await testDaemon()
const docker = await startDockerd(peers, work, 'gtestfuzz')
let found = 0
try {
  mkdirSync(`${work}/config/cli-plugins`, { recursive: true })
  symlinkSync(peer('docker-buildx') ?? '', `${work}/config/cli-plugins/docker-buildx`)
  const builder = (host: string): Builder => ({ client: [client], env: { DOCKER_BUILDKIT: '1', DOCKER_CONFIG: `${work}/config` }, host, build: ['build', '--progress', 'plain'] })
  await exec(`${root}/build/node`, [`${root}/build/gantry.cjs`, '-H', daemon.host, 'save', '-o', `${work}/busybox.tar`, 'busybox'])
  await exec(client, ['-H', `unix://${docker.socket}`, 'load', '-i', `${work}/busybox.tar`])
  for (let nth = 0; nth < Number(count); nth++) {
    const { shown, ...given } = make()
    const one = { name: String(nth), ...given }
    const folder = `${work}/${nth}`
    writeContext(folder, one)
    const [ours, theirs] = await Promise.all([daemon.host, `unix://${docker.socket}`].map((host) => buildCase(builder(host), one, folder, `fuzz:${nth}`)))
    const all = ours === undefined || theirs === undefined ? [] : differences(ours, theirs)
    if (all.length > 0) process.stdout.write(`# ${nth}\n${shown}\n${all.slice(0, 12).map((line) => `    ${line}\n`).join('')}`)
    found += Math.min(1, all.length)
    rmSync(folder, { recursive: true })
  }
} finally {
  process.stdout.write(`${kind}, seed ${first}: ${found} of ${count} differ\n`)
  await docker.stop()
  await daemon.dispose()
  rmSync(work, { recursive: true })
}
